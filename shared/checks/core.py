"""The engine of the exercise checks.

A check is a function with the decorator :func:`check`. It looks at the student's answer with the ``expect_*`` helpers
(or raises :class:`Wrong` itself) and returns None, or a sentence that is shown when all is right::

    @check("How many parameters does LoRA add?")
    def lora_parameters(answer):
        expect_number(answer, 294_912, wrong=[(147_456, "you counted q or v, not both")])
        return "q and v in 12 layers: 12 x 2 x r (d + d)"

Whatever the student hands in, calling a check returns a :class:`CheckResult` and does not raise.
"""

from __future__ import annotations

import copy
import dis
import functools
import html
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


class Wrong(Exception):
    """The answer is wrong; the text is the diagnosis."""


class Unanswered(Exception):
    """The exercise has not been answered yet."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found; true when passed, and the last line of a cell shows it.

    Attributes:
        passed: Whether the answer is right.
        answered: Whether there is an answer at all.
        title: The exercise.
        diagnosis: What is wrong and where to look, or why it is right.
    """

    passed: bool
    answered: bool
    title: str
    diagnosis: str = ""

    def __bool__(self) -> bool:
        return self.passed

    @property
    def verdict(self) -> str:
        """``passed``, ``not right yet`` or ``not answered yet``."""
        return "passed" if self.passed else "not right yet" if self.answered else "not answered yet"

    @property
    def sign(self) -> str:
        """A sign besides the colour, for those who do not see it."""
        return "✓" if self.passed else "✗" if self.answered else "○"

    def __repr__(self) -> str:
        return f"{self.sign} {self.verdict}: {self.title}" + (f"\n  {self.diagnosis}" if self.diagnosis else "")

    def _repr_html_(self) -> str:
        edge = {"✓": "#009E73", "✗": "#D55E00", "○": "#767676"}[self.sign]
        text = html.escape(self.diagnosis).replace("\n", "<br>")
        return (
            f'<div role="status" style="border-left:6px solid {edge};padding:4px 10px;margin:4px 0">'
            f'<strong><span aria-hidden="true">{self.sign}</span> {self.verdict}</strong>: {html.escape(self.title)}'
            + (f"<br>{text}" if text else "")
            + "</div>"
        )


def check(title: str) -> Callable[[Callable[..., str | None]], Callable[..., CheckResult]]:
    """Make a check of a function that raises :class:`Wrong` or returns None or a sentence of praise.

    Args:
        title: The exercise, as the result shows it.
    """

    def decorate(function: Callable[..., str | None]) -> Callable[..., CheckResult]:
        @functools.wraps(function)
        def run(*answers: Any, **named: Any) -> CheckResult:
            if any(unanswered(answer) for answer in (*answers, *named.values())):
                return CheckResult(False, False, title)
            try:
                praise = function(*answers, **named)
            except (Unanswered, NotImplementedError):
                return CheckResult(False, False, title)
            except Wrong as wrong:
                return CheckResult(False, True, title, str(wrong))
            except (Exception, SystemExit) as error:  # the student's code: anything can come
                return CheckResult(False, True, title, f"Your code raised {_named(error)}.")
            return CheckResult(True, True, title, praise or "")

        return run

    return decorate


def _named(error: BaseException) -> str:
    text = str(error).strip()
    return type(error).__name__ + (f": {text}" if text else "")


