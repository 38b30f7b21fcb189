"""Checks for the exercises of Lab 01, notebook 04-Merge_and_Deploy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from shared.checks.core import Wrong, check, expect_function

# --- exercise 1: rounding to bfloat16 --------------------------------------------------------------------------------


def _rounded(bits: int) -> Callable[[float], float]:
    """Round to a number of significant bits, a tie to the even neighbour."""

    def rounded(x: float) -> float:
        mantissa, exponent = math.frexp(x)
        return math.ldexp(round(mantissa * 2**bits), exponent - bits)

    return rounded


def _half_up(x: float) -> float:
    mantissa, exponent = math.frexp(x)
    return math.ldexp(math.floor(mantissa * 256 + 0.5), exponent - 8)


def _cut(x: float) -> float:
    mantissa, exponent = math.frexp(x)
    return math.ldexp(math.trunc(mantissa * 256), exponent - 8)


#: Ties that go down and up, both signs, and numbers far from 1, where a fixed grid is far too coarse or too fine.
_NUMBERS = (0.1, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159265, 1000.3, 0.00123, 0.0, -0.7, 1.0, 2.0**-20 * 1.7, 65000.0)


@check("Round to bfloat16")
def round_bf16(answer: Callable[[float], float]) -> str:
    """``answer(x)`` is the bfloat16 number nearest to the float x."""
    mutants = [
        (_cut, "You cut the surplus bits off. That always moves towards zero; rounding goes to the *nearest* number."),
        (_half_up, "Right except for ties: 1 + 2⁻⁸ lies exactly between two bfloat16 numbers, and the hardware takes "
         "the one with the even last bit, here 1. Python's round() does so by itself."),
        (_rounded(7), "You kept 7 significant bits. 7 are *stored*, but the leading 1 is implied: 8 count."),
        (_rounded(9), "You kept 9 significant bits; bfloat16 has 8: the implied leading 1 and 7 stored ones."),
        (_rounded(11), "That is float16, with 11 significant bits. bfloat16 gives three of them away for a larger "
         "range of exponents."),
        (lambda x: round(x * 256) / 256, "You rounded to multiples of 1/256 everywhere. The spacing of floating point "
         "numbers grows with the number: 8 *significant* bits, not 8 bits after the point. math.frexp splits off the "
         "exponent."),
        (lambda x: round(x * 128) / 128, "You rounded to multiples of 1/128, which is right between 1 and 2 only. "
         "math.frexp splits off the exponent."),
        (lambda x: round(x, 2), "You rounded decimal places; the computer has binary ones."),
        (lambda x: float(x), "Nothing was rounded."),
    ]  # fmt: skip
    expect_function(answer, _rounded(8), [(x,) for x in _NUMBERS], mutants=mutants, rtol=1e-12, atol=0.0)
    return "Eight significant bits, ties to even: this is what `.bfloat16()` does to each merged weight."


# --- exercise 2: how often was the update added? ---------------------------------------------------------------------


def _applied(before: Any, after: Any, A: Any, B: Any, alpha: float, r: int) -> float:
    update = alpha / r * (B @ A)
    return float(((after - before) * update).sum() / (update * update).sum())


def _case(factor: float, seed: int, noise: float = 0.02) -> tuple:
    import torch

    draw = torch.Generator().manual_seed(seed)
    before, A, B = (torch.randn(shape, generator=draw) for shape in ((24, 16), (4, 16), (24, 4)))
    update = 2.0 * (B @ A)
    after = before + factor * update + noise * torch.randn(before.shape, generator=draw)
    return before, after, A, B, 8.0, 4


def _by_norm(before: Any, after: Any, A: Any, B: Any, alpha: float, r: int) -> float:
    return float((after - before).norm() / (alpha / r * (B @ A)).norm())


def _by_mean(before: Any, after: Any, A: Any, B: Any, alpha: float, r: int) -> float:
    return float((after - before).mean() / (alpha / r * (B @ A)).mean())


@check("How often was the update added to the weights?")
def applied(answer: Callable) -> str:
    """``answer(before, after, A, B, alpha, r)`` is the c for which after is nearest to before + c (α/r) B A."""
    cases = [_case(1.0, 0), _case(2.0, 1), _case(-1.0, 2), _case(0.5, 3), _case(0.0, 4, noise=0.5)]
    mutants = [
        (lambda w, m, A, B, a, r: _applied(w, m, A, B, a, 1), "You left out the division by r: the scale is α/r."),
        (lambda w, m, A, B, a, r: _applied(w, m, A, B, r, r), "You left out the scale: the update is (α/r) B A, not "
         "B A."),
        (lambda w, m, A, B, a, r: _applied(w, m, A, B, r, a), "Your scale is r/α; it is α/r."),
        (lambda w, m, A, B, a, r: -_applied(w, m, A, B, a, r), "before and after are swapped: the change is after − "
         "before."),
        (_by_norm, "A ratio of norms is never negative, so it cannot see a *subtracted* update, and it counts rounding "
         "noise as if it were update. Project instead: ⟨change, update⟩ / ⟨update, update⟩."),
        (_by_mean, "A ratio of means: positive and negative entries cancel, so noise decides. Use all entries: "
         "⟨change, update⟩ / ⟨update, update⟩."),
        (lambda w, m, A, B, a, r: 1 / _applied(w, m, A, B, a, r), "The fraction is upside down."),
        (lambda w, m, A, B, a, r: float((m * (a / r * B @ A)).sum() / ((a / r * B @ A) ** 2).sum()), "You projected "
         "the merged weights themselves; project the *change*, after − before."),
    ]  # fmt: skip
    expect_function(answer, _applied, cases, mutants=mutants, rtol=1e-3, atol=1e-4)
    return "1 means merged once; every other value is an error."


# --- exercise 3: break it — four wrong exports -----------------------------------------------------------------------

ERRORS = ("right", "twice", "not divided by r", "subtracted", "transposed", "never merged")
_PLANTED = {"red": "twice", "green": "right", "blue": "transposed", "white": "not divided by r", "black": "subtracted"}


def exports(seed: int = 0) -> dict[str, dict[str, Any]]:
    """Five exported layers, some of them merged wrongly: before, after, A, B, alpha, r of each.

    The weights are square, so that no error shows in a shape.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name, error in _PLANTED.items():
        before, A, B = (0.1 * torch.randn(s, generator=draw) for s in ((32, 32), (8, 32), (32, 8)))
        alpha, r = 16.0, 8
        once = alpha / r * (B @ A)
        change = {"right": once, "twice": 2 * once, "not divided by r": r * once, "subtracted": -once,
                  "transposed": once.T}[error]  # fmt: skip
        after = (before + change).bfloat16().float()
        found[name] = {"before": before, "after": after, "A": A, "B": B, "alpha": alpha, "r": r}
    return found


