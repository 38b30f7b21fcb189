"""The final number of a worked answer, in the format of GSM8K, of MetaMath, or in plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from shared.errors import DataError

HASHES, PHRASE = "####", re.compile(r"the answer is", re.IGNORECASE)
# 7, -7, 1,200, 0.50, .5, 3/4; a minus after a word or a number is subtraction or a hyphen
NUMBER = re.compile(
    r"(?:(?<![\w)])[-−] ?)?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:/[1-9]\d*(?![\d.]))?"
)
LATEX = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")


def final_number(text: str) -> Fraction | None:
    """The number that an answer ends in.

    It is the first number after the first ``####`` on that line (as in GSM8K's own script), else after the last
    "The answer is" (as in MetaMath's), else the last number of the text.

    Args:
        text: The answer.

    Returns:
        The number, exactly: ``1,200.50`` is 2401/2. None if there is none, also if
        ``####`` or "The answer is" is not followed by a number.
    """
    text = LATEX.sub(r"\1/\2", text)
    if HASHES in text:
        return _first(text.split(HASHES, 1)[1])
    phrases = list(PHRASE.finditer(text))
    if phrases:
        return _first(text[phrases[-1].end() :])
    found = NUMBER.findall(text)
    return _value(found[-1]) if found else None


def same_number(answer: str, reference: str) -> bool:
    """Whether an answer ends in the reference's number."""
    right = final_number(reference)
    return right is not None and final_number(answer) == right


def check_numbers(references: Sequence[str], name: str) -> None:
    """Refuse references without a final number: no answer to them could be correct.

    Args:
        references: The reference answers.
        name: The data set's name, for the message.

    Raises:
        DataError: Naming the first such row.
    """
    for place, text in enumerate(references, 1):
        if final_number(text) is None:
            raise DataError(
                f"{name}, row {place}: evaluation.metric is final_number, but the reference has no final number: "
                f"{text.strip()[-60:]!r}",
                fix="remove such rows, or set evaluation.metric: exact_match",
            )


def _first(rest: str) -> Fraction | None:
    lines = rest.strip().splitlines()
    found = NUMBER.search(lines[0]) if lines else None
    return _value(found.group()) if found else None


def _value(text: str) -> Fraction | None:
    try:
        return Fraction(re.sub(r"[,$ ]", "", text).replace("−", "-"))
    except ValueError:  # thousands of digits, as in the output of a model that repeats itself
        return None
