"""Answers from a passage: questions on facts and events, with the columns of SQuAD 1.1."""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.event_kinds import EVENT_KINDS
from shared.tiny.events import event_of, fill
from shared.tiny.fact_kinds import KINDS
from shared.tiny.tasks.task import Task
from shared.tiny.world import Fact, World

FACTS = {"easy": 2, "normal": 2, "hard": 4}  # people (or things) of the passage
# Share of passages that report events; facts of one sort on several people are harder.
EVENTS = {"easy": 0.9, "normal": 0.6, "hard": 0.3}


def rows(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    """Endless rows of one split. The answer stands once in the passage; others of its sort stand there too."""
    rng = random.Random(f"squad {split} {seed} {level}")
    world, number = World(rng, split), 0
    while True:
        ask = _on_event if rng.random() < EVENTS[level] else _on_facts
        title, question, sentences, answer, key = ask(world, split, level, rng)
        told, spans = sentences[0]
        rest = [text for text, _ in sentences[1:]]
        before = rng.randint(0, len(rest))
        lead = " ".join(rest[:before])
        start = spans[answer][0] + len(lead) + bool(lead)
        context = " ".join([*rest[:before], told, *rest[before:]])
        text = context[start : start + spans[answer][1] - spans[answer][0]]
        if context.replace(".", " ").split().count(text) != 1:
            continue
        number += 1
        yield {
            "id": f"{split}-{level}-{seed}-{number}", "title": title, "context": context, "question": question,
            "answers": {"text": [text], "answer_start": [start]},
        }, key  # fmt: skip


def _on_facts(world: World, split: str, level: str, rng: random.Random) -> tuple:
    """A question on one of several facts, most of them of the same sort."""
    kinds = rng.sample(list(KINDS), 1 if rng.random() < 0.6 else 2)
    story = world.story(kinds, FACTS[level] if len(kinds) == 1 else 2)
    fact = story[0]
    kind, by_value = KINDS[fact.kind], rng.random() < 0.6
    question = rng.choice(kind.ask if by_value else kind.ask_subject)[0]
    sentences = [fill(rng.choice(KINDS[one.kind].tell), one.words()) for one in story]
    return kind.label, fill(question, fact.words())[0], sentences, "v" if by_value else "s", _key(story)


def _key(story: list[Fact]) -> tuple:
    return tuple(sorted(f"{f.kind} {f.subject} {f.value} {f.second}" for f in story))


def _on_event(world: World, split: str, level: str, rng: random.Random) -> tuple:
    """A question on an event, in a passage that also has another event or a fact about other people."""
    event = event_of(split, rng)
    kind = EVENT_KINDS[event.kind]
    while True:
        telling, role = rng.choice(kind.tellings), rng.choice(list(kind.asks))
        if f"{{{role}}}" in telling:
            break
    sentences = [fill(telling, event.words)]
    other = event_of(split, rng, event.kind if level == "hard" else None)
    if not set(other.words.values()) & set(event.words.values()):
        sentences.append(fill(rng.choice(EVENT_KINDS[other.kind].tellings), other.words))
    question = fill(rng.choice(kind.asks[role]), event.words)[0]
    return kind.name.capitalize(), question, sentences, role, event.anchor


TASKS = (
    Task(
        "squad", ("id", "title", "context", "question", "answers"),
        "Mark the words of the passage that answer the question.",
        "rajpurkar/squad", rows, "bert", "QUESTION_ANS", "exact_match", details={"max_length": 100},
    ),
)  # fmt: skip