def unanswered(answer: Any) -> bool:
    """Whether an answer is a stub: ``...``, None, an empty text, or a function whose body is ``...`` or ``pass``."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return True
    if isinstance(answer, (tuple, list)) and answer:
        return any(part is ... or part is None for part in answer)
    if isinstance(answer, dict) and answer:
        return any(part is ... or part is None for part in answer.values())
    return inspect.isfunction(answer) and _empty_body(answer)


def _empty_body(function: Callable) -> bool:
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP", "CACHE")]
    if any(step.opname not in ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST") for step in steps):
        return False
    return all(step.argval in (None, ...) for step in steps if step.opname.endswith("CONST"))


# --- what the checks are made of -------------------------------------------------------------------------------------


def expect_type(answer: Any, kinds: type | tuple[type, ...], what: str = "the answer") -> None:
    """Refuse an answer of another type.

    Raises:
        Wrong: Naming the type that came and those that are wanted.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(answer, wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        raise Wrong(f"{what} is {_a(type(answer).__name__)}, but should be {_a(names)}.")


def _a(noun: str) -> str:
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
    """Compare a number, and recognise famous wrong ones.

    Args:
        answer: A number, or an array or tensor with one element.
        want: The right number.
        rel: Relative tolerance.
        abs_: Absolute tolerance.
        unit: Unit, for the message.
        wrong: Pairs of a famous wrong number and its diagnosis, most telling first.
        what: How the message calls the answer.

    Raises:
        Wrong: With the famous number's diagnosis, else with what the ratio to the right number hints at.
    """
    got = _number(answer, what)

    def near(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=rel, abs_tol=abs_)

    if near(got, want):
        return
    for value, diagnosis in wrong:
        if near(got, value):
            raise Wrong(diagnosis)
    hint = _ratio_hint(got, want, rel)
    where = "too large" if got > want else "too small"
    raise Wrong(f"{what} is {got:,.6g}{' ' + unit if unit else ''}: {where}.{hint}")


def _number(answer: Any, what: str) -> float:
    if isinstance(answer, str):
        raise Wrong(f"{what} is the text {answer!r}, but should be a number without quotes.")
    if isinstance(answer, bool) or callable(answer):
        raise Wrong(f"{what} is {_a(type(answer).__name__)}, but should be a number.")
    if hasattr(answer, "item"):
        if getattr(answer, "numel", lambda: getattr(answer, "size", 1))() != 1:
            raise Wrong(f"{what} has the shape {tuple(answer.shape)}, but should be a single number.")
        answer = answer.item()
    if not isinstance(answer, numbers.Real):
        raise Wrong(f"{what} is {_a(type(answer).__name__)}, but should be a number.")
    if math.isnan(answer):
        raise Wrong(f"{what} is NaN.")
    return float(answer)


#: Ratio of answer to truth -> what it usually means.
_RATIOS = (
    (-1.0, "The sign is the other way round."),
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


def _ratio_hint(got: float, want: float, rel: float) -> str:
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
        Wrong: With the choice's diagnosis, or saying that it is none of the choices.
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


def expect_close(
    answer: Any,
    want: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    what: str = "the tensor",
    wrong: Sequence[tuple[Any, str]] = (),
) -> None:
    """Compare a tensor, and recognise a transposed, scaled or famous wrong one.

    Args:
        answer: The student's tensor.
        want: The right tensor, of any shape.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        what: How the message calls the answer.
        wrong: Pairs of a famous wrong tensor and its diagnosis.

    Raises:
        Wrong: Saying whether type, shape or values differ, and by how much.
    """
    import torch

    if answer is None or answer is ...:
        raise Unanswered
    if not isinstance(answer, torch.Tensor):
        raise Wrong(f"{what} is {_a(type(answer).__name__)}, but should be a torch.Tensor.")
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
    """Run a function beside a reference on several inputs, and recognise famous wrong ones.

    Args:
        function: The student's function.
        reference: The right function.
        cases: Argument tuples; make them differ enough that no mutant passes by chance.
        mutants: Pairs of a famous wrong function and its diagnosis: it is given where the student's function agrees
            with the mutant on every case.
        rtol: Relative tolerance for numbers and tensors.
        atol: Absolute tolerance for numbers and tensors.
        what: How the message calls the function.

    Raises:
        Unanswered: If the function is a stub.
        Wrong: With a mutant's diagnosis, else with the first input where it differs.
    """
    if not callable(function):
        raise Wrong(f"{what} is {_a(type(function).__name__)}, but should be a function (without calling it).")
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
        raise Wrong(f"{what} raised {_named(error)}, called with {_arguments(case)}.") from error
    if result is ... or (result is None and unanswered(function)):
        raise Unanswered
    if result is None:
        raise Wrong(f"{what} returns None: is a `return` missing?")
    if any(_changed(a, b) for a, b in zip(arguments, case, strict=True)):
        raise Wrong(f"{what} changes its own arguments in place; work on a copy.")
    return result


def _changed(after: Any, before: Any) -> bool:
    """Whether a plain argument was changed in place; models and other objects are not looked into."""
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
        value = _number(got, f"what {what} returns")
        hint = _ratio_hint(value, float(want), rtol)
        raise Wrong(f"{what} returns {value:,.6g} for {_arguments(case)}, but should return {want:,.6g}.{hint}")
    raise Wrong(f"{what} returns {_short(got)} for {_arguments(case)}, but should return {_short(want)}.")


def _arguments(case: tuple) -> str:
    return "(" + ", ".join(_short(value) for value in case) + ")"


def _short(value: Any) -> str:
    if hasattr(value, "shape") and getattr(value, "ndim", 0):
        return f"<tensor {tuple(value.shape)}>"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
