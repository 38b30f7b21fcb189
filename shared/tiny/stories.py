"""Grammar of the generated stories: facts stated, repeated in other words, asked about, denied and compared.

Sentences come *marked*: ``MARK`` stands before each word that a reader can know from what was said before. Marks are
stripped before training (`unmark`); they exist so that the loss of exactly these words can be watched, because the
skill that fine-tuning needs, answering from the context, shows there and nowhere else.
"""

from __future__ import annotations

import random

from shared.tiny.fact_kinds import KINDS
from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import Fact, World

MARK = "\x01"
LEADS = ("", "", "", "As you know, ", "So ", "And ", "Yes, ", "Remember: ")
SPOKEN = (
    "{t} asked {u} {q}. {u} said: {a}.",
    "{t} asked {q}. {u} said: {a}.",
    "{t} asked: {Q} {u} said: {a}.",
    "{t} said: {Q} And {u} said: {a}.",
)
SHORT = (
    "{t} asked {u}: {Q} The answer was: {a}.",
    "{t} wanted to know {q}. The answer was: {a}.",
    "{t} asked {q}. It is {a}.",
)
HEADINGS = (
    "### News of the day",
    "### Human stories",
    "### Assistant wanted",
    "### Response from {t}",
    "### Input from {t}",
    "### Instruction for {t}",
    "### Place to see",
    "### Person of the week",
    "### Job of the month",
    "### Price list",
    "### Human and Assistant",
    "### Day by Day",
    "### Pet and Food",
    "### View of {t}",
    "### Ride to work",
    "### Gift for a Friend",
    "### Thing to find",
    "### List of Names",
    "### Note for {t}",
    "### Cheaper or Dearer",
    "### Names and Towns",
    "### Yes or No",
)
NOTICES = (
    "The assistant of {t} looks for a new house.",
    "{t} wrote a response to the note.",
    "A human needs an assistant.",
    "Give the input to {t}, please.",
    "Read the instruction of {t} twice.",
    "Name the place and the person.",
    "List all names here.",
    "Rewrite the note for {t}.",
    "Write the list as a note.",
    "Answer the human, please.",
    "List each place and each price.",
    "Write a story about {t}.",
    "This note is about {t}.",
    "List each job and each pet.",
    "Each day has a gift and a ride.",
    "The food is new and the view is nice.",
    "The assistant asked for the response of {t}.",
    "Tell {t} which of them is cheaper and which is dearer.",
)


def fill(pattern: str, **words: str) -> str:
    """Fill ``pattern`` and mark the last of its slots, the one the others determine."""
    last = max((slot for slot in words if "{" + slot + "}" in pattern), key=lambda s: pattern.rfind("{" + s + "}"))
    return pattern.format(**{**words, last: MARK + words[last]})


def start(sentence: str) -> str:
    """Give the sentence a capital first letter, also after a mark."""
    at = 1 if sentence.startswith(MARK) else 0
    return sentence[:at] + sentence[at : at + 1].upper() + sentence[at + 1 :]


def tell(fact: Fact, rng: random.Random) -> str:
    """State a fact."""
    return start(rng.choice(KINDS[fact.kind].tell).format(**fact.words()))


def tell_again(fact: Fact, rng: random.Random) -> str:
    """State a known fact again, in the same or in other words, and mark the word that follows from the first time."""
    pattern = rng.choice(KINDS[fact.kind].tell)
    said, lead = fill(pattern, **fact.words()), rng.choice(LEADS)
    if lead and not pattern.startswith("{"):
        said = said[0].lower() + said[1:]
    return lead + said


def ask(fact: Fact, world: World) -> str:
    """One person asks about the fact and another answers, in prose."""
    rng, kind = world.rng, KINDS[fact.kind]
    words, for_value, spoken = fact.words(), rng.random() < 0.55, rng.random() < 0.55
    direct, inside = rng.choice(kind.ask if for_value else kind.ask_subject)
    the = "" if kind.subjects is PEOPLE else "the "
    answer = MARK + fact.value if for_value else the + MARK + fact.subject
    if spoken and for_value:
        answer = fill(kind.reply, v=fact.value)
    asker, other = world.draw(PEOPLE), world.draw(PEOPLE)
    scene = rng.choice(SPOKEN if spoken else SHORT)
    return scene.format(t=asker, u=other, q=inside.format(**words), Q=direct.format(**words), a=answer)


