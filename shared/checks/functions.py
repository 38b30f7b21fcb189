"""Compare tensors and functions with a reference, and recognise well-known mistakes."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from shared.checks.result import Unanswered, Wrong, describe_error, unanswered
from shared.checks.values import as_number, ratio_hint, with_article


def expect_close(
    answer: Any,
    want: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    what: str = "the tensor",
    wrong: Sequence[tuple[Any, str]] = (),
) -> None:
    """Compare a tensor, and recognise a transposed or scaled one and common mistakes.

    Args:
        answer: The student's tensor.
        want: The right tensor, of any shape.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        what: The name of the answer in the message.
        wrong: Pairs of a common wrong tensor and its diagnosis.

    Raises:
        Wrong: Saying whether type, shape or values differ, and by how much.
    """
    import torch

    if answer is None or answer is ...:
        raise Unanswered
    if not isinstance(answer, torch.Tensor):
        raise Wrong(f"{what} is {with_article(type(answer).__name__)}, but should be a torch.Tensor.")
    got, want = answer.detach().double().cpu(), torch.as_tensor(want).detach().double().cpu()

    def same(a: torch.Tensor, b: Any) -> bool:
        b = torch.as_tensor(b).detach().double().cpu()
        return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol)

    if same(got, want):
        return
    for value, diagnosis in wrong:
        if same(got, value):
            raise Wrong(diagnosis)
    raise Wrong(_tensor_hint(got, want, same, what))


def _tensor_hint(got: Any, want: Any, same: Callable, what: str) -> str:
    if got.shape != want.shape:
        turned = got.dim() == 2 and got.T.shape == want.shape
        hint = ""
        if turned:
            hint = " It is transposed." if same(got.T, want) else " Is a transposition missing?"
        return f"{what} has the shape {tuple(got.shape)}, but should have {tuple(want.shape)}.{hint}"
    if got.isnan().any():
        return f"{what} holds NaN."
    if got.dim() == 2 and got.shape[0] == got.shape[1] and same(got.T, want):
        return f"{what} is transposed."
    if not got.any():
        return f"{what} is zero everywhere."
    factor = float((got * want).sum() / (want * want).sum().clamp_min(1e-30))
    if same(got, want * factor):
        return f"{what} is {factor:.4g} times the right one everywhere: is a factor wrong or missing?"
    return f"{what} has the right shape, but differs by up to {float((got - want).abs().max()):.3g}."


def expect_function(
    function: Any,
    reference: Callable,
    cases: Sequence[tuple],
    *,
    mutants: Sequence[tuple[Callable, str]] = (),
    rtol: float = 1e-5,
    atol: float = 1e-6,
    what: str = "your function",
) -> None:
    """Compare a function with a reference on several inputs, and recognise common mistakes.

    Args:
        function: The student's function.
        reference: The right function.
        cases: Argument tuples; different enough that no wrong function passes by chance.
        mutants: Pairs of a common wrong function and its diagnosis, which is given where the student's function agrees
            with the mutant on every case.
        rtol: Relative tolerance for numbers and tensors.
        atol: Absolute tolerance for numbers and tensors.
        what: The name of the function in the message.

    Raises:
        Unanswered: If the function is a stub.
        Wrong: With a mutant's diagnosis, else with the first input where it differs.
    """
    if not callable(function):
        raise Wrong(
            f"{what} is {with_article(type(function).__name__)}, but should be a function (without calling it)."
        )
    results = [_call(function, case, what) for case in cases]
    wanted = [reference(*copy.deepcopy(case)) for case in cases]
    failed = next((i for i in range(len(cases)) if not agree(results[i], wanted[i], rtol, atol)), None)
    if failed is None:
        return
    for mutant, diagnosis in mutants:
        try:
            theirs = [mutant(*copy.deepcopy(case)) for case in cases]
        except Exception:  # a mutant may fail on some input; then it is not what the student wrote
            continue
        if all(agree(got, other, rtol, atol) for got, other in zip(results, theirs, strict=True)):
            raise Wrong(diagnosis)
    _differs(results[failed], wanted[failed], cases[failed], what, rtol, atol)


def _call(function: Callable, case: tuple, what: str) -> Any:
    arguments = copy.deepcopy(case)
    try:
        result = function(*arguments)
    except (Unanswered, Wrong, NotImplementedError):
        raise
    except (Exception, SystemExit) as error:
        raise Wrong(f"{what} raised {describe_error(error)}, called with {_arguments(case)}.") from error
    if result is ... or (result is None and unanswered(function)):
        raise Unanswered
    if result is None:
        raise Wrong(f"{what} returns None: is a `return` missing?")
    if any(_changed(a, b) for a, b in zip(arguments, case, strict=True)):
        raise Wrong(f"{what} changes its own arguments in place; work on a copy.")
    return result


def _changed(after: Any, before: Any) -> bool:
    """Whether a plain argument was changed in place; models and other objects are not compared."""
    plain = hasattr(before, "detach") or isinstance(before, (list, dict, numbers.Real, str))
    return plain and not agree(after, before, 0.0, 0.0)


def agree(a: Any, b: Any, rtol: float, atol: float) -> bool:
    """Whether two results are equal: numbers and tensors within tolerance, containers part by part."""
    if hasattr(a, "detach") or hasattr(b, "detach"):
        return _tensors_agree(a, b, rtol, atol)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b or (isinstance(a, bool) and isinstance(b, bool) and a == b)
    if isinstance(a, numbers.Real) and isinstance(b, numbers.Real):
        return math.isclose(a, b, rel_tol=rtol, abs_tol=atol) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(agree(a[key], b[key], rtol, atol) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(agree(x, y, rtol, atol) for x, y in zip(a, b, strict=True))
    try:
        return bool(a == b)
    except (ValueError, TypeError, RuntimeError):
        return False


def _tensors_agree(a: Any, b: Any, rtol: float, atol: float) -> bool:
    import torch

    try:
        a, b = torch.as_tensor(a).detach().double(), torch.as_tensor(b).detach().double()
    except (TypeError, ValueError, RuntimeError):
        return False
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def _differs(got: Any, want: Any, case: tuple, what: str, rtol: float, atol: float) -> None:
    if hasattr(want, "detach"):
        expect_close(got, want, rtol=rtol, atol=atol, what=f"what {what} returns")
    if isinstance(want, numbers.Real) and not isinstance(want, bool):
        value = as_number(got, f"what {what} returns")
        hint = ratio_hint(value, float(want), rtol)
        raise Wrong(f"{what} returns {value:,.6g} for {_arguments(case)}, but should return {want:,.6g}.{hint}")
    raise Wrong(f"{what} returns {_short(got)} for {_arguments(case)}, but should return {_short(want)}.")


def _arguments(case: tuple) -> str:
    return "(" + ", ".join(_short(value) for value in case) + ")"


def _short(value: Any) -> str:
    if hasattr(value, "shape") and getattr(value, "ndim", 0):
        return f"<tensor {tuple(value.shape)}>"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
