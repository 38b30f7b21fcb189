"""Small Python functions on numbers, lists and texts, with what they do in words and tests that can be run.

What a function does is its *task* (``Job``): a phrase, an expression and a way to work out the right result that does
not run the expression. The task without the names decides by a checksum which split a function belongs to.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.tiny.stories import MARK
from shared.tiny.word_pools import FOODS, PEOPLE

NAMES = (
    "pick fetch find take show tell read note mark fold turn lift pull join trim scan count weigh judge check measure "
    "reckon gather filter reduce choose answer work solve play run step walk look call wrap build carry change"
).split()
ARGUMENTS = {
    "number": (("n",), ("x",), ("value",), ("number",)),
    "two": (("m", "n"), ("a", "b"), ("x", "y"), ("first", "second")),
    "list": (("xs",), ("numbers",), ("values",), ("items",)),
    "text": (("s",), ("text",), ("word",), ("line",)),
}
TAKES = {
    "number": "a number {0}", "two": "two numbers {0} and {1}", "list": "a list {0} of numbers", "text": "a text {0}",
}  # fmt: skip
LETTERS = "aeiounrst"
SPLITS = ("test", "validation", "train", "train", "train", *["pretraining"] * 5)

# kind -> (words, expression, right result). {0} and {1} are arguments, {k} and {j} numbers, {w} a word, {c} a letter.
NUMBER: dict[str, tuple[str, str, Callable]] = {
    "plus": ("{0} plus {k}", "{0} + {k}", lambda n, k, j: n + k),
    "minus": ("{0} minus {k}", "{0} - {k}", lambda n, k, j: n - k),
    "times": ("{0} times {k}", "{0} * {k}", lambda n, k, j: n * k),
    "rest": ("the rest of {0} divided by {k}", "{0} % {k}", lambda n, k, j: n % k),
    "line": ("{0} times {k} plus {j}", "{0} * {k} + {j}", lambda n, k, j: n * k + j),
    "slope": ("{0} times {k} minus {j}", "{0} * {k} - {j}", lambda n, k, j: n * k - j),
    "above": ("whether {0} is above {k}", "{0} > {k}", lambda n, k, j: n > k),
    "below": ("whether {0} is below {k}", "{0} < {k}", lambda n, k, j: n < k),
    "divides": ("whether {0} divides by {k}", "{0} % {k} == 0", lambda n, k, j: n % k == 0),
}
TWO: dict[str, tuple[str, str, Callable]] = {
    "sum": ("{0} plus {1} plus {k}", "{0} + {1} + {k}", lambda a, b, k, j: a + b + k),
    "gap": ("{0} minus {1} plus {k}", "{0} - {1} + {k}", lambda a, b, k, j: a - b + k),
    "blend": ("{0} times {k} plus {1}", "{0} * {k} + {1}", lambda a, b, k, j: a * k + b),
    "weights": ("{0} times {k} plus {1} times {j}", "{0} * {k} + {1} * {j}", lambda a, b, k, j: a * k + b * j),
    "larger": ("the larger of {0} and {1} plus {k}", "max({0}, {1}) + {k}", lambda a, b, k, j: max(a, b) + k),
    "smaller": ("the smaller of {0} and {1} times {k}", "min({0}, {1}) * {k}", lambda a, b, k, j: min(a, b) * k),
    "over": ("whether {0} plus {1} is above {k}", "{0} + {1} > {k}", lambda a, b, k, j: a + b > k),
}
TEXT: dict[str, tuple[str, str, Callable]] = {
    "end": ("{0} followed by {w}", '{0} + "{w}"', lambda s, k, w, c: s + w),
    "front": ("{w} followed by {0}", '"{w}" + {0}', lambda s, k, w, c: w + s),
    "capitals": ("{0} in capitals followed by {w}", '{0}.upper() + "{w}"', lambda s, k, w, c: s.upper() + w),
    "back": ("{0} backwards followed by {w}", '{0}[::-1] + "{w}"', lambda s, k, w, c: "".join(reversed(s)) + w),
    "first": ("the first {k} letters of {0}", "{0}[:{k}]", lambda s, k, w, c: "".join(list(s)[:k])),
    "often": ("{0} repeated {k} times", "{0} * {k}", lambda s, k, w, c: "".join(s for _ in range(k))),
    "letters": ("how often {c} is in {0}", '{0}.count("{c}")', lambda s, k, w, c: sum(one == c for one in s)),
    "without": ("{0} without the letter {c}", '{0}.replace("{c}", "")', lambda s, k, w, c: "".join(s.split(c))),
    "begins": ("whether {0} begins with {c}", '{0}.startswith("{c}")', lambda s, k, w, c: s[:1] == c),
}
WHICH: dict[str, tuple[str, str, Callable[[int, int], bool]]] = {
    "all": ("all numbers", "", lambda x, k: True),
    "above": ("the numbers above {k}", " if {v} > {k}", lambda x, k: x > k),
    "below": ("the numbers below {k}", " if {v} < {k}", lambda x, k: x < k),
    "divides": ("the numbers that divide by {k}", " if {v} % {k} == 0", lambda x, k: x % k == 0),
}
EACH: dict[str, tuple[str, str, Callable[[int, int], int]]] = {
    "same": ("", "{v}", lambda x, j: x),
    "plus": (", each plus {j}", "{v} + {j}", lambda x, j: x + j),
    "times": (", each times {j}", "{v} * {j}", lambda x, j: x * j),
}
WHAT: dict[str, tuple[str, str, Callable[[list], Any]]] = {
    "sum": ("the sum of", "sum({})", sum),
    "largest": ("the largest of", "max({})", max),
    "smallest": ("the smallest of", "min({})", min),
    "number": ("the number of", "len([{}])", len),
    "list": ("a list of", "[{}]", list),
}
VARIABLE = "v"  # the running variable of comprehensions and loops


@dataclass(frozen=True)
class Job:
    """What a function does.

    Attributes:
        family: "number", "two", "list" or "text".
        kind: Key of that family's table; for lists the keys of WHAT, WHICH and EACH.
        k: A number.
        j: Another one.
        w: A word.
        c: A letter.
    """

    family: str
    kind: tuple[str, ...]
    k: int = 0
    j: int = 0
    w: str = ""
    c: str = ""

    def _entry(self) -> tuple[str, str, Callable]:
        return {"number": NUMBER, "two": TWO, "text": TEXT}[self.family][self.kind[0]]

    def words(self, arguments: tuple[str, ...]) -> str:
        """The job in words."""
        if self.family != "list":
            return self._entry()[0].format(*arguments, k=self.k, j=self.j, w=self.w, c=self.c)
        what, which, each = self.kind
        pattern = f"{WHAT[what][0]} {WHICH[which][0]}{{in}}{EACH[each][0]}"
        return pattern.format(**{"k": self.k, "j": self.j, "in": f" in {arguments[0]}"})

    def expression(self, arguments: tuple[str, ...]) -> str:
        """The job as a Python expression; numbers, words and letters that the words determine are marked."""
        marked = {"k": f"{MARK}{self.k}", "j": f"{MARK}{self.j}", "w": MARK + self.w, "c": MARK + self.c}
        if self.family != "list":
            return self._entry()[1].format(*arguments, **marked)
        what, which, each = self.kind
        if which == "all" and each == "same" and what != "list":
            return f"{what_name(what)}({arguments[0]})"
        item = EACH[each][1].format(v=VARIABLE, **marked)
        condition = WHICH[which][1].format(v=VARIABLE, **marked)
        return WHAT[what][1].format(f"{item} for {VARIABLE} in {arguments[0]}{condition}")

    def loop(self, arguments: tuple[str, ...]) -> list[str]:
        """The lines of a loop that does the same, for sums, numbers and lists."""
        what, which, each = self.kind
        marked = {"k": f"{MARK}{self.k}", "j": f"{MARK}{self.j}"}
        item = EACH[each][1].format(v=VARIABLE, **marked)
        add = {"sum": f"found += {item}", "number": "found += 1", "list": f"found.append({item})"}[what]
        condition = WHICH[which][1].format(v=VARIABLE, **marked).strip()
        inner = [f"    {condition}:", f"        {add}"] if condition else [f"    {add}"]
        return [
            f"found = {'[]' if what == 'list' else 0}",
            f"for {VARIABLE} in {arguments[0]}:",
            *inner,
            "return found",
        ]

    def result(self, *values: Any) -> Any:
        """The right result for some arguments, worked out without the expression.

        Raises:
            ValueError: If there is none, as for the largest of no numbers.
        """
        if self.family != "list":
            extra = (self.k, self.w, self.c) if self.family == "text" else (self.k, self.j)
            return self._entry()[2](*values, *extra)
        what, which, each = self.kind
        chosen = [EACH[each][2](x, self.j) for x in values[0] if WHICH[which][2](x, self.k)]
        return WHAT[what][2](chosen)


def what_name(what: str) -> str:
    """Python's own function for what is done with a list."""
    return {"sum": "sum", "largest": "max", "smallest": "min", "number": "len"}[what]


