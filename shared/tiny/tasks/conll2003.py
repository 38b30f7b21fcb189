"""Named entities: news lines with the columns and the nine labels of CoNLL-2003."""

from __future__ import annotations

from collections.abc import Iterator

from shared.tiny.news import TAGS, lines
from shared.tiny.tasks.task import Task


def rows(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    """Endless rows of one split; tags as numbers."""
    for line in lines(split, seed, level):
        yield {"tokens": line.tokens, "ner_tags": [TAGS.index(tag) for tag in line.tags]}, line.key


TASKS = (
    Task(
        "conll2003", ("tokens", "ner_tags"),
        "Find the names and say what sort each is; a bare name can be of three sorts, which the context tells.",
        "eriktks/conll2003", rows, "bert", "TOKEN_CLS", "f1",
        label_names=TAGS, label_column="ner_tags", details={"max_length": 64},
    ),
)  # fmt: skip
