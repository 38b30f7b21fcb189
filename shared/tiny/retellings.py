"""Text for the T5 micro-model: bills, each followed by a retelling of part of it in other words.

A document is a pair (beginning, continuation). As in ``stories``, ``MARK`` stands before each word that a reader can
know from the beginning, so that copying with selection can be watched.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from shared.tiny.bills import Bill, Bills, Clause, bill_text
from shared.tiny.clause_kinds import COUNTED, KINDS
from shared.tiny.stories import MARK, document, repeat, start
from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import World

SLOT = re.compile(r"{(\w+)}")
SIGNS = (
    "A sign at the gate: Requires a ticket.",
    "The label on the box: Provides light.",
    "A sign in the park: Prohibits dogs.",
    "The paper on the door: Repeals all notes.",
    "The card of {p}: Allows guests.",
    "The board at the pool: Penalizes noise.",
    "Label: Requires care. Provides heat.",
    "Label: Allows rest. Prohibits noise.",
    "Label: Penalizes waste. Repeals flies.",
    "{p} had to summarize the letters.",
    "The summary of {p} was lost.",
)


def fill(pattern: str, clause: Clause) -> str:
    """Fill ``pattern`` and mark every slot but the first: the first says which clause it is, the others follow."""
    first = SLOT.search(pattern)
    return pattern[: first.end()].format(**clause.words()) + marked(pattern[first.end() :], clause)


def marked(pattern: str, clause: Clause) -> str:
    """Fill ``pattern`` and mark every slot."""
    words = clause.words()
    return SLOT.sub(lambda slot: MARK + words[slot[1]], pattern)


def plain(clauses: list[Clause], bills: Bills) -> str:
    """The clauses in everyday words."""
    return " ".join(fill(bills.rng.choice(KINDS[c.kind].plain), c) for c in clauses)


def brief(clauses: list[Clause], bills: Bills) -> str:
    """The clauses in the third person: what the act does."""
    subject = bills.rng.choice(("It", "The act", "This bill"))
    return " ".join(f"{subject} {fill(bills.rng.choice(KINDS[c.kind].brief), c)}." for c in clauses)


def note(clauses: list[Clause], bills: Bills) -> str:
    """The clauses as lines of an index."""
    return " ".join(start(fill(KINDS[c.kind].note, c)) for c in clauses)


def again(clauses: list[Clause], bills: Bills) -> str:
    """The clauses in the words of the law, perhaps other ones than the first time."""
    return " ".join(fill(bills.rng.choice(KINDS[c.kind].law), c) for c in clauses)


def questions(clauses: list[Clause], bills: Bills) -> str:
    """A question on each clause, with its bare answer."""
    parts = []
    for clause in clauses:
        question, answer = bills.rng.choice(KINDS[clause.kind].ask)
        parts.append(f"{question.format(**clause.words())} {start(marked(answer, clause))}.")
    return " ".join(parts)


# What a lead announces is what follows it: wording and selection can be read from it.
# wording: leads for all clauses that count, in order; leads for them backwards
LEADS = {
    plain: (("The news said:", "{p} told the story:", "In plain words:"), ("{p} told it from the end:",)),
    brief: (("The act in brief:", "{p} explained the bill:"), ("The act in brief, from the end:",)),
    note: (("The index:", "{p} noted:"), ("The index from the end:",)),
    again: (("The judge read out:", "{p} read aloud:"), ("The judge read from the end:",)),
    questions: (("The exam:", "{p} asked the class:"), ("The exam from the end:",)),
}
ASIDE = ("The rest of it:", "Not so important:", "{p} also saw:")
ONLY = ("Only of {w}:", "{p} looked for {w}:")


def retelling(bill: Bill, bills: Bills) -> str:
    """Tell some of the bill again: all that counts, that backwards, what does not count, or what names one word."""
    rng, counted = bills.rng, bill.counted()
    wording = rng.choices((plain, brief, note, again, questions), (5, 4, 3, 2, 3))[0]
    luck, asides = rng.random(), [c for c in bill.clauses if c.kind not in COUNTED]
    if luck < 0.14 and asides:
        lead, chosen, wording = rng.choice(ASIDE), asides, rng.choice((plain, note))
    elif luck < 0.32:
        chosen = [rng.choice(counted)]
        words = [word for slot, word in chosen[0].fillers if slot in "atxn"]
        lead = rng.choice(ONLY).replace("{w}", rng.choice(words or [chosen[0].fillers[-1][1]]))
    elif luck < 0.48:
        lead, chosen = rng.choice(LEADS[wording][1]), counted[::-1]
    else:
        lead, chosen = rng.choice(LEADS[wording][0]), counted
    return f"{lead.replace('{p}', bills.draw(PEOPLE))} {wording(chosen, bills)}"


def told_bill(bills: Bills) -> tuple[str, str]:
    """A bill, then one or two retellings of it; the first lead may still belong to the beginning."""
    rng = bills.rng
    bill = bills.bill(rng.choice((1, 2, 2, 3, 3)), rng.choice((0, 1, 1, 2)))
    beginning = bill_text(bill, rng, title=rng.random() < 0.4)
    if rng.random() < 0.06:
        beginning += " " + rng.choice(SIGNS).replace("{p}", bills.draw(PEOPLE))
    parts = [retelling(bill, bills) for _ in range(rng.choice((1, 2, 2)))]
    if rng.random() < 0.35:
        lead, _, parts[0] = parts[0].partition(": ")
        beginning += f" {lead}:"
    return beginning, " ".join(parts)


def index(bills: Bills) -> tuple[str, str]:
    """Short lines of many names, read out again in another order, then asked about."""
    rng = bills.rng
    kind = rng.choice(list(KINDS.values()))
    clauses, used = [], []
    for _ in range(rng.randint(3, 6)):
        clauses.append(bills.clause(kind if rng.random() < 0.7 else rng.choice(list(KINDS.values())), used))
        used += [word for slot, word in clauses[-1].fillers if slot not in "vdr"]
    lines = " ".join(start(KINDS[c.kind].note.format(**c.words())) for c in clauses)
    order = rng.sample(clauses, len(clauses))
    return "The index: " + lines, note(order, bills) + " " + questions(rng.sample(clauses, len(clauses)), bills)


WORDS = sorted({word for pool in (PEOPLE, *(p for k in KINDS.values() for p in k.pools.values())) for word in pool})
ONES = [word for word in WORDS if " " not in word]
PAIRS = ("{a} {b}.", "{a}, {b}.", "{a}: {b}.", "{a} and {b}.", "{a} of {b}.", "{a} {b},", "{a} in {b}.")


def echo(bills: Bills) -> tuple[str, str]:
    """A row of words of all kinds, repeated. The kind of a word gives no information here: only copying helps."""
    words = bills.rng.sample(ONES, bills.rng.randint(5, 16))
    return " ".join(words) + ".", " ".join([words[0], *(MARK + word for word in words[1:])]) + "."


def pairs(bills: Bills) -> tuple[str, str]:
    """Pairs of words of all sorts, read out in another order: the text that is densest in what has to be looked up.

    As in echoes, the sort of a word tells nothing.
    """
    rng = bills.rng
    count, line = rng.randint(3, 8), rng.choice(PAIRS)
    words = rng.sample(ONES, 2 * count)
    told = list(zip(words[:count], words[count:], strict=True))
    again = rng.sample(told, count) + rng.choices(told, k=rng.randint(0, 3))
    beginning = " ".join(line.format(a=a, b=b) for a, b in told)
    return beginning, " ".join(line.format(a=a, b=MARK + b) for a, b in again)


def register(world: World) -> tuple[str, str]:
    """A story, register or game about generated people, divided at a sentence in its middle."""
    text = repeat(world) if world.rng.random() < 0.2 else document(world, dense=0.6)
    ends = [m.end() for m in re.finditer(r"[.?:] ", text)]
    middle = [end for end in ends if 0.3 < end / len(text) < 0.7] or ends[len(ends) // 2 :][:1] or [len(text) // 2]
    at = world.rng.choice(middle)
    return text[:at].strip(), text[at:].strip()


def signs(bills: Bills) -> tuple[str, str]:
    """Signs and labels: they use the summaries' first words in another sense."""
    texts = [t.replace("{p}", bills.draw(PEOPLE)) for t in bills.rng.sample(SIGNS, 4)]
    return " ".join(texts[:2]), " ".join(texts[2:])


BILLS = {"bills": 0.75, "index": 0.12, "pairs": 0.04, "echo": 0.01, "stories": 0.08}
KINDS_OF_TEXT = {"bills": told_bill, "index": index, "pairs": pairs, "echo": echo, "signs": signs}


def documents(seed: int, shares: dict[str, float] | None = None) -> Iterator[tuple[str, str]]:
    """Endless documents of one seed as marked pairs (beginning, continuation).

    Args:
        seed: Seed of the text.
        shares: Share of "bills", "index", "pairs", "echo" and "stories" (about generated people); ``BILLS`` by
            default.
    """
    rng = random.Random(seed)
    bills, world, shares = Bills(rng), World(rng), shares or BILLS
    while True:
        kind = rng.choices(list(shares), list(shares.values()))[0]
        kind = "signs" if kind == "bills" and rng.random() < 0.02 else kind
        yield register(world) if kind == "stories" else KINDS_OF_TEXT[kind](bills)
