"""Generated bills: random bills made of clauses.

A *clause* is one thing that an act says. Those that change what holds (duties, grants, bans, fines, permits, repeals)
*count*; findings, definitions, exceptions and the short title do not, and a summary leaves them out.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.tiny.clause_kinds import COUNTED, DEALING, DEALS, KINDS, NAMES, OTHERS, WORKS, ClauseKind
from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import Deck

TITLES = (
    "This Act may be cited as the {name} Act.",
    "This Act is called the {name} Act.",
    "The short title of this Act is {name} Act.",
)
OPENINGS = ("Be it enacted:", "Section 1.", "An Act.", "A bill.")


@dataclass(frozen=True)
class Clause:
    """One clause: its kind and the word of each slot, as pairs in the kind's order."""

    kind: str
    fillers: tuple[tuple[str, str], ...]

    def words(self) -> dict[str, str]:
        """Fillers of the kind's patterns, with the forms of the verb and the plural."""
        words = dict(self.fillers)
        if "v" in words:
            words["vd"], words["ving"] = (WORKS | DEALS)[words["v"]], DEALING.get(words["v"], "")
        if "j" in words:
            words["js"] = words["j"] + "s"
        return words


@dataclass(frozen=True)
class Bill:
    """A bill: its name ("Safe Roads") and its clauses in order; those of ``COUNTED`` kinds make the summary."""

    name: str
    clauses: tuple[Clause, ...]

    def counted(self) -> list[Clause]:
        """The clauses that belong in the summary."""
        return [clause for clause in self.clauses if clause.kind in COUNTED]


SPLITS = ("test", "validation", "train", "train", "train", *["pretraining"] * 5)


def split_of(clause: Clause) -> str:
    """Say which split a clause belongs to: "test", "validation", "train" or "pretraining".

    Its words alone decide, by a checksum, so that not even one clause of a test bill was ever told elsewhere.
    """
    told = clause.kind + " " + " ".join(word for _, word in clause.fillers)
    return SPLITS[zlib.crc32(told.encode()) % len(SPLITS)]


class Bills:
    """Draws bills of one split; a deck for each pool keeps neighbouring bills apart."""

    def __init__(self, rng: random.Random, split: str = "pretraining"):
        self.rng, self.split = rng, split
        self._pools = {id(p): p for p in (PEOPLE, NAMES, *(p for k in KINDS.values() for p in k.pools.values()))}
        self._decks = {key: Deck(pool, rng) for key, pool in self._pools.items()}

    def draw(self, pool: Sequence[str], not_in: Sequence[str] = ()) -> str:
        """Return a word of ``pool`` from its deck."""
        return self._decks[id(pool)].draw(not_in)

    def clause(self, kind: ClauseKind, used: Sequence[str] = ()) -> Clause:
        """Return a clause of the split, of words that are not in ``used``; nor does a word stand in it twice."""
        while True:
            fillers: dict[str, str] = {}
            for slot, pool in kind.pools.items():
                fillers[slot] = self.draw(pool, [*used, *fillers.values()])
            clause = Clause(kind.name, tuple(fillers.items()))
            if kind.name in OTHERS or split_of(clause) == self.split:
                return clause

    def bill(self, counted: int, others: int) -> Bill:
        """Return a bill of ``counted`` clauses that count and ``others`` that do not, in mixed order.

        Towns, agencies, numbers and the like come once in a bill at most, so that each names one clause.
        """
        kinds = [self.rng.choice(list(COUNTED.values())) for _ in range(counted)]
        kinds += [self.rng.choice(list(OTHERS.values())) for _ in range(others)]
        self.rng.shuffle(kinds)
        clauses, used = [], []
        for kind in kinds:
            clauses.append(self.clause(kind, used))
            used += [word for slot, word in clauses[-1].fillers if slot not in "vdr"]
        return Bill(self.draw(NAMES), tuple(clauses))


def law(clause: Clause, rng: random.Random) -> str:
    """The clause as the act words it."""
    return rng.choice(KINDS[clause.kind].law).format(**clause.words())


def bill_text(bill: Bill, rng: random.Random, title: bool = True) -> str:
    """The bill as it is printed: sometimes an opening, the clauses, the short title first or last."""
    parts = [law(clause, rng) for clause in bill.clauses]
    if title:
        parts.insert(rng.choice((0, len(parts))), rng.choice(TITLES).format(name=bill.name))
    if rng.random() < 0.3:
        parts.insert(0, rng.choice(OPENINGS))
    return " ".join(parts)


def summary(bill: Bill) -> str:
    """The summary style of the task: a sentence for each clause that counts, in the order of the bill."""
    return " ".join(COUNTED[clause.kind].summary.format(**clause.words()) for clause in bill.counted())
