"""Suggestions for a misspelt word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix for an unknown word: the nearest known ones, else the whole list.

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
