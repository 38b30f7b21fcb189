"""Kinds of fact ("home": a person lives in a town), with the sentences that state, rephrase, ask about and answer it.

A new kind needs one entry in ``KINDS``; stories, pretraining text and tasks use it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.tiny.word_pools import DAYS, FOODS, JOBS, NUMBERS, PEOPLE, PETS, RIDES, THINGS, TOWNS, VIEWS


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
        label: Word after the value in the answer style of the tasks.
        subject_label: Word after the subject in that style.
        seconds: Pool of ``{w}``, empty if the fact has no second word.
        unit: What follows the value in that style ("coins").
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
