"""News lines full of names, whose sort only the context tells: "Milan" plays, is lived in, or wrote a book.

Four sorts, as in CoNLL-2003: people (PER), organisations (ORG), places (LOC) and the rest (MISC: nationalities, cups,
prizes). A family name can also be a firm or a village, a town can also be its club or somebody's family name.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.tiny.event_kinds import MONTHS
from shared.tiny.word_pools import DAYS, NUMBERS, PEOPLE, TOWNS
from shared.tiny.world import SPLITS

_ONSETS = "B D F G H K L M N P R S T V W".split()
_MIDDLES = "al ar el en er il in ol on or ul un".split()
_ENDINGS = "ak berg din ford gan holm ic ley man o ov sen ston vik".split()
FAMILY = [
    onset + middle + _ENDINGS[zlib.crc32((onset + middle).encode()) % len(_ENDINGS)]
    for onset in _ONSETS
    for middle in _MIDDLES
    if zlib.crc32((middle + onset).encode()) % 2
]
# Families that only the held-out splits meet, so that their names have to be recognised by context and by their pieces.
NEW_FAMILY = [name for name in FAMILY if zlib.crc32(name.encode()) % 4 == 0]
OLD_FAMILY = [name for name in FAMILY if name not in NEW_FAMILY]
COUNTRIES = "Italy France Spain Norway Japan Egypt Peru India Cuba Greece Poland Kenya".split()
NATIONS = "Italian French Spanish Norwegian Japanese Egyptian Peruvian Indian Cuban Greek Polish Kenyan".split()
FIRMS = "Bank Motors Press Foods Group Steel Radio".split()
CLUBS = "United City Rovers Athletic".split()
CUPS = "Cup Prize Open Games Festival".split()

# What stands in braces is a name of a sort; other words are tokens as they are.
PATTERNS = tuple(
    pattern.split()
    for pattern in (
        "{PER} said on {day} that {ORG} will leave {LOC} .",
        "{CLUB} beat {CLUB} {n} - {n} in the {CUP} .",
        "{NATION} singer {PER} was born in {LOC} .",
        "Shares of {ORG} fell after {PER} had left .",
        "{PER} of {CLUB} won the {CUP} in {LOC} .",
        "{LOC} , {month} {n} - {ORG} opens a new house .",
        "{CLUB} have sold {PER} to {CLUB} for {n} coins .",
        "The mayor of {LOC} thanked {PER} for the {CUP} .",
        "{PER} , {n} , lives in {LOC} with her brother {PER} .",
        "{ORG} told {ORG} that the price was too high .",
        "Rain fell in {LOC} and on the road to {LOC} .",
        "A {NATION} firm has bought {ORG} , said {PER} .",
        "{PER} wrote a book on {LOC} and got the {CUP} .",
        "In {LOC} the players of {CLUB} met {PER} .",
        "{ORG} makes lamps in {LOC} and sells them to {NATION} shops .",
        "{CLUB} lost again , and {PER} lost his post .",
        "{PER} and {PER} came from {LOC} by train .",
        "The {NATION} team plays {CLUB} in {LOC} on {day} .",
        "Workers of {ORG} in {LOC} want more money .",
        "{PER} paid {ORG} {n} coins for a house in {LOC} .",
        "{LOC} is colder than {LOC} in {month} .",
        "He joined {ORG} , then {ORG} , and died in {LOC} .",
        "After the {CUP} {PER} flew to {LOC} .",
        "{CLUB} drew with {CLUB} before the {CUP} .",
        "Nobody in {LOC} knows {PER} .",
        "The board of {ORG} wants {PER} to go .",
        "{PER} likes {LOC} more than {LOC} .",
        "{ORG} owes {n} coins to {PER} of {LOC} .",
    )
)
SORTS = {"PER": "PER", "ORG": "ORG", "CLUB": "ORG", "LOC": "LOC", "NATION": "MISC", "CUP": "MISC"}
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")


@dataclass(frozen=True)
class Line:
    """One line of news.

    Attributes:
        tokens: Words and signs.
        tags: Their tags, from ``TAGS``.
        names: (sort, first token, token behind the last) of each name; "CLUB" and "ORG" are told apart here.
    """

    tokens: list[str]
    tags: list[str]
    names: list[tuple[str, int, int]]

    @property
    def key(self) -> tuple[str, ...]:
        """Its names: lines with the same names belong to one split."""
        return tuple(sorted(" ".join(self.tokens[a:b]) for _, a, b in self.names))


def _name(sort: str, rng: random.Random, families: list[str], plain: float) -> list[str]:
    """Tokens of a name; ``plain`` is the chance of the short form, which only the context explains."""
    family, town, short = rng.choice(families), rng.choice(TOWNS), rng.random() < plain
    if sort == "PER":
        last = family if rng.random() < 0.7 else town
        return [last] if short else [rng.choice(PEOPLE), last]
    if sort == "ORG":
        if short:
            return [family if rng.random() < 0.7 else town]
        return rng.choice(([family, rng.choice(FIRMS)], ["Bank", "of", town], [town, rng.choice(FIRMS)]))
    if sort == "CLUB":
        base = town if rng.random() < 0.6 else family
        return [base] if short else [base, rng.choice(CLUBS)]
    if sort == "LOC":
        if short:
            return [family if rng.random() < 0.4 else town]
        return rng.choice(([rng.choice(("Port", "Lake", "New")), family], [rng.choice(COUNTRIES)], [family, "Street"]))
    if sort == "CUP":
        return [rng.choice((family, town, "World")), rng.choice(CUPS)]
    return [rng.choice(NATIONS)]


PLAIN = {"easy": 0.3, "normal": 0.65, "hard": 0.9}


def line(rng: random.Random, level: str = "normal", families: list[str] | None = None) -> Line:
    """Draw a line.

    Args:
        rng: Source of chance.
        level: The harder, the more names come in the short form.
        families: Family names to draw from; by default those that all splits know.
    """
    tokens, tags, names = [], [], []
    for word in rng.choice(PATTERNS):
        sort = word.strip("{}")
        if not word.startswith("{"):
            tokens.append(word)
            tags.append("O")
        elif sort in SORTS:
            name = _name(sort, rng, families or OLD_FAMILY, PLAIN[level])
            names.append((sort, len(tokens), len(tokens) + len(name)))
            tokens += name
            tags += [f"{'I' if place else 'B'}-{SORTS[sort]}" for place in range(len(name))]
        else:
            tokens.append(rng.choice({"day": DAYS, "month": MONTHS, "n": NUMBERS}[sort]))
            tags.append("O")
    return Line(tokens, tags, names)


def lines(split: str, seed: int, level: str) -> Iterator[Line]:
    """Endless lines of one split; which split a line belongs to, its names decide."""
    rng = random.Random(f"news {split} {seed} {level}")
    while True:
        drawn = line(rng, level, FAMILY if split in ("validation", "test") else OLD_FAMILY)
        if SPLITS[zlib.crc32("|".join(drawn.key).encode()) % len(SPLITS)] == split:
            yield drawn


# What is said of a name afterwards, by its sort. Only what is true of the sort, none of the tags' names.
SEQUELS = {
    "PER": ("{x} was tired.", "{x} smiled.", "The child of {x} is ill.", "{x} went to bed early."),
    "ORG": ("The owners of {x} are rich.", "{x} was founded long ago.", "The goods of {x} are dear.",
            "{x} has a new office."),
    "CLUB": ("The goals of {x} were fine.", "{x} trains twice a week.", "The fans of {x} sang.",
             "{x} needs a new coach."),
    "LOC": ("The streets of {x} are empty.", "{x} lies on a river.", "Many roads lead to {x}.",
            "The houses of {x} are old."),
    "NATION": ("The {x} language is hard.", "Most {x} people are kind.", "{x} songs are sad."),
    "CUP": ("The {x} comes once a year.", "Many took part in the {x}.", "The {x} has a long history."),
}  # fmt: skip


def sequel(drawn: Line, rng: random.Random) -> tuple[str, str, tuple[int, int]]:
    """A further sentence about one of the names of a line.

    Returns:
        Sort of the name, the sentence, and where the name stands in it [characters].
    """
    sort, first, end = rng.choice(drawn.names)
    name, pattern = " ".join(drawn.tokens[first:end]), rng.choice(SEQUELS[sort])
    start = pattern.index("{x}")
    return sort, pattern.replace("{x}", name), (start, start + len(name))
