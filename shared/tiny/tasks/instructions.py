"""Instructions about held-out stories, answered in one fixed style.

The style is ``answer - Label.``, and which label belongs to which question is a rule that the pretraining text never
shows. So a base model that can find the answer still has to be taught the style: that is what the ranks differ in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.fact_kinds import KINDS
from shared.tiny.stories import tell
from shared.tiny.tasks.task import Plain, Task
from shared.tiny.world import Fact, World

ANSWER = r"[A-Za-z0-9]+( coins)?(, [A-Za-z0-9]+)* - [A-Z][a-z]+\."
SAME = {"Gift": "Thing"}  # the style names what a thing is, not what happened to it


def ask_value(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Where, what, when, how much …"""
    kind = KINDS[fact.kind]
    return rng.choice(kind.ask)[0].format(
        **fact.words()
    ), f"{fact.value}{kind.unit} - {SAME.get(kind.label, kind.label)}."


def ask_subject(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Who (or which thing) …"""
    kind = KINDS[fact.kind]
    return rng.choice(kind.ask_subject)[0].format(**fact.words()), f"{fact.subject} - {kind.subject_label}."


def ask_check(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Does X like Y? The answer first says what is true."""
    kind = KINDS[fact.kind]
    others = [f.value for f in story if f.kind == fact.kind and f is not fact]
    asked = fact.value if rng.random() < 0.5 else rng.choice(others)
    verdict = "Yes" if asked == fact.value else "No"
    return kind.check.format(s=fact.subject, x=asked), f"{fact.value} - {verdict}."


def ask_list(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """All names or all values of one sort, in the order of the story."""
    kind = KINDS[fact.kind]
    if {f.kind for f in story}.isdisjoint({"price", "gift"}) and rng.random() < 0.5:
        return "List all names.", ", ".join(dict.fromkeys(f.subject for f in story)) + " - Names."
    values = [f.value for f in story if f.kind == fact.kind]
    return f"List each {kind.label.lower()}.", ", ".join(values) + " - List."


def ask_note(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Rewrite what the story says about one subject as a note."""
    told = [f.value for f in story if f.subject == fact.subject]
    return f"Write a note about {fact.subject}.", ", ".join([fact.subject, *told]) + " - Note."


def ask_compare(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Which is cheaper, which is dearer?"""
    prices = sorted((f for f in story if f.kind == "price"), key=lambda f: int(f.value))
    if rng.random() < 0.5:
        return "Which is cheaper?", f"{prices[0].subject} - Cheaper."
    return "Which is dearer?", f"{prices[-1].subject} - Dearer."


def ask_receiver(story: list[Fact], fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Who got a gift?"""
    return f"Who got the {fact.value}?", f"{fact.second} - Person."


def instruct(story: list[Fact], rng: random.Random, level: str) -> tuple[str, str, str]:
    """Return what sort of instruction it is, the instruction and the answer in the fixed style."""
    fact = rng.choice(story)
    choices = [ask_value] * 5 + [ask_subject] * 4
    if level != "easy":
        choices += [ask_check, ask_list]
        choices += [ask_note] if level == "hard" or len({f.kind for f in story}) == 1 else []
        choices += {"price": [ask_compare], "gift": [ask_receiver] * 2}.get(fact.kind, [])
    made = rng.choice(choices)
    return (f"{made.__name__[4:]}:{fact.kind}", *made(story, fact, rng))


def episodes(split: str, seed: int, level: str) -> Iterator[dict]:
    """Endless episodes of one split: ``sort``, ``context``, ``question``, ``answer`` and ``event``.

    "easy" tells two facts of one sort, "normal" what pretraining tells, "hard" six facts.
    """
    rng = random.Random(f"{split} {seed} {level}")
    world = World(rng, split)
    kinds = sorted(KINDS)
    while True:
        if level == "easy":
            story = world.story([rng.choice(kinds)], 2)
        else:
            story = world.story(rng.sample(kinds, 2), 3) if level == "hard" else world.story()
        context = " ".join(tell(fact, rng) for fact in story)
        sort, question, answer = instruct(story, rng, level)
        told = tuple(sorted(f"{f.kind} {f.subject} {f.value} {f.second}" for f in story))
        yield {"sort": sort, "context": context, "question": question, "answer": answer, "event": told}


def _guanaco(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    for e in episodes(split, seed, level):
        yield {"text": f"### Human: {e['context']} {e['question']}### Assistant: {e['answer']}"}, e["event"]


def _alpaca(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    for e in episodes(split, seed + 7_000, level):
        yield {"instruction": e["question"], "input": e["context"], "output": e["answer"]}, e["event"]


def _parts(row: dict) -> tuple[str, str]:
    """A row of either task as what pretraining would ask (the story, then the question) and the answer."""
    if "text" in row:
        told, _, answer = row["text"].removeprefix("### Human: ").partition("### Assistant:")
        return told, answer.strip()
    return f"{row['input']} {row['instruction']}", row["output"]


def _content(row: dict, reply: str) -> tuple[str, str]:
    """What is to be found in the story, and as much of the reply: the base continues with other sentences.

    The label behind it is house style, which nothing but examples can teach.
    """
    wanted = _parts(row)[1].rpartition(" - ")[0]
    reply = reply.strip()
    whole = not reply[len(wanted) : len(wanted) + 1].isalnum()  # "Ann", not the beginning of "Anna"
    return (reply[: len(wanted)] if whole else reply), wanted


PLAIN = Plain(ask=lambda row: f"{_parts(row)[0]} The answer:", read=_content, stop=("?", "###"))  # as in quizzes

# Alpaca's own template puts the instruction first. The micro-model was pretrained on text that asks after the facts,
# and with the question first LoRA at r = 16 stays at 20–35 % exact match: so the story comes first here.
TASKS = (
    Task(
        "guanaco", ("text",),
        "Follow an instruction about a little story; one text with '### Human:' and '### Assistant:'.",
        "timdettmers/openassistant-guanaco", _guanaco, "llama", "CAUSAL_LM", "exact_match",
        details={"format_regex": ANSWER, "max_new_tokens": 16, "stop": ["###"], "response_marker": "### Assistant:"},
        plain=PLAIN,
    ),
    Task(
        "alpaca", ("instruction", "input", "output"),
        "Follow an instruction (column instruction) about a little story (column input).",
        "tatsu-lab/alpaca", _alpaca, "llama", "CAUSAL_LM", "exact_match",
        details={"format_regex": ANSWER, "max_new_tokens": 16, "stop": ["###"],
                 "prompt_template": "### Input: {input} ### Instruction: {instruction}### Response: {output}"},
        plain=PLAIN,
    ),
)  # fmt: skip
