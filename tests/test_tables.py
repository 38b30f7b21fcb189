"""Tables: escaping, alignment, numbers, and what is refused."""

import pytest

from shared.tables import table


def test_rows_of_mappings_take_their_keys_as_columns_and_leave_gaps_empty():
    made = table([{"a": 1, "b": "x"}, {"a": 20000, "c": 0.123456}])
    assert made.columns == ("a", "b", "c")
    assert made.rows == (("1", "x", ""), ("20,000", "", "0.1235"))
    assert made.numeric == (True, False, True)


def test_html_escapes_text_and_aligns_numbers_on_the_right():
    shown = table([("<b>bold</b> & more", 3)], ["text", "n"], caption="a < b")._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in shown and "<b>bold" not in shown
    assert '<td style="text-align:right;vertical-align:top">3</td>' in shown
    assert '<caption style="text-align:left">a &lt; b</caption>' in shown and 'scope="col"' in shown


def test_text_form_lines_up():
    assert repr(table([("a", 5), ("long", 10)], ["name", "n"])) == "name   n\na      5\nlong  10"


def test_booleans_are_words_and_long_texts_are_cut_in_the_middle():
    made = table([(True, "x" * 30 + "y" * 30)], ["ok", "text"], longest=10)
    assert made.rows == (("yes", "xxxxx … yyyyy"),) and made.numeric == (False, False)


def test_a_row_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="2 cells"):
        table([(1, 2, 3)], ["a", "b"])


def test_no_rows_leave_the_headings():
    assert repr(table([], ["a", "b"])) == "a  b"


def test_a_pandas_frame_keeps_its_named_rows_and_leaves_no_address():
    import pandas as pd

    scores = pd.DataFrame({"accuracy": [0.91666, 0.5], "rows": [1600, 64]}, index=["LoRA", "majority class"])
    made = table(scores, form={"accuracy": "{:.1%}"})
    assert made.columns == ("", "accuracy", "rows")
    assert made.rows == (("LoRA", "91.7%", "1,600"), ("majority class", "50.0%", "64"))
    assert "0x" not in repr(made) and "0x" in repr(scores.style), "what a Styler would have left"
    assert table(scores.reset_index(drop=True)).columns == ("accuracy", "rows"), "an index that only counts"
    assert table(scores.rename_axis("method")).columns == ("method", "accuracy", "rows")


def test_numbers_are_rounded_whatever_their_type():
    import numpy as np

    cells = [0.123456, np.float32(0.123456), 123456.789, np.int64(123456), float("nan"), True, np.bool_(False)]
    assert table([cells], [str(i) for i in range(7)]).rows[0] == (
        "0.1235", "0.1235", "123,457", "123,456", "", "yes", "no"
    )  # fmt: skip


def test_a_form_is_for_floats_or_for_a_column():
    rows = [{"n": 64, "ms": 3.25}]
    assert table(rows, form="{:.1f}").rows == (("64", "3.2"),)
    assert table(rows, form={"n": "{:.1f}"}).rows == (("64.0", "3.25"),)
    with pytest.raises(ValueError, match="form names no column: accuracy"):
        table(rows, form={"accuracy": "{:.1f}"})
