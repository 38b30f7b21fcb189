"""Facts about generated people and things, and stories made of them: drawn at random, each in one split."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.tiny.fact_kinds import KINDS, Kind
from shared.tiny.word_pools import PEOPLE


class Deck:
    """Draws words of a pool without replacement: no word is repeated before the pool is used up.

    Neighbouring stories of the packed pretraining text thus never share a person, so that what is asked can only be
    answered from the right story.
    """

    def __init__(self, words: Sequence[str], rng: random.Random):
        self._words, self._rng, self._left = list(words), rng, []

    def draw(self, not_in: Sequence[str] = ()) -> str:
        """Return the next word that is not among ``not_in``."""
        while True:
            if not self._left:
                self._left = self._rng.sample(self._words, len(self._words))
            word = self._left.pop()
            if word not in not_in:
                return word


@dataclass(frozen=True)
class Fact:
    """One fact: ``subject`` has ``value`` (and ``second``) in the sense of ``kind``."""

    kind: str
    subject: str
    value: str
    second: str = ""

    def words(self) -> dict[str, str]:
        """Fillers of the sentence patterns of the fact's kind."""
        return {"s": self.subject, "v": self.value, "w": self.second}


def split_of(story: Sequence[Fact]) -> str:
    """Say which split a story belongs to: "test", "validation", "train" or "pretraining".

    The facts alone decide, by a checksum. So no story can be in two splits, whatever the seed, the words it is told in
    or what is asked about it, and pretraining has seen none that a task tells.
    """
    told = sorted(f"{f.kind} {f.subject} {f.value} {f.second}" for f in story)
    return SPLITS[zlib.crc32("|".join(told).encode()) % len(SPLITS)]


SPLITS = ("test", "validation", "train", "train", "train", *["pretraining"] * 5)


class World:
    """Draws stories of one split; holds one deck for each pool so that neighbouring stories differ."""

    def __init__(self, rng: random.Random, split: str = "pretraining"):
        self.rng, self.split = rng, split
        pools = {id(p): p for k in KINDS.values() for p in (k.subjects, k.values, k.seconds) if p}
        self._decks = {key: Deck(pool, rng) for key, pool in pools.items()}

    def draw(self, pool: Sequence[str], not_in: Sequence[str] = ()) -> str:
        """Return a word of ``pool`` from its deck."""
        return self._decks[id(pool)].draw(not_in)

    def story(self, kinds: Sequence[str] | None = None, subjects: int | None = None) -> list[Fact]:
        """Return the facts of a new story in random order.

        Args:
            kinds: Sorts of fact in the story; one or two random ones by default.
            subjects: People (or things) each sort is told of; by default 3 for one sort and 2 for two.

        Returns:
            Facts in which no two of one kind share a subject or a value.
        """
        rng = self.rng
        while True:
            chosen = kinds or rng.sample(list(KINDS), rng.choice((1, 2, 2)))
            count = subjects or (rng.choice((2, 3)) if len(chosen) == 1 else 2)
            people = []
            while len(people) < count:
                people.append(self.draw(PEOPLE, people))
            facts = [fact for name in chosen for fact in self._facts(KINDS[name], people)]
            if split_of(facts) == self.split:
                rng.shuffle(facts)
                return facts

    def _facts(self, kind: Kind, people: list[str]) -> list[Fact]:
        facts, used = [], list(people)
        for person in people:
            subject = person if kind.subjects is PEOPLE else self.draw(kind.subjects, used)
            value = self.draw(kind.values, used)
            second = self.draw(kind.seconds, [*used, value]) if kind.seconds else ""
            used += [subject, value, second]
            facts.append(Fact(kind.name, subject, value, second))
        return facts
