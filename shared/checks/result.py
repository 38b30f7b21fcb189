"""Check results: what a check says about an answer, and the decorator that makes a check of a function."""

from __future__ import annotations

import dis
import functools
import html
import inspect
from collections.abc import Callable
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
        """A sign, so that the result does not depend on colour."""
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
    """Make a check of a function that raises :class:`Wrong` or returns None or an explanation.

    Args:
        title: The exercise, as the result shows it.
    """

    def decorate(function: Callable[..., str | None]) -> Callable[..., CheckResult]:
        @functools.wraps(function)
        def run(*answers: Any, **named: Any) -> CheckResult:
            if any(unanswered(answer) for answer in (*answers, *named.values())):
                return CheckResult(False, False, title)
            try:
                explanation = function(*answers, **named)
            except (Unanswered, NotImplementedError):
                return CheckResult(False, False, title)
            except Wrong as wrong:
                return CheckResult(False, True, title, str(wrong))
            except (Exception, SystemExit) as error:  # the student's code may raise anything
                return CheckResult(False, True, title, f"Your code raised {describe_error(error)}.")
            return CheckResult(True, True, title, explanation or "")

        return run

    return decorate


def describe_error(error: BaseException) -> str:
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
