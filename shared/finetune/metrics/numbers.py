"""The number that a worked answer comes to, as GSM8K, MetaMath or plain text give it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from shared.errors import DataError

HASHES, PHRASE = "####", re.compile(r"the answer is", re.IGNORECASE)
# 7, -7, 1,200, 0.50, .5, 3/4; a minus behind a word or a number is a sign of arithmetic or a hyphen
NUMBER = re.compile(
    r"(?:(?<![\w)])[-−] ?)?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:/[1-9]\d*(?![\d.]))?"
)
LATEX = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")


def final_number(text: str) -> Fraction | None:
    """The number that an answer ends in.

    It is the first one behind ``####`` on that line (the first such mark, as GSM8K's own script has it), else behind
    "The answer is" (the last one, as MetaMath's), else the last number of the text.

    Args:
        text: The answer.

    Returns:
        The number, exactly: ``1,200.50`` is 2401/2. None where there is none; an answer that marks its end and gives no
        number there has none, whatever it reckoned before.
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
    """Whether an answer comes to the reference's number."""
    right = final_number(reference)
    return right is not None and final_number(answer) == right


def check_numbers(references: Sequence[str], name: str) -> None:
    """Refuse references that come to no number: no answer to them could be right.

    Args:
        references: The reference answers.
        name: The data set's name, for the message.

    Raises:
        DataError: Naming the first such row.
    """
    for place, text in enumerate(references, 1):
        if final_number(text) is None:
            raise DataError(
                f"{name}, row {place}: evaluation.metric is final_number, but the reference comes to no number: "
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
    except ValueError:  # thousands of digits, as a model that repeats itself writes them
        return None
