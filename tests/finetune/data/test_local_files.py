"""Data files as other programs write them: read, or refused with file, row, column, what was found and a fix."""

from __future__ import annotations

import csv
import io
import json

import pytest

from shared.errors import DataError
from shared.finetune.data import load_rows, to_prompt_completion
from shared.finetune.data.local_files import read_file
from shared.finetune.prediction.inputs import read_inputs
from shared.finetune.schema.sections import DatasetSection

ROWS = [{"q": f"question {number}", "a": f"answer {number}"} for number in range(40)]


def jsonl(rows=ROWS, **changed) -> str:
    """Lines of JSON; ``changed``: values of row 8."""
    rows = [{**row, **changed} if place == 7 else row for place, row in enumerate(rows)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(delimiter: str = ",", rows=ROWS, header=("q", "a"), end: str = "\n", **changed) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(header)
    writer.writerows({**row, **changed}.values() if place == 7 else row.values() for place, row in enumerate(rows))
    return text.getvalue()


@pytest.fixture
def pairs(tmp_path):
    """(name, content) -> the training rows of such a file as (prompt, completion)."""

    def read(name: str, content: str | bytes) -> list[tuple[str, str]]:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        section = DatasetSection(name=str(file), prompt_template="Q: {q}\nA: {a}")
        found = to_prompt_completion(load_rows(section, "train"), section)
        return list(zip(found["prompt"], found["completion"], strict=True))

    return read


READ = {
    "plain.jsonl": jsonl(),
    "mark.jsonl": b"\xef\xbb\xbf" + jsonl().encode(),
    "utf16.jsonl": jsonl().encode("utf-16"),
    "crlf.jsonl": jsonl().replace("\n", "\r\n"),
    "list.json": json.dumps(ROWS, indent=1),
    "plain.csv": table(),
    "semicolon.csv": table(";"),
    "tab.csv": table("\t"),
    "bar.csv": table("|"),
    "tab.tsv": table("\t"),
    "mark.csv": b"\xef\xbb\xbf" + table().encode(),
    "utf16.csv": table(";").encode("utf-16"),
    "crlf.csv": table(end="\r\n"),
}


@pytest.mark.parametrize("name", READ)
def test_a_file_of_another_program_is_read(pairs, name):
    expected = pairs("plain.jsonl", READ["plain.jsonl"])
    assert len(expected) == 32 and expected[0][0].startswith("Q: question")
    assert pairs(name, READ[name]) == expected


REFUSED = {
    "object.jsonl": (jsonl(a={"x": 1}), "object.jsonl, line 8, column 'a': an object ({\"x\": 1}), but text in line 1"),
    "objects.jsonl": (
        jsonl([{**r, "a": {"x": 1}} for r in ROWS]),
        "row 1, column 'a': an object ({\"x\": 1}) where a t",
    ),
    "number.jsonl": (jsonl(a=42), "number.jsonl, line 8, column 'a': a number (42), but text in line 1"),
    "truth.jsonl": (jsonl(a=True), "line 8, column 'a': true or false (true), but text"),
    "list.jsonl": (jsonl(a=["x"]), "line 8, column 'a': a list"),
    "null.jsonl": (jsonl(a=None), "null.jsonl, row 8, column 'a': the response is empty"),
    "nothing.jsonl": (jsonl(a="  "), "nothing.jsonl, row 8, column 'a': the response is empty"),
    "nan.jsonl": (jsonl(a=None).replace("null", "NaN"), "row 8, column 'a': the response is empty"),
    "twice.jsonl": ('{"q": "x", "a": "y", "a": "z"}\n', "line 1: the key 'a' stands twice"),
    "broken.jsonl": (jsonl() + '{"q": ', "broken.jsonl, line 41: not JSON"),
    "latin.jsonl": (jsonl().replace("answer 3", "caf\xe9").encode("latin-1"), "line 4: not UTF-8 (byte 0xe9)"),
    "empty.jsonl": ("", "empty.jsonl is empty"),
    "blank.jsonl": ("\n \n", "blank.jsonl is empty"),
    "bare.jsonl": ('"text"\n', 'line 1: text ("text") instead of an object'),
    "broken.json": (json.dumps(ROWS, indent=1)[:-9], "broken.json, line 160: not JSON"),
    "object.json": (json.dumps({"data": ROWS}, indent=1), "holds one object (with 'data') instead of a list"),
    "utf16.csv": (table().encode("utf-16-le"), "zero bytes: it is UTF-16 without a byte order mark"),
    "latin.csv": (table().replace("answer 3", "caf\xe9").encode("latin-1"), "latin.csv, line 5: not UTF-8"),
    "twice.csv": (table(header=("q", "q")), "twice.csv, line 1: the column name 'q' stands twice"),
    "long.csv": (table().replace("answer 7\n", "answer 7,more\n"), "long.csv, line 9: 3 columns instead of 2"),
    "short.csv": (table().replace(",answer 7\n", "\n"), "short.csv, line 9: 1 columns instead of 2"),
    "quote.csv": (table().replace("question 7", '"question 7'), "quote.csv, line 9: not CSV"),
    "gap.csv": (table(a=""), "gap.csv, row 8, column 'a': the response is empty"),
    "empty.csv": ("", "empty.csv is empty"),
    "header.csv": ("q,a\n", "header.csv has a header and no rows"),
    "damaged.parquet": (b"PAR1 and no more", "damaged.parquet can't be read"),
    "empty.parquet": (b"", "empty.parquet is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_read_is_named_with_a_fix(pairs, name):
    content, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        pairs(name, content)
    assert words in caught.value.message and caught.value.fix


def test_texts_stay_as_they_are_written(pairs):
    """No number loses its zeros, no text that looks like a gap is one, and U+2028 is no line end."""
    odd = ["007", "1.50", "NA", "null", "None", "true"]
    rows = [{**row, "a": odd[place % 6]} for place, row in enumerate(ROWS)]
    written = {f"Q: {row['q']}\nA:": f" {row['a']}" for row in rows}
    for name, content in (("a.csv", table(rows=rows)), ("a.jsonl", jsonl(rows))):
        found = dict(pairs(name, content))
        assert found.items() <= written.items() and len(set(found.values())) == 6
    lines = "".join(json.dumps({**row, "q": "a\u2028b"}, ensure_ascii=False) + "\n" for row in ROWS)
    assert pairs("line.jsonl", lines)[0][0] == "Q: a\u2028b\nA:"
    mixed = jsonl([{**row, "a": place if place % 2 else place + 0.5} for place, row in enumerate(ROWS)])
    assert dict(pairs("mixed.jsonl", mixed))["Q: question 1\nA:"] == " 1"


def test_columns_outside_of_the_template_keep_their_kind(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("number,share,flag,code,gap,text\n1,0.5,true,007,1,NA\n2,1,false,010,,b\n")
    rows = read_file(file).to_list()
    first = {"number": 1, "share": 0.5, "flag": True, "code": "007", "gap": 1, "text": "NA"}
    assert rows[0] == first and rows[1] == {**first, "number": 2, "share": 1.0, "flag": False, "code": "010",
                                            "gap": None, "text": "b"}  # fmt: skip


def test_parquet_with_nested_columns(tmp_path):
    """Refused where a text is needed, left alone elsewhere."""
    import pandas

    nested = pandas.DataFrame([{**row, "a": {"x": row["a"]}, "more": [1, 2]} for row in ROWS])
    nested.to_parquet(tmp_path / "nested.parquet")
    section = DatasetSection(name=str(tmp_path / "nested.parquet"), prompt_template="{q} {a}")
    with pytest.raises(DataError, match=r"row 1, column 'a': an object .* where a text is needed"):
        load_rows(section, "train")
    nested["a"] = [row["a"] for row in ROWS]
    nested.to_parquet(tmp_path / "other.parquet")
    section = DatasetSection(name=str(tmp_path / "other.parquet"), prompt_template="{q} {a}")
    rows = load_rows(section, "train")
    assert rows["more"][0] == [1, 2] and len(to_prompt_completion(rows, section)) == 32


def test_the_row_is_that_of_the_file_also_after_drawing(monkeypatch):
    """A data set of the Hub, of which some rows are drawn: the number is that of the whole."""
    import datasets

    rows = datasets.Dataset.from_list([{**row, "a": "" if place == 17 else row["a"]} for place, row in enumerate(ROWS)])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **more: rows)
    section = DatasetSection(name="somebody/rows", prompt_template="{q} {a}", max_train_rows=39)
    with pytest.raises(DataError, match=r"somebody/rows, row 18, column 'a': the response is empty"):
        to_prompt_completion(load_rows(section, "train"), section)


@pytest.mark.parametrize("name", ["semicolon.csv", "utf16.csv", "tab.tsv", "mark.jsonl", "utf16.jsonl"])
def test_inference_reads_the_same_files(tmp_path, name):
    from shared.finetune.config import Config

    file = tmp_path / name
    file.write_bytes(READ[name] if isinstance(READ[name], bytes) else READ[name].encode())
    sections = {"model": {"name_or_path": "x"}, "peft": {"method": "lora"}, "task_name": "t"}
    config = Config.model_validate({**sections, "dataset": {"name": str(file), "prompt_template": "Q: {q}\nA: {a}"}})
    items = list(read_inputs(file, config))
    assert [item.prompt for item in items] == [f"Q: question {number}\nA:" for number in range(40)]


@pytest.mark.parametrize("value", ["", "NaN", "nan"])
@pytest.mark.parametrize("labels", [("0", "1"), ("no", "yes")])
def test_a_missing_label_in_a_csv_is_named(tmp_path, value, labels):
    """A gap makes no column of whole numbers one of fractions, and no class of its own."""
    from shared.finetune.config import Config
    from shared.finetune.tasks import seq_cls

    file = tmp_path / "rows.csv"
    rows = [{"text": f"text {place}", "label": labels[place % 2]} for place in range(40)]
    file.write_text(table(rows=rows, header=("text", "label"), label=value))
    sections = {"model": {"name_or_path": "x"}, "peft": {"method": "lora"}, "task_name": "t", "task_type": "SEQ_CLS"}
    config = Config.model_validate({**sections, "dataset": {"name": str(file), "holdout": 0.01}})
    with pytest.raises(DataError, match=r"row 8, column 'label': the label is missing"):
        seq_cls.labels(config)
    file.write_text(table(rows=rows, header=("text", "label")))
    assert seq_cls.labels(config) == list(labels)


def test_words_and_tags_have_to_match(tmp_path):
    from shared.finetune.config import Config
    from shared.finetune.tasks import token_cls

    file = tmp_path / "rows.jsonl"
    rows = [{"tokens": ["Ann", "left"], "ner_tags": ["B-PER", "O"]} for _ in range(20)]
    sections = {"model": {"name_or_path": "x"}, "peft": {"method": "lora"}, "task_name": "t", "task_type": "TOKEN_CLS"}
    config = Config.model_validate({**sections, "dataset": {"name": str(file), "holdout": 0.01}})
    for wrong, words in ((["O"], "2 in 'tokens', but 1 in 'ner_tags'"), (None, "instead of a list")):
        file.write_text(jsonl(rows, ner_tags=wrong))
        with pytest.raises(DataError, match="row 8") as caught:
            token_cls.labels(config)
        assert words in caught.value.message and caught.value.fix
