"""Suggestions for a misspelled word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix for an unknown word: the most similar known ones, else the whole list.

    Args:
        word: The unknown word.
        known: The known words.
    """
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=2, cutoff=0.6)
    if not near:  # difflib's ratio misses a part of a long name
        near = [name for name in known if str(word).lower() in name.lower()][:2]
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if len(known) <= 14:
        return "choose from: " + ", ".join(known)
    return f"none of the {len(known)} known keys is similar; see the schema: peft-labs validate-config --schema"
