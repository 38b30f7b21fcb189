"""The tiny world: who and what there is, and the facts that can hold.

A *kind* is a sort of fact ("home": a person lives in a town) with everything the grammar needs to tell it, tell it
again in other words, ask about it and answer. A new kind needs one entry in ``KINDS``; stories, pretraining text and
tasks pick it up from there. All pools are plain tuples of common short words, one tokenizer piece each.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

PEOPLE = (
    "Ann Ben Carl Dora Eva Finn Gina Hans Iris Jack Kate Leo Mia Nina Otto Paul Rosa Sam Tina Uma Vera Will Yara Zoe "
    "Adam Beth Clara Dan Emma Fred Greta Hugo Ida Jana Karl Lena Max Nora Oscar Petra Ruth Simon Tom Ursula Victor "
    "Wanda Yusuf Alma"
).split()
TOWNS = (
    "Rome Paris Oslo Berlin Lima Cairo Delhi Tokyo Madrid Vienna Prague Lisbon Dublin Athens Boston Sydney Geneva "
    "Milan Naples Turin Bonn Basel Porto Riga Kyoto Havana Quito Dakar Tunis Perth Leeds Bergen"
).split()
JOBS = (
    "baker doctor teacher farmer driver painter singer nurse cook judge lawyer tailor gardener writer dancer sailor "
    "pilot porter printer butcher banker carpenter guard miner"
).split()
PETS = "cat dog horse goat sheep parrot rabbit duck hen pig turtle mouse donkey camel pony fox".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FOODS = (
    "soup rice bread cheese fish cake honey butter salad pasta beans corn jam milk tea coffee juice lemons pears plums"
).split()
RIDES = "bus train bike boat car tram taxi ship plane truck".split()
VIEWS = (
    "funny sad slow long short loud quiet clever silly dark bright sweet strange brave boring lovely dull wild gentle "
    "rough"
).split()
THINGS = (
    "lamp chair table clock book ring knife bowl mirror carpet basket bottle drum flute vase ladder blanket pillow "
    "candle hammer kettle pen box bag hat coat shirt scarf brush bell"
).split()
NUMBERS = [str(n) for n in range(2, 42)]


@dataclass(frozen=True)
class Kind:
    """How facts of one sort are told.

    Attributes:
        name: Key of the kind.
        subjects: Pool of the subject ``{s}``.
        values: Pool of the value ``{v}``; ``{w}`` is a second word of the fact, from ``seconds``.
        tell: Sentences that state the fact the first time or again.
        ask: Pairs (direct question for the value, the same question inside a sentence).
        reply: Short answer to it, as spoken.
        ask_subject: The same pairs for questions that ask for the subject.
        deny: Sentence saying that another value ``{x}`` does not hold, then the right one.
        check: Question to be answered with yes or no about the value ``{x}``.
        label: Word that the tasks' house style puts after the value.
        subject_label: Word that the house style puts after the subject.
        seconds: Pool of ``{w}``, empty if the fact has no second word.
        unit: What follows the value in the house style ("coins").
    """

    name: str
    subjects: Sequence[str]
    values: Sequence[str]
    tell: Sequence[str]
    ask: Sequence[tuple[str, str]]
    reply: str
    ask_subject: Sequence[tuple[str, str]]
    deny: str
    check: str
    label: str
    subject_label: str = "Person"
    seconds: Sequence[str] = field(default_factory=tuple)
    unit: str = ""


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "home",
            PEOPLE,
            TOWNS,
            ("{s} lives in {v}.", "{s} has a house in {v}.", "The home of {s} is in {v}.", "In {v} lives {s}."),
            (
                ("Where does {s} live?", "where {s} lives"),
                ("In which town is the house of {s}?", "in which town {s} lives"),
            ),
            "In {v}",
            (("Who lives in {v}?", "who lives in {v}"), ("Who has a house in {v}?", "who has a house in {v}")),
            "{s} does not live in {x} but in {v}.",
            "Does {s} live in {x}?",
            "Place",
        ),
        Kind(
            "job",
            PEOPLE,
            JOBS,
            ("{s} is a {v}.", "{s} works as a {v}.", "The job of {s} is {v}.", "The {v} is called {s}."),
            (("What is the job of {s}?", "what the job of {s} is"), ("What does {s} work as?", "what {s} works as")),
            "A {v}",
            (("Who is the {v}?", "who the {v} is"), ("Who works as a {v}?", "who works as a {v}")),
            "{s} is not a {x} but a {v}.",
            "Is {s} a {x}?",
            "Job",
        ),
        Kind(
            "pet",
            PEOPLE,
            PETS,
            ("{s} has a {v}.", "{s} keeps a {v}.", "The pet of {s} is a {v}.", "The {v} belongs to {s}."),
            (
                ("Which pet does {s} have?", "which pet {s} has"),
                ("What animal does {s} keep?", "what animal {s} keeps"),
            ),
            "A {v}",
            (("Who has a {v}?", "who has a {v}"), ("Who keeps the {v}?", "who keeps the {v}")),
            "{s} does not have a {x} but a {v}.",
            "Does {s} have a {x}?",
            "Pet",
        ),
        Kind(
            "day",
            PEOPLE,
            DAYS,
            ("{s} comes on {v}.", "{s} visits us on {v}.", "On {v} we meet {s}.", "The visit of {s} is on {v}."),
            (("When does {s} come?", "when {s} comes"), ("On which day do we meet {s}?", "on which day we meet {s}")),
            "On {v}",
            (("Who comes on {v}?", "who comes on {v}"), ("Who visits us on {v}?", "who visits us on {v}")),
            "{s} does not come on {x} but on {v}.",
            "Does {s} come on {x}?",
            "Day",
        ),
        Kind(
            "food",
            PEOPLE,
            FOODS,
            (
                "{s} likes {v} but not {w}.",
                "{s} loves {v} and hates {w}.",
                "{s} hates {w} but loves {v}.",
                "{s} does not like {w} but {v}.",
            ),
            (("What does {s} like?", "what {s} likes"), ("Which food does {s} love?", "which food {s} loves")),
            "Only {v}",
            (("Who likes {v}?", "who likes {v}"), ("Who loves {v}?", "who loves {v}")),
            "{s} does not like {w} but {v}.",
            "Does {s} like {x}?",
            "Food",
            seconds=FOODS,
        ),
        Kind(
            "ride",
            PEOPLE,
            RIDES,
            (
                "{s} goes to work by {v}.",
                "{s} takes the {v} to work.",
                "By {v} {s} goes to work.",
                "The way of {s} to work is by {v}.",
            ),
            (
                ("How does {s} go to work?", "how {s} goes to work"),
                ("What does {s} take to work?", "what {s} takes to work"),
            ),
            "By {v}",
            (("Who goes to work by {v}?", "who goes to work by {v}"), ("Who takes the {v}?", "who takes the {v}")),
            "{s} does not go by {x} but by {v}.",
            "Does {s} go by {x}?",
            "Ride",
        ),
        Kind(
            "view",
            PEOPLE,
            VIEWS,
            (
                "{s} found the play {w} at first, but {v} in the end.",
                "{s} called the play {v}, not {w}.",
                "For {s} the play was not {w} but {v}.",
                "{s} thought the play was {v} and never {w}.",
            ),
            (
                ("What did {s} think of the play?", "what {s} thought of the play"),
                ("How did {s} find the play?", "how {s} found the play"),
            ),
            "It was {v}",
            (("Who found the play {v}?", "who found the play {v}"), ("Who called it {v}?", "who called it {v}")),
            "{s} did not call it {w} but {v}.",
            "Did {s} find it {x}?",
            "View",
            seconds=VIEWS,
        ),
        Kind(
            "price",
            THINGS,
            NUMBERS,
            (
                "The {s} costs {v} coins.",
                "The price of the {s} is {v} coins.",
                "You pay {v} coins for the {s}.",
                "For {v} coins you get the {s}.",
            ),
            (("How much is the {s}?", "how much the {s} is"), ("What does the {s} cost?", "what the {s} costs")),
            "For {v} coins",
            (
                ("What costs {v} coins?", "what costs {v} coins"),
                ("What do you get for {v} coins?", "what you get for {v} coins"),
            ),
            "The {s} does not cost {x} coins but {v}.",
            "Is the {s} {x} coins?",
            "Price",
            "Thing",
            unit=" coins",
        ),
        Kind(
            "gift",
            PEOPLE,
            THINGS,
            (
                "{s} gave the {v} to {w}.",
                "{w} got the {v} from {s}.",
                "The {v} was a gift from {s} to {w}.",
                "{s} sent {w} the {v}.",
            ),
            (
                ("What did {s} give away?", "what {s} gave away"),
                ("Which gift came from {s}?", "which gift came from {s}"),
            ),
            "The {v}",
            (("Who gave the {v}?", "who gave the {v}"), ("Who sent the {v}?", "who sent the {v}")),
            "{s} did not give the {x} but the {v}.",
            "Did {s} give the {x}?",
            "Gift",
            seconds=PEOPLE,
        ),
    )
}


class Deck:
    """Draws words of a pool like cards: no word comes back before the pool is used up.

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