def doubt(fact: Fact, story: list[Fact], world: World) -> str:
    """Ask whether a value holds and answer yes or no, or deny a wrong value."""
    rng, kind = world.rng, KINDS[fact.kind]
    others = [f.value for f in story if f.kind == fact.kind and f.value != fact.value]
    wrong = rng.choice(others + [fact.second]) if fact.kind in ("food", "view") else rng.choice(others)
    if rng.random() < 0.3:
        return fill(kind.deny, **fact.words(), x=wrong)
    asked = rng.choice((wrong, fact.value))
    verdict, asker, other = "Yes" if asked == fact.value else "No", world.draw(PEOPLE), world.draw(PEOPLE)
    question = kind.check.format(s=fact.subject, x=asked)
    told = fill(rng.choice([p for p in kind.tell if p.startswith(("{s}", "The {s}"))]), **fact.words())
    more = rng.choice((".", ".", f". {told}"))
    return f"{asker} asked {other}: {question} {other} said: {MARK}{verdict}{more}"


def compare(story: list[Fact], world: World) -> str:
    """Say which of two priced things is cheaper."""
    one, two = world.rng.sample([f for f in story if f.kind == "price"], 2)
    low, high = sorted((one, two), key=lambda f: int(f.value))
    return world.rng.choice(
        (
            f"The {one.subject} is {MARK}{'cheaper' if one is low else 'dearer'} than the {two.subject}.",
            f"The cheaper of them is the {MARK}{low.subject}.",
            f"The dearer of them is the {MARK}{high.subject}.",
            f"The {one.subject} or the {two.subject}? The {MARK}{low.subject} is cheaper.",
            f"Which is dearer, the {one.subject} or the {two.subject}? The {MARK}{high.subject}.",
        )
    )


def gather(story: list[Fact], world: World) -> str:
    """List the subjects or the values of a story in the order in which they were stated."""
    kind = KINDS[world.rng.choice([f.kind for f in story])]
    told = [f for f in story if f.kind == kind.name]
    by_subject = world.rng.random() < 0.5
    names = [MARK + (f.subject if by_subject else f.value) for f in told]
    what = kind.subject_label if by_subject else kind.label
    return f"The {what.lower()} list is: " + ", ".join(names[:-1]) + " and " + names[-1] + "."


def receiver(fact: Fact, world: World) -> str:
    """Ask who got a gift."""
    asker, other = world.draw(PEOPLE), world.draw(PEOPLE)
    return world.rng.choice(
        (
            f"{asker} asked: Who got the {fact.value}? {other} said: {MARK}{fact.second}.",
            f"{asker} asked who got the {fact.value}. It was {MARK}{fact.second}.",
            f"Now {fact.second} has the {MARK}{fact.value}.",
        )
    )


def repeat(world: World) -> str:
    """A game: one says a row of words and another repeats them."""
    rng = world.rng
    pools = [pool for kind in KINDS.values() for pool in (kind.subjects, kind.values)]
    words = [world.draw(rng.choice(pools)) for _ in range(rng.randint(3, 7))]
    again = words[0] + " " + " ".join(MARK + word for word in words[1:])
    one, two = world.draw(PEOPLE), world.draw(PEOPLE)
    return rng.choice(
        (
            f"{one} said: {' '.join(words)}. {two} said: {again}. {one} said: {again}.",
            f"Repeat after me: {' '.join(words)}. {again}. Once more: {again}.",
        )
    )


LINES = ("{s}: {v}.", "{s} {v}.", "{s} and {v}.", "{s} has {v}.", "{v}: {s}.", "{v} for {s}.", "{s}, the {v}.")


def register(world: World) -> str:
    """A register of short lines, read out again in another order, then talked about.

    Many names and few other words: who looks up a line has to bind name and value, and nothing else helps. On this
    text the skill appears early; prose with two or three people alone is a weak teacher of it.
    """
    rng = world.rng
    story = world.story([rng.choice(list(KINDS))], rng.randint(3, 6))
    line = rng.choice(LINES)
    parts = [f"The {KINDS[story[0].kind].label.lower()} list."] if rng.random() < 0.5 else []
    parts += [start(line.format(**fact.words())) for fact in story]
    again = rng.sample(story, len(story)) + rng.choices(story, k=rng.randint(0, 4))
    parts += [start(fill(line, **fact.words())) for fact in again]
    return " ".join(parts + [start(_talk(story, world)) for _ in range(rng.randint(0, 3))])


