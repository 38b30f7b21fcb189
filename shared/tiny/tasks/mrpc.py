"""Paraphrase or not: two reports of events, with the columns of GLUE's MRPC."""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.event_kinds import EVENT_KINDS
from shared.tiny.events import Event, contradict, event_of, fill, swap_people
from shared.tiny.tasks.task import Task

POSITIVE = 0.6  # share of paraphrases, before label noise (the real set has about two thirds)
NOISE = {"easy": 0.0, "normal": 0.03, "hard": 0.06}  # share of labels that are turned round, as annotators err
CHANGED = {"easy": (3, 3, 4), "normal": (1, 1, 2), "hard": (1, 1, 1)}  # roles that a non-paraphrase fills otherwise


def rows(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    """Endless rows of one split.

    Both sentences of a row tell of the same people; a non-paraphrase says something else of them, or lets two of them
    change places, so that the two sentences of both classes share most words.
    """
    rng = random.Random(f"mrpc {split} {seed} {level}")
    while True:
        event = event_of(split, rng)
        one, two = rng.sample(EVENT_KINDS[event.kind].tellings, 2)
        same = rng.random() < POSITIVE
        other = event if same else _other(event, one, two, level, rng)
        label = int(same) if rng.random() >= NOISE[level] else int(not same)
        first, second = fill(one, event.words)[0], fill(two, other.words)[0]
        yield {"sentence1": first, "sentence2": second, "label": label}, event.anchor


def _other(event: Event, one: str, two: str, level: str, rng: random.Random) -> Event:
    """Another event of the same people that contradicts in roles which both tellings name."""
    roles = [role for role in EVENT_KINDS[event.kind].roles if f"{{{role}}}" in one and f"{{{role}}}" in two]
    people = [role for role in EVENT_KINDS[event.kind].people() if role in roles]
    if len(people) > 1 and rng.random() < (0.1 if level == "easy" else 0.35):
        return swap_people(event, rng, people)
    kept = {*EVENT_KINDS[event.kind].people(), *EVENT_KINDS[event.kind].anchor}
    free = [role for role in roles if role not in kept]
    return contradict(event, rng.sample(free, min(len(free), rng.choice(CHANGED[level]))), rng)


TASKS = (
    Task(
        "mrpc", ("sentence1", "sentence2", "label", "idx"),
        "Do two sentences report the same event? 1 = equivalent, 0 = not.",
        "nyu-mll/glue, configuration mrpc", rows, "bert", "SEQ_CLS", "accuracy",
        label_names=("not_equivalent", "equivalent"), details={"max_length": 64},
    ),
)  # fmt: skip
