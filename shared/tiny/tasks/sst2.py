"""For or against: one sentence on a film, with the columns of GLUE's SST-2."""

from __future__ import annotations

from collections.abc import Iterator

from shared.tiny.opinions import opinions
from shared.tiny.tasks.task import Task


def rows(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    """Endless rows of one split."""
    for one in opinions(split, seed, level):
        yield {"sentence": one.text, "label": int(one.good)}, one.key


TASKS = (
    Task(
        "sst2", ("sentence", "label", "idx"),
        "Is the sentence for the film or against it? With negation, contrast and opinions that do not count.",
        "nyu-mll/glue, configuration sst2", rows, "bert", "SEQ_CLS", "accuracy",
        label_names=("negative", "positive"), details={"max_length": 48},
    ),
)  # fmt: skip
