"""Sorts of event: how they are told and asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.tiny.word_pools import DAYS, FOODS, JOBS, NUMBERS, PEOPLE, PETS, RIDES, THINGS, TOWNS

MONTHS = "January February March April May June July August September October November December".split()
POOLS: dict[str, Sequence[str]] = {
    "person": PEOPLE, "town": TOWNS, "thing": THINGS, "day": DAYS, "number": NUMBERS, "job": JOBS, "month": MONTHS,
    "pet": PETS, "food": FOODS, "ride": RIDES,
}  # fmt: skip


@dataclass(frozen=True)
class EventKind:
    """How events of one kind are reported and asked about.

    Attributes:
        name: Key of the kind.
        roles: Role -> name of its pool.
        tellings: Sentences; each leaves out few roles or none.
        asks: Role -> questions for its filler.
        anchor: Roles that tell this event from others of its kind, besides the people.
        rising: Two number roles of which the second is smaller, as a loser's points are.
    """

    name: str
    roles: dict[str, str]
    tellings: tuple[str, ...]
    asks: dict[str, tuple[str, ...]]
    anchor: tuple[str, ...] = ()
    rising: tuple[str, str] | None = None

    def people(self) -> list[str]:
        """The roles that people fill."""
        return [role for role, pool in self.roles.items() if pool == "person"]


EVENT_KINDS = {
    kind.name: kind
    for kind in (
        EventKind(
            "sale", {"a": "person", "b": "person", "t": "thing", "p": "town", "d": "day", "n": "number"},
            (
                "{a} sold the {t} to {b} in {p} on {d} for {n} coins.",
                "On {d} {b} bought the {t} from {a} in {p} for {n} coins.",
                "For {n} coins {b} got the {t} that {a} offered in {p} on {d}.",
                "The {t} went from {a} to {b} on {d}, at a price of {n} coins.",
                "In {p} {b} paid {n} coins to {a} and took the {t} home.",
            ),
            {
                "a": ("Who sold the {t}?", "Whose {t} did {b} buy?"),
                "b": ("Who bought the {t}?", "Who paid for the {t}?"),
                "t": ("What did {a} sell?", "What did {b} buy?"),
                "p": ("Where was the {t} sold?", "In which town did the {t} change hands?"),
                "d": ("When was the {t} sold?", "On which day did {a} sell the {t}?"),
                "n": ("How many coins did the {t} bring?", "What did {b} pay for the {t}?"),
            },
        ),
        EventKind(
            "theft", {"a": "person", "b": "person", "t": "thing", "p": "town", "d": "day"},
            (
                "{a} stole the {t} of {b} in {p} on {d}.",
                "On {d} the {t} of {b} was taken by {a} in {p}.",
                "In {p} {b} lost the {t} on {d}: {a} was the thief.",
                "The police in {p} say that {a} ran off with the {t} of {b} on {d}.",
                "The thief of {d} was {a}, and the {t} belonged to {b}.",
            ),
            {
                "a": ("Who stole the {t}?", "Who was the thief of the {t}?"),
                "b": ("Who lost the {t}?", "Whose {t} was stolen?"),
                "t": ("What did {a} steal?", "What did {b} lose?"),
                "p": ("Where was the {t} stolen?",),
                "d": ("When was the {t} stolen?", "On which day did {b} lose the {t}?"),
            },
        ),
        EventKind(
            "match", {"a": "person", "b": "person", "p": "town", "d": "day", "n": "number", "m": "number"},
            (
                "{a} beat {b} by {n} points to {m} in {p} on {d}.",
                "On {d} {b} lost to {a} in {p}, {n} points to {m}.",
                "In {p} the winner was {a} with {n} points, and {b} had {m}.",
                "With {n} points to {m} {a} won the game against {b} on {d}.",
                "{b} was no match for {a} on {d} in {p} and made {m} points against {n}.",
            ),
            {
                "a": ("Who won against {b}?", "Who beat {b}?"),
                "b": ("Who lost to {a}?", "Who was beaten by {a}?"),
                "p": ("Where did {a} beat {b}?", "In which town was the game of {a} and {b}?"),
                "d": ("When did {b} lose to {a}?", "On which day did {a} win?"),
                "n": ("How many points did the winner make?",),
                "m": ("How many points did {b} make?",),
            },
            rising=("n", "m"),
        ),
        EventKind(
            "journey", {"a": "person", "p": "town", "q": "town", "r": "ride", "d": "day", "n": "number"},
            (
                "{a} went from {p} to {q} by {r} on {d}, {n} hours long.",
                "On {d} the {r} took {a} from {p} to {q} in {n} hours.",
                "{a} left {p} by {r} on {d} and came to {q} in {n} hours.",
                "The {r} of {d} brought {a} to {q}; it had left {p} {n} hours before.",
                "To get from {p} to {q} {a} took the {r} on {d}.",
            ),
            {
                "a": ("Who went to {q}?", "Who left {p}?"),
                "p": ("Where did {a} come from?", "Which town did {a} leave?"),
                "q": ("Where did {a} go?", "To which town did {a} go?"),
                "r": ("How did {a} get to {q}?",),
                "d": ("When did {a} leave {p}?", "On which day did {a} go to {q}?"),
                "n": ("How many hours did {a} need?", "How long was the way to {q}?"),
            },
            anchor=("r",),
        ),
        EventKind(
            "post", {"a": "person", "j": "job", "p": "town", "m": "month", "n": "number", "b": "person"},
            (
                "{a} became {j} in {p} in {m} and follows {b}.",
                "Since {m} {a} has been the {j} of {p}; {b} had the post before.",
                "The town of {p} chose {a} as its {j} in {m} after {b} had left.",
                "{b} is no longer the {j} in {p}: {a} took over in {m}.",
                "In {m} {p} gave the post of {j} to {a}, who comes after {b}.",
            ),
            {
                "a": ("Who became {j}?", "Who follows {b}?"),
                "j": ("What did {a} become?", "Which post did {a} take over?"),
                "p": ("Where did {a} become {j}?", "Which town chose {a}?"),
                "m": ("In which month did {a} become {j}?", "Since when has {a} been {j}?"),
                "b": ("Who was {j} before?", "Whom does {a} follow?"),
            },
        ),
        EventKind(
            "meal", {"a": "person", "b": "person", "f": "food", "g": "food", "p": "town", "d": "day"},
            (
                "{a} cooked {f} for {b} in {p} on {d}, with {g}.",
                "On {d} {b} ate {f} with {g} that {a} had made in {p}.",
                "In {p} {b} was the guest of {a} on {d} and had {f} and then {g}.",
                "{f} and {g} stood on the table when {b} visited {a} on {d}.",
                "The {f} that {a} gave to {b} in {p} came with {g}.",
            ),
            {
                "a": ("Who cooked for {b}?", "Who made the {f}?"),
                "b": ("Who ate the {f}?", "Who was the guest of {a}?"),
                "f": ("What did {a} cook for {b}?",),
                "g": ("What came with the {f}?", "What was there besides {f}?"),
                "p": ("Where did {b} eat the {f}?",),
                "d": ("When did {a} cook for {b}?",),
            },
        ),
        EventKind(
            "repair", {"a": "person", "b": "person", "t": "thing", "n": "number", "d": "day", "j": "job"},
            (
                "{a} the {j} mended the {t} of {b} on {d} for {n} coins.",
                "On {d} the {t} of {b} was broken, and the {j} {a} put it right for {n} coins.",
                "{b} paid {n} coins to the {j} {a}, who had repaired the {t} on {d}.",
                "The {j} {a} asked {n} coins of {b} for work on the {t}.",
                "Since {d} the {t} of {b} works again, thanks to {a}, the {j}.",
            ),
            {
                "a": ("Who mended the {t}?", "Who repaired something for {b}?"),
                "b": ("Whose {t} was broken?", "For whom did {a} work?"),
                "t": ("What was broken?", "What did {a} repair?"),
                "n": ("How many coins did {a} get?", "What did the work on the {t} cost?"),
                "d": ("When was the {t} mended?", "Since when does the {t} work again?"),
                "j": ("What is the job of {a}?", "As what does {a} work?"),
            },
        ),
        EventKind(
            "animal", {"a": "person", "b": "person", "x": "pet", "p": "town", "d": "day", "n": "number"},
            (
                "The {x} of {a} ran away in {p} on {d}, and {b} found it after {n} hours.",
                "On {d} {b} found the {x} that {a} had missed for {n} hours in {p}.",
                "{a} looked for the {x} in {p} for {n} hours until {b} brought it back on {d}.",
                "In {p} {b} caught a {x} on {d}; it belonged to {a}.",
                "{n} hours after it had run away the {x} was back with {a}, thanks to {b}.",
            ),
            {
                "a": ("Whose {x} ran away?", "Who missed the {x}?"),
                "b": ("Who found the {x}?", "Who caught the {x}?"),
                "x": ("Which animal ran away?", "What did {b} find?"),
                "p": ("Where did the {x} run away?", "In which town was the {x} found?"),
                "d": ("When was the {x} found?", "On which day did {b} find the {x}?"),
            },
        ),
        EventKind(
            "court", {"a": "person", "b": "person", "c": "person", "n": "number", "p": "town", "m": "month"},
            (
                "The judge {c} told {a} in {p} in {m} to pay {n} coins to {b}.",
                "{b} gets {n} coins from {a}, as {c} ruled in {p} in {m}.",
                "In {m} {a} lost in court against {b} and owes {n} coins, said judge {c}.",
                "{a} has to give {b} {n} coins: so {c}, the judge in {p}, decided.",
                "A court in {p} gave {b} the right to {n} coins of {a} in {m}.",
            ),
            {
                "a": ("Who has to pay?", "Who lost in court against {b}?"),
                "b": ("Who gets the coins?", "Who won against {a} in court?"),
                "c": ("Who was the judge?", "Which judge decided?"),
                "n": ("How many coins must {a} pay?", "How much does {b} get?"),
                "p": ("Where is the court?", "In which town did {a} lose in court?"),
                "m": ("In which month was the ruling?",),
            },
        ),
        EventKind(
            "shop", {"a": "person", "t": "thing", "f": "food", "p": "town", "m": "month", "n": "number"},
            (
                "{a} opened a shop for {f} in {p} in {m} and gave a {t} to the first {n} guests.",
                "In {m} a new shop of {a} opened in {p}; it has {f}, and {n} guests got a {t}.",
                "The first {n} guests of the {f} shop in {p} got a {t} from {a}.",
                "Since {m} {a} has sold {f} in {p}.",
                "A {t} was the present for {n} guests when {a} opened in {p}.",
            ),
            {
                "a": ("Who opened a shop?", "Whose shop is in {p}?"),
                "f": ("What does {a} sell?", "Which food does the shop have?"),
                "t": ("What did the first guests get?", "What was the present?"),
                "p": ("Where is the shop of {a}?", "In which town did {a} open a shop?"),
                "m": ("In which month did {a} open the shop?", "Since when has the shop been open?"),
                "n": ("How many guests got a {t}?",),
            },
            anchor=("f",),
        ),
    )
}  # fmt: skip
