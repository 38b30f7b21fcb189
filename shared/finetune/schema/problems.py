"""One problem of a configuration, and the lists of problems that a user can work off in one go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a configuration.

    Attributes:
        file: The file, as it was named by the user.
        line: Line in the file, counted from 1; 0 for a value that came from the command line.
        key: The dotted key, for example ``training.learning_rate``.
        value: The value that stands there (None where the key is missing).
        message: What is wrong.
        fix: What to write instead.
    """

    file: str
    line: int
    key: str
    value: Any
    message: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else f"{self.file} (command line)"
        shown = "" if self.value is None else f" = {_short(self.value)}"
        return f"{place}: {self.key}{shown}: {self.message}" + (f" -> {self.fix}" if self.fix else "")


class InvalidConfig(ConfigError):
    """A configuration is wrong; ``problems`` holds every :class:`Problem` that was found."""

    def __init__(self, file: str, problems: Iterable[Problem]):
        problems = sorted(set_of(problems), key=lambda problem: (problem.line, problem.key))
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{file}: {number}", tuple(problems), fix=f"peft-labs validate-config {file} shows them again")


def set_of(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without repetitions of the same key and message, in order."""
    seen: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        seen.setdefault((problem.key, problem.message), problem)
    return list(seen.values())


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
