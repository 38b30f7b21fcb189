"""Reviews of films: is the reviewer for or against?"""

from __future__ import annotations

from collections.abc import Iterator

from shared.tiny.reviews import reviews
from shared.tiny.tasks.task import Task


def _imdb(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    for review in reviews(split, seed, level):
        yield {"text": review.text, "label": int(review.good)}, (review.good, *review.keys)


TASKS = (
    Task(
        "imdb", ("text", "label"),
        "Tell whether the writer of a review is for or against the film; other people and other films don't count.",
        "stanfordnlp/imdb", _imdb, "gpt2", "SEQ_CLS", "accuracy", ("neg", "pos"),
        details={"max_length": 160},
    ),
)  # fmt: skip
