"""Opinions on films: praise and blame, turned round by negation, contrast, hearsay and expectation.

An opinion is *for* or *against*; which of the two does not follow from its words alone. "Anything but dull" praises,
"clever at first, but dull in the end" blames, and "unlike the dull Night Train, it is clever" speaks of two films. So a
count of good and bad words is not enough, as with real reviews.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.tiny.word_pools import PEOPLE

GOOD = (
    "clever funny gripping lovely brave warm moving bright witty tender charming elegant honest lively original "
    "graceful touching thrilling fresh delightful"
).split()
BAD = (
    "dull silly boring clumsy cold noisy empty flat stale shallow messy tired ugly pompous lifeless annoying confused "
    "tedious weak hollow"
).split()
ASPECTS = "plot acting music ending story cast camera dialogue script pace".split()
COLOURS = "Red Blue Green Golden Silver White Black Last First Lost Silent Broken".split()
NOUNS = "River Train Garden Bridge Window Letter Winter Island Mirror Road Tower Harbour".split()
NEGATIONS = ("not {}", "never {}", "hardly {}", "anything but {}", "far from {}", "not at all {}", "by no means {}")
NEGATED = {
    "plain": 0.0,
    "easy": 0.15,
    "normal": 0.3,
    "hard": 0.5,
}  # share of adjectives that are said by negating the opposite
FOLKS = ("the critics", "my brother", "my sister", "the papers", "our neighbours", "the crowd", "my friends")


@dataclass(frozen=True)
class Opinion:
    """One opinion.

    Attributes:
        text: The sentence, with a full stop.
        good: Whether it is for the film.
        film: The film's title.
        form: How it is built, for example "contrast".
        key: What it says: form, side and the words that tell (not the film's); opinions of one key belong to one split.
    """

    text: str
    good: bool
    film: str
    form: str
    key: tuple


class Critic:
    """Draws the parts of opinions and notes what was drawn.

    A wording is chosen before its words are drawn, so that each word that was drawn is also said: two opinions that say
    the same then have the same key.
    """

    def __init__(self, rng: random.Random, level: str = "normal"):
        self.rng, self.level = rng, level
        self.drawn: list[str] = []

    def pick(self, pool) -> str:
        """Return a word of a pool that this opinion has not used yet."""
        word = self.rng.choice([one for one in pool if one not in self.drawn])
        self.drawn.append(word)
        return word

    def wording(self, *wordings: Callable[[], str]) -> str:
        """Return one of several wordings; the others draw no words."""
        return self.rng.choice(wordings)()

    def word(self, good: bool) -> str:
        """Return an adjective of praise or blame."""
        return self.pick(GOOD if good else BAD)

    def film(self) -> str:
        """Return a title, for example "Silent River"."""
        return f"{self.pick(COLOURS)} {self.pick(NOUNS)}"

    def quality(self, good: bool) -> str:
        """Return what completes "it is …": an adjective, or the opposite one negated in one of several ways."""
        if self.rng.random() < NEGATED[self.level]:
            return self.rng.choice(NEGATIONS).format(self.word(not good))
        return self.rng.choice(("{}", "{}", "very {}", "really {}")).format(self.word(good))

    def clause(self, good: bool) -> str:
        """Return a clause on one aspect of the film."""
        return f"the {self.pick(ASPECTS)} is {self.quality(good)}"


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _plain(c: Critic, good: bool, film: str) -> str:
    return c.wording(
        lambda: f"{film} is {c.quality(good)}",
        lambda: f"in {film} {c.clause(good)}",
        lambda: f"{c.clause(good)} in {film}",
    )


def _both(c: Critic, good: bool, film: str) -> str:
    return c.wording(
        lambda: f"{film} is {c.quality(good)} and {c.quality(good)}",
        lambda: f"{c.clause(good)} and {c.clause(good)} in {film}",
        lambda: f"{film} is not only {c.word(good)} but also {c.word(good)}",
    )


def _list(c: Critic, good: bool, film: str) -> str:
    return f"{film} is {c.quality(good)}, {c.quality(good)} and {c.quality(good)}"


def _contrast(c: Critic, good: bool, film: str) -> str:
    weak = c.clause(not good)
    return c.wording(
        lambda: f"{weak}, but {film} is {c.quality(good)}",
        lambda: f"although {weak}, {c.clause(good)} in {film}",
        lambda: f"{c.clause(good)} in {film}, although {weak}",
        lambda: f"{film} is {c.quality(good)}, even though {weak}",
    )


def _in_the_end(c: Critic, good: bool, film: str) -> str:
    first, last = c.quality(not good), c.quality(good)
    return c.wording(
        lambda: f"{film} is {first} at first, but {last} in the end",
        lambda: f"{film} begins {first}, yet it ends {last}",
        lambda: f"{film} is {last} in the end, though {first} at first",
    )


def _hearsay(c: Critic, good: bool, film: str) -> str:
    who, said = c.pick(FOLKS), c.quality(not good)
    return c.wording(
        lambda: f"{who} called {film} {said}, but I found it {c.quality(good)}",
        lambda: f"{who} said {film} was {said}, but they were wrong",
        lambda: f"I found {film} {c.quality(good)}, although {who} called it {said}",
    )


def _other_film(c: Critic, good: bool, film: str) -> str:
    other, word, found = c.film(), c.word(not good), c.quality(good)
    return c.wording(
        lambda: f"unlike the {word} {other}, {film} is {found}",
        lambda: f"{other} was {word}, but {film} is {found}",
        lambda: f"after the {word} {other} I found {film} {found}",
    )


def _expectation(c: Critic, good: bool, film: str) -> str:
    hoped = c.word(not good)
    return c.wording(
        lambda: f"I expected {_a(hoped)} film, but {film} is {c.quality(good)}",
        lambda: f"{film} could have been {hoped}, but it is {c.word(good)}",
        lambda: f"I came for {_a(hoped)} evening and {film} gave me {_a(c.word(good))} one",
    )


def _denial(c: Critic, good: bool, film: str) -> str:
    word = c.word(not good)
    return c.wording(
        lambda: f"nobody can call {film} {word}",
        lambda: f"I would not say that {film} is {word}",
        lambda: f"{film} has no {word} minute",
    )


FORMS: dict[str, Callable[[Critic, bool, str], str]] = {
    "plain": _plain,
    "both": _both,
    "list": _list,
    "contrast": _contrast,
    "in the end": _in_the_end,
    "hearsay": _hearsay,
    "other film": _other_film,
    "expectation": _expectation,
    "denial": _denial,
}
WEIGHTS = {  # of the forms, in their order
    "plain": (2, 2, 2, 0, 0, 0, 0, 0, 0),
    "easy": (5, 3, 1, 1, 1, 0, 0, 0, 1),
    "normal": (3, 4, 1, 3, 2, 1, 1, 1, 1),
    "hard": (0, 0, 0, 3, 3, 3, 3, 3, 1),
}
SPLITS = ("test", "validation", "train", "train", "train", *["pretraining"] * 5)


def split_of(key: tuple) -> str:
    """Say which split an opinion belongs to; what it says decides, by a checksum."""
    return SPLITS[zlib.crc32(repr(key).encode()) % len(SPLITS)]


def opinion(rng: random.Random, split: str, level: str = "normal", good: bool | None = None, film: str = "") -> Opinion:
    """Draw an opinion of one split.

    Args:
        rng: Source of chance.
        split: "train", "validation", "test" or "pretraining".
        level: "plain" has neither negation nor contrast, "easy" little, "hard" almost nothing else.
        good: For or against; by default at random.
        film: The film's title; by default a new one.

    Returns:
        The opinion.
    """
    forms, side = list(FORMS), rng.random() < 0.5 if good is None else good  # both sides alike often in each split
    while True:
        critic = Critic(rng, level)
        title = film or critic.film()
        if film:
            critic.drawn += film.split()
        form = rng.choices(forms, WEIGHTS[level])[0]
        text = FORMS[form](critic, side, title)
        key = (form, side, *sorted(set(critic.drawn) - set(COLOURS) - set(NOUNS)))
        if split_of(key) == split:
            return Opinion(text[0].upper() + text[1:] + ".", side, title, form, key)


def opinions(split: str, seed: int, level: str) -> Iterator[Opinion]:
    """Endless opinions of one split."""
    rng = random.Random(f"opinions {split} {seed} {level}")
    while True:
        yield opinion(rng, split, level)


LIKED = (
    "{p} liked it.", "{p} wants to see it again.", "{p} told everyone to go.", "{p} clapped for a long time.",
    "{p} bought the music.", "{p} stayed to the last minute.", "{p} was happy.", "In short, it was great.",
    "In a word, wonderful.",
)  # fmt: skip
DISLIKED = (
    "{p} hated it.", "{p} left early.", "{p} warned everyone.", "{p} fell asleep.", "{p} wanted the money back.",
    "{p} looked at the clock.", "{p} was angry.", "In short, it was terrible.", "In a word, awful.",
)  # fmt: skip


def reaction(rng: random.Random, good: bool, person: str = "") -> str:
    """What a person does after such a film: a sentence that follows from the opinion, with none of its words."""
    return rng.choice(LIKED if good else DISLIKED).format(p=person or rng.choice(PEOPLE))


def comment(rng: random.Random, good: bool, right: bool = True, doubts: float = 0.25) -> tuple[str, tuple[int, int]]:
    """Somebody else agrees or disagrees, and says so with adjectives of the side that follows.

    Args:
        rng: Source of chance.
        good: The side of the opinion that is commented on.
        right: False takes adjectives of the wrong side.
        doubts: Share of those who disagree.

    Returns:
        The sentence, and where the adjectives stand in it [characters].
    """
    agrees = rng.random() >= doubts
    words = " and ".join(rng.sample(GOOD if (good == agrees) == right else BAD, 2))
    text = f"{rng.choice(PEOPLE)} {'agrees' if agrees else 'disagrees'}: it is {words}."
    return text, (len(text) - 1 - len(words), len(text) - 1)
