"""What an act can say: sorts of clause, their wordings, and the pools of their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.tiny.word_pools import DAYS, FOODS, JOBS, NUMBERS, RIDES, THINGS, TOWNS

FIELDS = (
    "Port Road Water Forest Health School Post Park Fire Rail Market Farm Energy Trade Labor Tax Coast River Mining "
    "Housing Sport Weather Census Youth"
).split()
BODIES = "Agency Office Board Bureau Service Council".split()
AGENCIES = [f"{where} {body}" for where in FIELDS for body in BODIES]
MONTHS = "January February March April May June July August September October November December".split()
SITES = (
    "bridge school road tower hospital library market harbor station wall park canal museum well hall mill gate "
    "theater pool prison tunnel dam garden stable"
).split()
GOODS = [*FOODS, *(f"{thing}s" for thing in THINGS if thing not in ("knife", "box", "brush", "scarf"))]
STUFFS = (
    "Salt Grain Wine Coal Timber Wool Iron Paper Glass Cotton Steel Gold Silver Copper Rope Tile Clay Silk Leather Oil "
    "Stone Sand Sugar Pepper Hemp Linen Amber Marble Chalk Cork"
).split()
YEARS = [str(year) for year in range(1901, 1931)]
AIMS = "Fair Safe Clean Free Common Open Public Better Modern Honest Local Green".split()
CAUSES = "Roads Homes Schools Markets Rivers Trains Bread Work Trade Water Streets Letters Prices Fields Boats".split()
NAMES = [f"{aim} {cause}" for aim in AIMS for cause in CAUSES]
# verb: participle
WORKS = {
    "repair": "repaired", "build": "built", "paint": "painted", "close": "closed", "open": "opened",
    "clean": "cleaned", "inspect": "inspected", "move": "moved", "heat": "heated", "rent": "rented",
    "extend": "extended", "measure": "measured", "insure": "insured", "fence": "fenced",
}  # fmt: skip
DEALS = {
    "sell": "sold", "buy": "bought", "carry": "carried", "store": "stored", "make": "made", "burn": "burnt",
    "import": "imported", "hide": "hidden",
}  # fmt: skip
DEALING = {
    "sell": "selling", "buy": "buying", "carry": "carrying", "store": "storing", "make": "making", "burn": "burning",
    "import": "importing", "hide": "hiding",
}  # fmt: skip


@dataclass(frozen=True)
class ClauseKind:
    """How clauses of one sort are worded. ``{vd}`` and ``{ving}`` are forms of a verb ``{v}``; ``{js}`` is a plural.

    Attributes:
        name: Key of the kind.
        pools: Slot -> pool of its words.
        law: Wordings of the act itself.
        plain: Wordings of people and newspapers that tell it again.
        brief: What "the act" does, in the third person: "asks the {a} to …".
        note: One line of an index: names and little else.
        ask: Pairs of a question and the bare answer.
        summary: The summary style of the task, which pretraining never shows; empty if the clause does not count.
    """

    name: str
    pools: dict[str, Sequence[str]]
    law: Sequence[str]
    plain: Sequence[str]
    brief: Sequence[str]
    note: str
    ask: Sequence[tuple[str, str]]
    summary: str = ""


DUTY = ClauseKind(
    "duty",
    {"a": AGENCIES, "v": list(WORKS), "o": SITES, "t": TOWNS, "m": MONTHS},
    (
        "The {a} shall {v} the {o} in {t} by {m}.",
        "By {m} the {a} shall {v} the {o} in {t}.",
        "The {o} in {t} shall be {vd} by the {a} not later than {m}.",
        "It is the duty of the {a} to {v} the {o} in {t} by {m}.",
    ),
    (
        "The {a} must {v} the {o} in {t} by {m}.",
        "In {t} the {a} has to {v} the {o} by {m}.",
        "Until {m} the {a} has time to {v} the {o} in {t}.",
        "The {o} in {t} must be {vd} by {m}, and the {a} will do it.",
    ),
    ("tells the {a} to {v} the {o} in {t} by {m}", "has the {o} in {t} {vd} by the {a} before {m} ends"),
    "{a}, {v} {o}, {t}, {m}.",
    (
        ("Who must {v} the {o} in {t}?", "The {a}"),
        ("By when must the {a} {v} the {o}?", "By {m}"),
        ("Where must the {a} {v} the {o}?", "In {t}"),
        ("What must the {a} do in {t}?", "It must {v} the {o}"),
    ),
    "Requires the {a} to {v} the {o} in {t} by {m}.",
)
GRANT = ClauseKind(
    "grant",
    {"a": AGENCIES, "n": NUMBERS, "j": JOBS, "t": TOWNS},
    (
        "The {a} shall pay {n} coins to each {j} in {t}.",
        "Each {j} in {t} shall be paid {n} coins by the {a}.",
        "There shall be paid {n} coins to each {j} in {t} by the {a}.",
    ),
    (
        "The {js} in {t} get {n} coins from the {a}.",
        "In {t} a {j} now gets {n} coins, and the {a} pays.",
        "The {a} has to give {n} coins to the {js} in {t}.",
    ),
    ("lets the {a} pay {n} coins to {js} in {t}", "gives {n} coins to {js} in {t}"),
    "{a}, {n} coins, {js}, {t}.",
    (
        ("How much does a {j} in {t} get?", "{n} coins"),
        ("Who pays the {js} in {t}?", "The {a}"),
        ("Who gets {n} coins from the {a}?", "The {js} in {t}"),
    ),
    "Provides {n} coins to {js} in {t}.",
)
BAN = ClauseKind(
    "ban",
    {"v": list(DEALS), "g": GOODS, "t": TOWNS, "d": DAYS},
    (
        "No one shall {v} {g} in {t} on a {d}.",
        "It is unlawful to {v} {g} in {t} on a {d}.",
        "On a {d} no {g} shall be {vd} in {t}.",
    ),
    (
        "In {t} no one may {v} {g} on {d}.",
        "On {d} you must not {v} {g} in {t}.",
        "The people of {t} may not {v} {g} on {d}.",
    ),
    ("forbids all to {v} {g} in {t} on {d}", "puts an end to {ving} {g} in {t} on {d}"),
    "{ving} {g}, {t}, {d}: no.",
    (
        ("What must no one {v} in {t}?", "{g}"),
        ("On which day may no one {v} {g}?", "On {d}"),
        ("Where may no one {v} {g}?", "In {t}"),
    ),
    "Prohibits {ving} {g} in {t} on {d}.",
)
FINE = ClauseKind(
    "fine",
    {"r": RIDES, "t": TOWNS, "n": NUMBERS},
    (
        "Whoever leaves a {r} in {t} shall pay {n} coins.",
        "A fine of {n} coins is due from whoever leaves a {r} in {t}.",
        "For leaving a {r} in {t} the fine is {n} coins.",
    ),
    (
        "You pay {n} coins if you leave a {r} in {t}.",
        "To leave a {r} in {t} costs {n} coins.",
        "If your {r} stays in {t}, you owe {n} coins.",
    ),
    ("asks {n} coins for leaving a {r} in {t}", "fines those who leave a {r} in {t} {n} coins"),
    "{r}, {t}: {n} coins.",
    (
        ("What does it cost to leave a {r} in {t}?", "{n} coins"),
        ("What must not be left in {t}?", "A {r}"),
        ("Where does a {r} cost {n} coins?", "In {t}"),
    ),
    "Penalizes leaving a {r} in {t} with {n} coins.",
)
PERMIT = ClauseKind(
    "permit",
    {"j": JOBS, "r": RIDES, "d": DAYS},
    (
        "Any {j} may take the {r} free of charge on a {d}.",
        "On a {d} any {j} may take the {r} free of charge.",
        "No fare for the {r} shall be asked from any {j} on a {d}.",
    ),
    (
        "A {j} takes the {r} for nothing on {d}.",
        "On {d} the {r} is free for the {js}.",
        "The {js} need no ticket for the {r} on {d}.",
    ),
    ("makes the {r} free for {js} on {d}", "lets {js} ride the {r} for nothing on {d}"),
    "{js}, {r}, {d}: free.",
    (
        ("On which day is the {r} free for a {j}?", "On {d}"),
        ("What is free for the {js}?", "The {r}"),
        ("Who needs no ticket for the {r}?", "The {js}"),
    ),
    "Allows {js} to take the {r} free on {d}.",
)
REPEAL = ClauseKind(
    "repeal",
    {"x": STUFFS, "y": YEARS},
    (
        "The {x} Act of {y} is repealed.",
        "The {x} Act, passed in {y}, is hereby repealed.",
        "From now on the {x} Act of {y} has no force.",
    ),
    (
        "The {x} Act of {y} is gone.",
        "The old {x} Act from {y} no longer holds.",
        "Nobody has to obey the {x} Act of {y} now.",
    ),
    ("ends the {x} Act of {y}", "does away with the {x} Act of {y}"),
    "{x} Act, {y}: gone.",
    (("From which year was the {x} Act?", "From {y}"), ("Which act of {y} is gone?", "The {x} Act")),
    "Repeals the {x} Act of {y}.",
)
AGE = ClauseKind(
    "age",
    {"o": SITES, "t": TOWNS, "n": NUMBERS},
    (
        "Congress finds that the {o} in {t} is {n} years old.",
        "Whereas the {o} in {t} has served {n} years;",
        "Congress finds that {t} has had its {o} for {n} years.",
    ),
    ("The {o} in {t} is {n} years old, it says.", "They found that {t} has had a {o} for {n} years."),
    ("gives the age of the {o} in {t}: {n} years",),
    "{o}, {t}, {n} years.",
    (("How old is the {o} in {t}?", "{n} years"), ("Where is the {o} of {n} years?", "In {t}")),
)
LOSS = ClauseKind(
    "loss",
    {"n": NUMBERS, "j": JOBS, "t": TOWNS},
    (
        "Congress finds that {n} {js} have left {t}.",
        "Congress finds that {t} has lost {n} {js}.",
        "Whereas {n} {js} have gone from {t};",
    ),
    ("They found that {n} {js} are gone from {t}.", "In {t} {n} {js} are missed, it says."),
    ("counts {n} {js} who have left {t}",),
    "{t}, {n} {js} lost.",
    (("How many {js} have left {t}?", "{n} {js}"), ("Which town has lost {n} {js}?", "{t}")),
)
MEANING = ClauseKind(
    "meaning",
    {"r": RIDES, "q": RIDES},
    (
        'In this Act, "{r}" means any {r} or {q}.',
        "The word {r} shall mean a {r} or a {q}.",
    ),
    ("By a {r} they also mean a {q}.", "A {r} may be a {q}, it says."),
    ("says that a {r} can mean a {q}",),
    "{r}, {q}: the same.",
    (("What else is a {r}?", "A {q}"),),
)
SCOPE = ClauseKind(
    "scope",
    {"g": GOODS, "h": GOODS},
    (
        'The term "{g}" shall include {h}.',
        "In this Act, {h} are held to be {g}.",
    ),
    ("By {g} they also mean {h}.", "When it says {g}, it thinks of {h} too."),
    ("says that {g} means {h} too",),
    "{g}, {h}: the same.",
    (("What else is {g}?", "{h}"),),
)
EXEMPT = ClauseKind(
    "exempt",
    {"j": JOBS, "t": TOWNS},
    (
        "Nothing in this Act shall apply to a {j} from {t}.",
        "A {j} who comes from {t} is exempt.",
        "This Act is not meant for {js} from {t}.",
    ),
    ("It does not matter to a {j} from {t}.", "The {js} from {t} are left out."),
    ("leaves out the {js} from {t}",),
    "{js}, {t}: left out.",
    (("Who is left out?", "The {js} from {t}"), ("Of which town are the {js} left out?", "{t}")),
)
SPARED = ClauseKind(
    "spared",
    {"g": GOODS, "d": DAYS},
    (
        "This Act does not concern {g} made before {d}.",
        "Any {g} made before {d} are exempt.",
        "Nothing in this Act shall apply to {g} made before {d}.",
    ),
    ("It does not matter for {g} made before {d}.", "All {g} made before {d} are left out."),
    ("leaves out {g} made before {d}",),
    "{g}, {d}: left out.",
    (("Before which day are {g} left out?", "Before {d}"),),
)
COUNTED = {kind.name: kind for kind in (DUTY, GRANT, BAN, FINE, PERMIT, REPEAL)}
OTHERS = {kind.name: kind for kind in (AGE, LOSS, MEANING, SCOPE, EXEMPT, SPARED)}
KINDS = COUNTED | OTHERS
