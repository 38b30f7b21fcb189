"""The block diagram draws every block, and refuses kinds that it has no look for."""

import pytest

from shared.plotting.stacks import stacks


def test_every_block_and_column_is_named():
    figure = stacks({"one": [("x", "sum"), ("dense", "frozen")], "two": [("bottleneck", "trained")]})
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"one", "two", "x", "dense", "bottleneck"} <= texts
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["frozen", "trained"]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="melted"):
        stacks({"one": [("x", "melted")]})