def split_of(job: Job) -> str:
    """Say which split a job belongs to."""
    return SPLITS[zlib.crc32(repr(job).encode()) % len(SPLITS)]


def draw(rng: random.Random, split: str, level: str = "normal") -> Job:
    """Draw a job of one split.

    Args:
        rng: Source of chance.
        split: "train", "validation", "test" or "pretraining".
        level: "easy" has no lists, "hard" has nothing but lists with a condition or a change.

    Returns:
        The job.
    """
    families = {
        "easy": ("number", "two", "text"),
        "normal": ("number", "two", "list", "list", "text"),
        "hard": ("list",),
    }
    while True:
        job = _any_job(rng, rng.choice(families[level]), level)
        if split_of(job) == split:
            return job


def _any_job(rng: random.Random, family: str, level: str) -> Job:
    if family == "list":
        what, which, each = rng.choice(list(WHAT)), rng.choice(list(WHICH)), rng.choice(list(EACH))
        each = "same" if what == "number" else each
        if (which, each) == ("all", "same") and level == "hard":
            which = "above"
        k = 0 if which == "all" else rng.randint(2, 9) if which == "divides" else rng.randint(1, 19)
        return Job("list", (what, which, each), k, 0 if each == "same" else rng.randint(2, 12))
    kind = rng.choice(list({"number": NUMBER, "two": TWO, "text": TEXT}[family]))
    pattern = {"number": NUMBER, "two": TWO, "text": TEXT}[family][kind][1]
    top = 9 if family == "text" else 19
    k = rng.randint(2, top) if "{k}" in pattern else 0
    j = rng.randint(2, 19) if "{j}" in pattern else 0
    return Job(family, (kind,), k, j, rng.choice(FOODS) if "{w}" in pattern else "",
               rng.choice(LETTERS) if "{c}" in pattern else "")  # fmt: skip


