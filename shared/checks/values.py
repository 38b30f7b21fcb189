"""Compare plain answers: types, numbers, choices."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from shared.checks.result import Wrong


def expect_type(answer: Any, kinds: type | tuple[type, ...], what: str = "the answer") -> None:
    """Refuse an answer of another type.

    Raises:
        Wrong: Naming the type of the answer and the expected ones.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(answer, wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise Wrong(f"{what} is {with_article(type(answer).__name__)}, but should be {with_article(names)}.")


def with_article(noun: str) -> str:
    return ("an " if noun[:1].lower() in "aeiou" else "a ") + noun


def expect_number(
    answer: Any,
    want: float,
    *,
    rel: float = 1e-6,
    abs_: float = 0.0,
    unit: str = "",
    wrong: Sequence[tuple[float, str]] = (),
    what: str = "the answer",
) -> None:
    """Compare a number, and recognise common mistakes.

    Args:
        answer: A number, or an array or tensor with one element.
        want: The right number.
        rel: Relative tolerance.
        abs_: Absolute tolerance.
        unit: Unit, for the message.
        wrong: Pairs of a common wrong number and its diagnosis, most specific first.
        what: The name of the answer in the message.

    Raises:
        Wrong: With the diagnosis of the common mistake, else with a hint from the ratio to the right number.
    """
    got = as_number(answer, what)

    def near(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=rel, abs_tol=abs_)

    if near(got, want):
        return
    for value, diagnosis in wrong:
        if near(got, value):
            raise Wrong(diagnosis)
    hint = ratio_hint(got, want, rel)
    where = "too large" if got > want else "too small"
    raise Wrong(f"{what} is {got:,.6g}{' ' + unit if unit else ''}: {where}.{hint}")


def as_number(answer: Any, what: str) -> float:
    if isinstance(answer, str):
        raise Wrong(f"{what} is the text {answer!r}, but should be a number without quotes.")
    if isinstance(answer, bool) or callable(answer):
        raise Wrong(f"{what} is {with_article(type(answer).__name__)}, but should be a number.")
    if hasattr(answer, "item"):
        if getattr(answer, "numel", lambda: getattr(answer, "size", 1))() != 1:
            raise Wrong(f"{what} has the shape {tuple(answer.shape)}, but should be a single number.")
        answer = answer.item()
    if not isinstance(answer, numbers.Real):
        raise Wrong(f"{what} is {with_article(type(answer).__name__)}, but should be a number.")
    if math.isnan(answer):
        raise Wrong(f"{what} is NaN.")
    return float(answer)


#: Ratio of answer to truth -> what it usually means.
_RATIOS = (
    (-1.0, "The sign is reversed."),
    (100.0, "It is 100 times the right one: a percentage instead of a fraction?"),
    (0.01, "It is a hundredth of the right one: a fraction instead of a percentage?"),
    (2.0, "It is twice the right one: is something counted twice?"),
    (0.5, "It is half the right one: is one of two parts missing?"),
    (8.0, "It is 8 times the right one: bits instead of bytes?"),
    (1 / 8, "It is an eighth of the right one: bytes instead of bits?"),
    (4.0, "It is 4 times the right one."),
    (0.25, "It is a quarter of the right one."),
    (1e9 / 2**30, "The ratio is that of GB (1e9 bytes) and GiB (2^30 bytes)."),
    (2**30 / 1e9, "The ratio is that of GiB (2^30 bytes) and GB (1e9 bytes)."),
    (1e3, "It is 1,000 times the right one: a unit?"),
    (1e-3, "It is a thousandth of the right one: a unit?"),
    (1e6, "It is a million times the right one: a unit?"),
    (1e-6, "It is a millionth of the right one: a unit?"),
    (1e9, "It is 1e9 times the right one: bytes instead of GB?"),
)


def ratio_hint(got: float, want: float, rel: float) -> str:
    if not want or not math.isfinite(got):
        return ""
    for ratio, hint in _RATIOS:
        if math.isclose(got / want, ratio, rel_tol=max(rel, 1e-6)):
            return " " + hint
    return ""


def expect_choice(answer: Any, want: Any, why: dict[Any, str]) -> None:
    """Compare a choice among given ones.

    Args:
        answer: What the student chose; texts are compared without case and surrounding blanks.
        want: The right choice.
        why: For each wrong choice its diagnosis; the keys with ``want`` are all choices there are.

    Raises:
        Wrong: With the choice's diagnosis, or saying that it is not among the choices.
    """
    if callable(answer):
        raise Wrong("the answer is a function, but should be one of the choices.")

    def plain(value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    if plain(answer) == plain(want):
        return
    for choice, diagnosis in why.items():
        if plain(choice) == plain(answer):
            raise Wrong(diagnosis)
    choices = ", ".join(repr(choice) for choice in sorted({want, *why}, key=str))
    raise Wrong(f"{answer!r} is none of the choices: {choices}.")
