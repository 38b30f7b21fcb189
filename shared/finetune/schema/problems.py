"""A problem of a configuration, and the error that lists all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One problem of a configuration.

    Attributes:
        file: The file, as named by the user.
        line: Line in the file, from 1; 0 for a value from the command line.
        key: The dotted key, for example ``training.learning_rate``.
        value: The current value (None if the key is missing).
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
        where = f"{self.file}:{self.line}" if self.line else f"{self.file} (command line)"
        shown = "" if self.value is None else f" = {_short(self.value)}"
        return f"{where}: {self.key}{shown}: {self.message}" + (f" -> {self.fix}" if self.fix else "")


class InvalidConfig(ConfigError):
    """An invalid configuration; ``problems`` contains every :class:`Problem` that was found."""

    def __init__(self, file: str, problems: Iterable[Problem]):
        problems = sorted(without_repetitions(problems), key=lambda problem: (problem.line, problem.key))
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{file}: {number}", tuple(problems), fix=f"peft-labs validate-config {file} shows them again")


def without_repetitions(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without repetitions of the same key and message, in order."""
    seen: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        seen.setdefault((problem.key, problem.message), problem)
    return list(seen.values())


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