def source(job: Job, name: str, arguments: tuple[str, ...], loop: bool = False, docstring: str = "") -> str:
    """The function's text, marked."""
    marked = tuple(MARK + one for one in arguments)
    body = job.loop(marked) if loop else [f"return {job.expression(marked)}"]
    body = [f'"""{docstring}"""', *body] if docstring else body
    return "\n".join([f"def {MARK}{name}({', '.join(marked)}):", *(f"    {line}" for line in body)])


def can_loop(job: Job) -> bool:
    """Whether there is a loop for it."""
    return job.family == "list" and job.kind[0] in ("sum", "number", "list")


def samples(job: Job, rng: random.Random) -> tuple:
    """Draw arguments for a test."""
    if job.family == "text":
        return (rng.choice(FOODS + PEOPLE + ["sunset", "stones", "onion", "train"]),)
    if job.family == "number":
        return (rng.choice((job.k - 1, job.k, job.k + 1, 2 * job.k, rng.randint(0, 30))),)
    if job.family == "two":
        return rng.randint(0, 20), rng.randint(0, 20)
    near = (job.k - 1, job.k, job.k + 1, 2 * job.k, 3 * job.k)
    return ([max(0, rng.choice(near)) if rng.random() < 0.5 else rng.randint(0, 30) for _ in range(rng.randint(4, 7))],)


def asserts_for(job: Job, name: str, rng: random.Random, count: int = 4) -> str:
    """Lines of assert for a function, with results worked out without it."""
    lines: list[str] = []
    while len(lines) < count:
        values = samples(job, rng)
        try:
            result = job.result(*values)
        except ValueError:  # the largest of nothing
            continue
        line = f"assert {name}({', '.join(map(repr, values))}) == {result!r}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


# -- pretraining: files with functions, described in comments and in prose ------------------------------------

TOLD = ("{f} gives {w}.", "With {f} we get {w}.", "{f} is for {w}.", "Here {f} works out {w}.")
NOTES = (
    "{p} needs a function for the evening.", "{p} wants to write a letter in Python.", "Please write to {p}.",
    "{p} takes a list and returns a book.", "Which function has {p} in the play?", "Here is a text from {p}.",
    "{p} called a number and returned.", "A loop is a turn that comes back, says {p}.",
    "{p} uses two numbers, not one.", "Good, but call {p} instead.", "Thank you, {p}, and please use the bus.",
    "{p} makes it a rule.",
)  # fmt: skip


def listing(rng: random.Random) -> str:
    """A file with some functions of the pretraining split, each described in one way or another."""
    parts, names = [], rng.sample(NAMES, rng.randint(2, 4))
    for name in names:
        job = draw(rng, "pretraining")
        arguments = rng.choice(ARGUMENTS[job.family])
        words, loop = job.words(arguments), can_loop(job) and rng.random() < 0.3
        luck = rng.random()
        if luck < 0.45:
            parts.append(f"# {name}: {words}\n{source(job, name, arguments, loop)}\n")
        elif luck < 0.65:
            parts.append(f"# {words}\n{source(job, name, arguments, loop)}\n".replace(f"def {MARK}", "def "))
        elif luck < 0.85:
            parts.append(f"{source(job, name, arguments, loop, words[0].upper() + words[1:] + '.')}\n")
        else:
            telling = rng.choice(TOLD).format(f=f"{name}({', '.join(arguments)})", w=words)
            parts.append(f"{source(job, name, arguments, loop).replace(MARK, '')}\n{telling}\n")
        if rng.random() < 0.15:
            parts.append(rng.choice(NOTES).format(p=rng.choice(PEOPLE)) + "\n")
    return "\n".join(parts)


def listings(rng: random.Random) -> Iterator[str]:
    """Endless marked files for pretraining."""
    while True:
        yield listing(rng)
