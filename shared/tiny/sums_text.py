"""Pretraining text about sums: the calculations of the tasks in other words."""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.stories import MARK
from shared.tiny.sums import TOP, Counter, Problem, backwards, hidden, told

# -- pretraining: the same numbers, told and reckoned in other words ---------------------------------------------------

WORD = {"+": "and", "-": "less", "*": "times"}
VERB = {"+": "are", "-": "leave", "*": "make"}
ASKERS = (
    "{o} asked how many there are now.", "{o} wants to know what that makes.", "{o} counts.", "What is that in all?",
    "How many is that? {o} knows.", "{o} does the sum.",
)  # fmt: skip


def reckoned(step: tuple[int, str, int, int]) -> str:
    """A calculation in words, its result marked."""
    left, sign, right, result = step
    return f"{left} {WORD[sign]} {right} {VERB[sign]} {MARK}{result}"


def table(rng: random.Random, top: int) -> str:
    """A table of calculations: one after the other, in signs or in words."""
    lines, signs, number = [], rng.random() < 0.5, rng.randint(1, 20)
    for _ in range(rng.randint(4, 10)):
        sign = rng.choice("++--*")
        if sign == "*":
            left, right = rng.randint(2, max(4, min(12, top // 4))), rng.randint(2, 5)
            left, right = (left, right) if rng.random() < 0.5 else (right, left)
            result = left * right
        else:
            low = rng.choice((number, rng.randint(1, top // 2)))
            high = rng.randint(low, top)
            left, right, result = (low, high - low, high) if sign == "+" else (high, low, high - low)
            left, right = (right, left) if sign == "+" and rng.random() < 0.5 else (left, right)
        step = (left, sign, right, result)
        lines.append(f"{left} {sign} {right} = {MARK}{result}" if signs else reckoned(step))
    return rng.choice((", ", ". ", "; ", "\n")).join(lines) + "."


def account(counter: Counter) -> str:
    """A problem of the pretraining split with its calculations, forwards or backwards."""
    rng, problem = counter.rng, counter.problem()
    other, luck = counter.people.draw([problem.person, *problem.others]), rng.random()
    ask = rng.choice(ASKERS).format(o=other)
    if luck < 0.3:
        return " ".join([*_running(problem, rng), *_again(problem, other, rng)])
    hide = hidden(problem, rng) if luck > 0.7 else None
    if hide is None:
        reckoning = ", ".join(reckoned(step) for step in problem.steps())
        return f"{' '.join(told(problem, rng))} {ask} {reckoning[0].upper() + reckoning[1:]}. {MARK}{problem.answer}."
    steps, x = backwards(problem, hide)
    known = rng.choice(("In the end it is {n}.", "It comes to {n}.", "Now it is {n}.")).format(n=problem.answer)
    reckoning = ", ".join(reckoned(step) for step in steps)
    return f"{' '.join(told(problem, rng, hide))} {known} {other} looks for x. {reckoning}. So x is {MARK}{x}."


def _running(problem: Problem, rng: random.Random) -> list[str]:
    """The story with the result after each step."""
    sentences, results = told(problem, rng), [step[3] for step in problem.steps()]
    first = [] if len(problem.first) == 2 else [sentences[0]]
    rest = sentences[len(first) :]
    says = rng.choice((" That makes {}.", " So it is {} now.", " Now {}."))
    return first + [text + says.format(MARK + str(n)) for text, n in zip(rest, results, strict=True)]


def _again(problem: Problem, other: str, rng: random.Random) -> list[str]:
    if rng.random() < 0.5:
        return []
    reckoning = ", ".join(reckoned(step) for step in problem.steps())
    return [f"{other} counted: {reckoning}."]


def reckoning(rng: random.Random, tables: float = 0.4, top: int = TOP) -> Iterator[str]:
    """Endless marked documents for pretraining: accounts and number tables.

    Args:
        rng: Random generator.
        tables: Share of tables.
        top: Largest result (products in tables may go beyond).
    """
    counter = Counter(rng, "pretraining", "normal", top)
    while True:
        yield table(rng, top) if rng.random() < tables else account(counter)
