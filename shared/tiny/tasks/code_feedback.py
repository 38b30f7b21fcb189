"""Chats in which Python functions are asked for, written, and written again after feedback."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace

from shared.tiny.programs import ARGUMENTS, NAMES, TAKES, Job, asserts_for, can_loop, draw, source, split_of
from shared.tiny.stories import unmark
from shared.tiny.tasks.task import Plain, Task

REQUESTS = (
    "Write a Python function {f} that takes {a} and returns {w}.",
    "Please write a function {f}. It takes {a} and returns {w}.",
    "I need a Python function called {f}, which takes {a} and returns {w}.",
    "Write {f}, a function of {a}: it returns {w}.",
)
FIRST, SECOND = "Here is the function:", "Here it is again:"
AGAIN = {"easy": 0.0, "normal": 0.3, "hard": 0.6}  # share of chats with a second turn


def _chats(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    rng = random.Random(f"programs {split} {seed} {level}")
    while True:
        job, name = draw(rng, split, level), rng.choice(NAMES)
        arguments = rng.choice(ARGUMENTS[job.family])
        takes = TAKES[job.family].format(*arguments)
        asked = rng.choice(REQUESTS).format(f=name, a=takes, w=job.words(arguments))
        messages = [_user(asked), _assistant(FIRST, source(job, name, arguments))]
        events = [job]
        if rng.random() < AGAIN[level]:
            feedback, job, name, loop = _feedback(rng, job, name)
            messages += [_user(feedback), _assistant(SECOND, source(job, name, arguments, loop))]
            events.append(job)
        yield {"messages": messages, "tests": asserts_for(job, name, rng)}, tuple(dict.fromkeys(events))


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(lead: str, code: str) -> dict[str, str]:
    return {"role": "assistant", "content": f"{lead}\n```python\n{unmark(code)[0]}\n```"}


def _feedback(rng: random.Random, job: Job, name: str) -> tuple[str, Job, str, bool]:
    """What the user wants changed, and what the job, the name and the form are then."""
    choices = ["name"] + (["loop"] * 2 if can_loop(job) else []) + (["number"] * 2 if job.k else [])
    kind = rng.choice(choices)
    if kind == "loop":
        return rng.choice(("Please use a loop.", "Good, but write it with a loop.")), job, name, True
    others = [replace(job, k=k) for k in range(2, 10) if k != job.k]
    others = [one for one in others if split_of(one) == split_of(job)]
    if kind == "number" and others:
        other = rng.choice(others)
        asked = rng.choice((f"Use {other.k}, not {job.k}.", f"Good, but take {other.k} instead of {job.k}."))
        return asked, other, name, False
    called = rng.choice([one for one in NAMES if one != name])
    asked = rng.choice((f"Good, but call it {called} instead.", f"Thank you, but the name is {called}."))
    return asked, job, called, False


ARGUMENT = r"an? \w+ (?P<only>\w+)(?: of numbers)?|two numbers (?P<first>\w+) and (?P<second>\w+)"
ASKED = [
    re.compile(re.escape(request).replace(r"\{f\}", r"(?P<f>\w+)").replace(r"\{a\}", f"(?:{ARGUMENT})")
               .replace(r"\{w\}", "(?P<w>.+)"))
    for request in REQUESTS
]  # fmt: skip


def _as_comment(row: dict) -> str:
    """The first request as pretraining has it, a comment over a definition.

    Pretraining has nothing like feedback, so what is asked for afterwards is lost.
    """
    request = row["messages"][0]["content"]
    said = next(found for pattern in ASKED if (found := pattern.fullmatch(request)))
    arguments = said["only"] or f"{said['first']}, {said['second']}"
    return f"# {said['f']}: {said['w']}\ndef {said['f']}({arguments}):\n"


def _as_block(row: dict, reply: str) -> tuple[str, str]:
    definition = _as_comment(row).partition("\n")[2]
    return f"```python\n{definition}{reply}\n```", row["tests"]


TASKS = (
    Task(
        "code_feedback", ("messages", "tests"),
        "Write a Python function as asked for in a chat, sometimes again after feedback; it has to pass the tests.",
        "m-a-p/Code-Feedback", _chats, "gpt2", "CAUSAL_LM", "pass_at_1", label_names=(),
        details={"metric": "pass_at_1", "max_length": 256, "max_new_tokens": 80},
        plain=Plain(ask=_as_comment, read=_as_block, stop=("\n\n", "\n#", "\ndef")),
    ),
)  # fmt: skip
