"""Generated word problems: people who get, lose, buy and compare things.

A problem is a chain of steps. Each step is stated in one sentence and calculated in another; all results are natural
numbers up to ``TOP``, in the tasks up to ``TOPS``. The numbers, the order of the operations and the thing decide by a
checksum which split a problem belongs to, whatever the names in it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import Deck

TOP = 60
GOODS = "pears plums lemons eggs cakes books cups pens boxes hats coats rings bells bottles candles bowls".split()
SPLITS = ("test", "validation", "train", "train", "train", *["pretraining"] * 5)
TOPS = {"easy": 12, "normal": 20, "hard": 40}
STEPS = {"easy": (1,), "normal": (1, 2, 2, 3), "hard": (3, 4)}

# How the first number comes in, by the kind of the chain: statement, calculation (if there is one).
STARTS = {
    "has": (("{p} has {a} {t}.", "There are {a} {t} with {p}.", "{p} owns {a} {t}."), ""),
    "bags": (
        ("{p} has {a} bags with {b} {t} in each.", "{p} fills {a} bags with {b} {t} each.",
         "There are {b} {t} in each of the {a} bags of {p}."),
        "The bags of {p} hold {sum} {t}.",
    ),
    "buys": (
        ("{p} buys {a} {t} for {b} coins each.", "{p} takes {a} {t}, and each costs {b} coins.",
         "At {b} coins each {p} buys {a} {t}."),
        "The {t} cost {sum} coins.",
    ),
}  # fmt: skip
# Later steps: kind -> sign, statements, calculation.
MOVES = {
    "gets": ("+", ("{q} gives {p} {b} more.", "{p} gets {b} more from {q}.", "Then {p} finds {b} more."),
             "With the new ones {p} has {sum} {t}."),
    "loses": ("-", ("{p} gives {b} to {q}.", "{q} takes {b} of them.", "Then {p} loses {b}."),
              "So {p} is left with {sum} {t}."),
    "also": ("+", ("{p} also pays {b} coins for a drum.", "A drum for {b} coins comes with them.",
                   "{p} adds a drum that costs {b} coins."),
             "With the drum {p} pays {sum} coins."),
    "off": ("-", ("{q} makes it {b} coins cheaper.", "The price falls by {b} coins.", "{q} pays {b} coins of that."),
            "Less that {p} pays {sum} coins."),
    "above": ("+", ("{q} has {b} more than {p}.", "{q} has {b} {t} more than that."), "So {q} has {sum} {t}."),
    "below": ("-", ("{q} has {b} fewer than {p}.", "{q} has {b} {t} fewer than that."), "So {q} has {sum} {t}."),
}  # fmt: skip
ASKED = {
    "gets": ("How many {t} does {p} have now?", "How many {t} has {p} in the end?"),
    "off": ("How many coins does {p} pay?", "What does {p} pay in all?"),
    "above": ("How many {t} does {q} have?", "How many {t} are there with {q}?"),
    "bags": ("How many {t} does {p} have?", "How many {t} are in the bags of {p}?"),
    "buys": ("How many coins do the {t} cost?", "What does {p} pay for the {t}?"),
}
ASKED |= {"loses": ASKED["gets"], "also": ASKED["off"], "below": ASKED["above"]}


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        start: Key of ``STARTS``.
        first: The one number of "has", or the two that are multiplied.
        moves: Pairs of a key of ``MOVES`` and its number.
        person: Whom it is about.
        others: Who stands beside that person in each move.
        thing: What is counted.
    """

    start: str
    first: tuple[int, ...]
    moves: tuple[tuple[str, int], ...]
    person: str
    others: tuple[str, ...]
    thing: str

    @property
    def key(self) -> tuple:
        """What decides the split: everything but the names."""
        return self.start, self.first, self.moves, self.thing

    def steps(self) -> list[tuple[int, str, int, int]]:
        """Left number, sign, right number and result of each calculation."""
        now, steps = self.first[0], []
        if len(self.first) == 2:
            now = self.first[0] * self.first[1]
            steps.append((self.first[0], "*", self.first[1], now))
        for move, number in self.moves:
            sign = MOVES[move][0]
            result = now + number if sign == "+" else now - number
            steps.append((now, sign, number, result))
            now = result
        return steps

    @property
    def answer(self) -> int:
        """The result of the last step."""
        return self.steps()[-1][3]


def split_of(key: tuple) -> str:
    """Say which split a problem belongs to."""
    return SPLITS[zlib.crc32(repr(key).encode()) % len(SPLITS)]