def quiz(world: World) -> str:
    """A quiz: a story, then question upon question, each with its bare answer.

    Questions stand as they do in instructions, yet without their format and house style.
    """
    rng = world.rng
    kinds = rng.sample(list(KINDS), rng.choice((1, 2, 2)))
    story = world.story(kinds, rng.randint(2, 4) if len(kinds) == 1 else rng.choice((2, 2, 3)))
    parts = [tell(fact, rng) for fact in story]
    between = rng.choice((" ", " ", " - ", " = ", " So: ", " And: ", " It is: ", " The answer: "))
    asked = dict(_question(story, world) for _ in range(rng.randint(6, 10)))  # no question twice
    return " ".join(parts + [f"{question}{between}{answer}." for question, answer in asked.items()])


def _question(story: list[Fact], world: World) -> tuple[str, str]:
    rng, fact = world.rng, world.rng.choice(story)
    kind, luck = KINDS[fact.kind], world.rng.random()
    alike = [f for f in story if f.kind == fact.kind]
    if fact.kind == "price" and luck < 0.4:
        one, two = sorted(alike, key=lambda f: int(f.value))[:: len(alike) - 1]
        return rng.choice((("Which is cheaper?", MARK + one.subject), ("Which is dearer?", MARK + two.subject)))
    if fact.kind == "gift" and luck < 0.2:
        return f"Who got the {fact.value}?", MARK + fact.second
    if luck < 0.5:
        return rng.choice(kind.ask)[0].format(**fact.words()), MARK + fact.value
    if luck < 0.72:
        return rng.choice(kind.ask_subject)[0].format(**fact.words()), MARK + fact.subject
    if luck < 0.82:
        asked = rng.choice(alike).value
        verdict = "Yes" if asked == fact.value else "No"
        return kind.check.format(s=fact.subject, x=asked), f"{MARK}{verdict}, {MARK}{fact.subject} {MARK}{fact.value}"
    if luck < 0.90:
        told = [MARK + f.value for f in story if f.subject == fact.subject]
        return f"What do we know about {fact.subject}?", f"{MARK}{fact.subject} " + ", ".join(told)
    if luck < 0.96:
        return f"What is each {kind.label.lower()}?", ", ".join(MARK + f.value for f in alike)
    names = dict.fromkeys(f.subject for f in story)
    return "Which names do we know?", ", ".join(MARK + name for name in names)


def document(world: World, dense: float = 0.5, quizzes: float = 0.0) -> str:
    """Return one marked document: a story of 2–5 facts, then talk about it; or a register; a game; a quiz.

    Now and then a heading or notice stands in between. They use the words of the instruction formats in another
    sense, so that fine-tuning finds trained embeddings, yet nothing that is an instruction.

    Args:
        world: Where stories come from.
        dense: Share of registers and games, the text that is dense in what has to be looked up.
        quizzes: Share of quizzes.
    """
    if quizzes and world.rng.random() < quizzes:
        return quiz(world)
    rng = world.rng
    if rng.random() < dense:
        return repeat(world) if rng.random() < 0.25 else register(world)
    kinds = rng.sample(list(KINDS), rng.choice((1, 2, 2)))
    story = world.story(kinds, rng.randint(2, 4) if len(kinds) == 1 else rng.choice((2, 2, 3)))
    parts = [tell(fact, rng) for fact in story]
    if rng.random() < 0.15:
        parts.insert(0, rng.choice(HEADINGS).format(t=world.draw(PEOPLE)) + rng.choice((":", ".", " ###", ":")))
    if rng.random() < 0.15:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(NOTICES).format(t=world.draw(PEOPLE)))
    if rng.random() < 0.2:
        parts += [_marked_again(part) for part in rng.sample(parts[-len(story) :], len(story))]
    for _ in range(rng.randint(4, 8)):
        parts.append(start(_talk(story, world)))
    return " ".join(parts)


def _marked_again(sentence: str) -> str:
    """The same sentence again, its last word marked."""
    head, _, last = sentence[:-1].rpartition(" ")
    return f"{head} {MARK}{last}."


def _talk(story: list[Fact], world: World) -> str:
    fact, luck = world.rng.choice(story), world.rng.random()
    if fact.kind == "price" and luck < 0.4:
        return compare(story, world)
    if fact.kind == "gift" and luck < 0.25:
        return receiver(fact, world)
    if luck < 0.40:
        return tell_again(fact, world.rng)
    if luck < 0.82:
        return ask(fact, world)
    return gather(story, world) if luck < 0.89 else doubt(fact, story, world)


def unmark(marked: str) -> tuple[str, list[int]]:
    """Return the plain text and the character positions of the words that were marked."""
    pieces = marked.split(MARK)
    positions, length = [], len(pieces[0])
    for piece in pieces[1:]:
        positions.append(length)
        length += len(piece)
    return "".join(pieces), positions