@check("Find the wrong exports")
def name_the_error(answer: Mapping[str, str]) -> str:
    """``answer`` maps each export's name to one of ERRORS."""
    if not isinstance(answer, Mapping):
        raise Wrong(f"answer with a dict: the name of an export -> one of {', '.join(map(repr, ERRORS))}.")
    strange = [name for name in answer if name not in _PLANTED]
    missing = [name for name in _PLANTED if name not in answer]
    if strange or missing:
        raise Wrong(
            f"the exports are {', '.join(_PLANTED)}"
            + (f"; yours lacks {', '.join(missing)}." if missing else f"; there is no {strange[0]!r}.")
        )
    for name, error in _PLANTED.items():
        given = str(answer[name]).strip().lower()
        if given not in ERRORS:
            raise Wrong(f"{name}: {answer[name]!r} is none of the errors: {', '.join(map(repr, ERRORS))}.")
        if given != error:
            raise Wrong(f"{name}: not {given!r}. {_clue(name, given)}")
    return (
        "In the weights alone, 'merged twice' and 'alpha doubled' are the same error: both add 2 (α/r) B A. Only "
        "the adapter's configuration and the history of the file can tell them apart."
    )


def _clue(name: str, given: str) -> str:
    export = exports()[name]
    factor = _applied(**export)
    if given == "never merged":
        change = float((export["after"] - export["before"]).abs().max())
        return f"Its weights did change, by up to {change:.2g}: something was added."
    if _PLANTED[name] == "transposed":
        return (
            f"The projection on B A is {factor:.2f}, so B A was not added; yet the weights changed. What else can "
            "be made of the same A and B that also fits a square matrix?"
        )
    return f"The projection of its change on (α/r) B A is {factor:.2f}; here r = {export['r']}."


# --- exercise 4: when not to merge -----------------------------------------------------------------------------------

_BEST = {
    "one task, answers as fast as possible": "merge",
    "200 customers, each with an adapter of their own": "attach",
    "a phone app whose runtime knows no peft": "merge",
    "a QLoRA adapter whose base fits into memory in 4 bit only": "attach",
    "one request in ten must get the untuned base": "attach",
}
_WHY_NOT = {
    "one task, answers as fast as possible": "An attached adapter adds two small matrix products to each layer, for "
    "each token. With a single task there is no benefit in keeping it separate.",
    "200 customers, each with an adapter of their own": "Merging would make 200 copies of the whole model, on disk and "
    "in memory; attached, they share one base and are switched per request.",
    "a phone app whose runtime knows no peft": "Without peft no adapter can be attached; a merged model is an "
    "ordinary model, which every runtime can load or convert.",
    "a QLoRA adapter whose base fits into memory in 4 bit only": "Merging into the 4-bit weights rounds a second time "
    "(section 4), and for a proper merge the full-precision base has to fit. Serve the 4-bit base with the adapter "
    "beside it, or merge on a larger machine.",
    "one request in ten must get the untuned base": "A merged model no longer contains the base; you would need both "
    "models in memory. An attached adapter is switched off per request.",
}


@check("Merge or keep attached?")
def merge_or_attach(answer: Mapping[str, str]) -> str:
    """``answer`` maps each situation to ``"merge"`` or ``"attach"``."""
    if not isinstance(answer, Mapping):
        raise Wrong("answer with a dict: the situation -> 'merge' or 'attach'.")
    for situation, best in _BEST.items():
        if situation not in answer:
            raise Wrong(f"the situation {situation!r} has no answer.")
        given = str(answer[situation]).strip().lower()
        if given not in ("merge", "attach"):
            raise Wrong(f"{situation}: {answer[situation]!r} is neither 'merge' nor 'attach'.")
        if given != best:
            raise Wrong(f"{situation}: not {given!r}. {_WHY_NOT[situation]}")
    return "Merge for one task or for a runtime without peft; keep adapters attached for many tasks or little memory."
