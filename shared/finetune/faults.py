"""One fault of a configuration, and the lists of faults that a user can work off in one go."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a configuration.

    Attributes:
        file: The file, as it was named by the user.
        line: Line in the file, counted from 1; 0 for a value that came from the command line.
        key: The dotted key, for example ``training.learning_rate``.
        value: The value that stands there (None where the key is missing).
        message: What is wrong.
        cure: What to write instead.
    """

    file: str
    line: int
    key: str
    value: Any
    message: str
    cure: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else f"{self.file} (command line)"
        shown = "" if self.value is None else f" = {_short(self.value)}"
        return f"{place}: {self.key}{shown}: {self.message}" + (f" -> {self.cure}" if self.cure else "")


class ConfigFaults(ConfigError):
    """A configuration is wrong; ``faults`` holds every :class:`Fault` that was found."""

    def __init__(self, file: str, faults: Iterable[Fault]):
        faults = sorted(set_of(faults), key=lambda fault: (fault.line, fault.key))
        number = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{file}: {number}", tuple(faults), cure=f"peft-labs validate-config {file} shows them again")


def set_of(faults: Iterable[Fault]) -> list[Fault]:
    """The faults without repetitions of the same key and message, in order."""
    seen: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        seen.setdefault((fault.key, fault.message), fault)
    return list(seen.values())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A cure for an unknown word: the nearest known ones, else the whole list.

    Args:
        word: What was written.
        known: What may be written.
    """
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=2, cutoff=0.6)
    if not near:  # a part of a long name is a frequent slip that difflib's ratio misses (lr -> learning_rate does not)
        near = [name for name in known if str(word).lower() in name.lower()][:2]
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if len(known) <= 14:
        return "choose from: " + ", ".join(known)
    return f"none of the {len(known)} known keys is like it; see the schema: peft-labs validate-config --schema"


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