class Counter:
    """Draws problems of one split."""

    def __init__(self, rng: random.Random, split: str, level: str = "normal", top: int | None = None):
        self.rng, self.split, self.level, self.top = rng, split, level, top or TOPS[level]
        self.people = Deck(PEOPLE, rng)

    def problem(self) -> Problem:
        """Return a problem whose results are all between 0 and the top."""
        rng, top = self.rng, self.top
        while True:
            start, count = rng.choice(("has", "has", "bags", "buys")), rng.choice(STEPS[self.level])
            first = (rng.randint(2, top * 2 // 3),) if start == "has" else (rng.randint(2, 6), rng.randint(2, 12))
            moves = self._moves(start, first, count - len(first) + 1, top)
            if moves is None:
                continue
            found = Problem(start, first, moves, "", (), rng.choice(GOODS))
            if split_of(found.key) == self.split:
                return self._named(found)

    def _moves(self, start: str, first: tuple[int, ...], count: int, top: int) -> tuple | None:
        now, moves = first[0] * (first[1] if len(first) == 2 else 1), []
        kinds = ("also", "off") if start == "buys" else ("gets", "loses")
        for i in range(count):
            last = i + 1 == count and start != "buys" and self.rng.random() < 0.3
            move = self.rng.choice(("above", "below") if last else kinds)
            room = top - now if MOVES[move][0] == "+" else now
            if room < 1 or now > top:
                return None
            number = self.rng.randint(1, min(room, top // 2))
            moves.append((move, number))
            now += number if MOVES[move][0] == "+" else -number
        return tuple(moves) if now <= top else None

    def _named(self, found: Problem) -> Problem:
        names: list[str] = []
        for _ in range(1 + len(found.moves)):
            names.append(self.people.draw(names))
        return Problem(found.start, found.first, found.moves, names[0], tuple(names[1:]), found.thing)


def told(problem: Problem, rng: random.Random, hide: int | None = None) -> list[str]:
    """Tell each step in a sentence.

    Args:
        problem: The problem.
        rng: Random generator.
        hide: Number of the move whose number is called x; -1 for the first number.

    Returns:
        The sentences.
    """
    a, *b = problem.first
    words = {"p": problem.person, "t": problem.thing}
    parts = [
        rng.choice(STARTS[problem.start][0]).format(**words, a="x" if hide == -1 else a, b=b[0] if b else "", q="")
    ]
    for i, ((move, number), other) in enumerate(zip(problem.moves, problem.others, strict=True)):
        parts.append(rng.choice(MOVES[move][1]).format(**words, q=other, b="x" if hide == i else number))
    return parts


def asked(problem: Problem, rng: random.Random) -> str:
    """The question for the last result."""
    last = problem.moves[-1][0] if problem.moves else problem.start
    other = problem.others[-1] if problem.others else ""
    return rng.choice(ASKED[last]).format(p=problem.person, q=other, t=problem.thing)


def worked(problem: Problem, notes: bool = True) -> list[str]:
    """A sentence for each calculation; with GSM8K's notes for a calculator, or without."""
    names = [problem.person, *problem.others]
    kinds = ([problem.start] if len(problem.first) == 2 else []) + [move for move, _ in problem.moves]
    lines, shift = [], len(kinds) - len(problem.moves)
    for i, (kind, (left, sign, right, result)) in enumerate(zip(kinds, problem.steps(), strict=True)):
        note = f"<<{left}{sign}{right}={result}>>" if notes else ""
        pattern = STARTS[kind][1] if kind in STARTS else MOVES[kind][2]
        other = names[i - shift + 1] if kind not in STARTS else ""
        calculation = f"{left} {sign} {right} = {note}{result}"
        lines.append(pattern.format(p=problem.person, q=other, t=problem.thing, sum=calculation))
    return lines


def backwards(problem: Problem, hide: int) -> tuple[list[tuple[int, str, int, int]], int]:
    """Work out the number that was called x.

    Args:
        problem: The problem; its start must be "has" if ``hide`` is -1, else ``hide`` must be the last move.
        hide: As for :func:`told`.

    Returns:
        The calculations, and x.
    """
    steps = problem.steps()
    if hide == -1:
        undone = [(result, "-" if sign == "+" else "+", right, left) for left, sign, right, result in steps[::-1]]
        return undone, problem.first[0]
    left, sign, right, result = steps[-1]
    last = (result, "-", left, right) if sign == "+" else (left, "-", result, right)
    return [*steps[:-1], last], right


def hidden(problem: Problem, rng: random.Random) -> int | None:
    """Choose the number to be called x, if the problem has one that can be calculated."""
    choices = [-1] if problem.start == "has" else []
    choices += [len(problem.moves) - 1] if problem.moves else []
    return rng.choice(choices) if choices else None


def problems(split: str, seed: int, level: str) -> Iterator[tuple[Problem, random.Random]]:
    """Endless problems of one split, each with the random generator for its wording."""
    rng = random.Random(f"sums {split} {seed} {level}")
    counter = Counter(rng, split, level)
    while True:
        yield counter.problem(), rng
