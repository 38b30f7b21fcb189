"""What the exercise checks are made of.

A check is a function with the decorator :func:`check`. It looks at the student's answer with the ``expect_*`` helpers
(or raises :class:`Wrong` itself) and returns None, or a sentence that is shown when all is right::

    @check("How many parameters does LoRA add?")
    def lora_parameters(answer):
        expect_number(answer, 294_912, wrong=[(147_456, "you counted q or v, not both")])
        return "q and v in 12 layers: 12 x 2 x r (d + d)"

Whatever the answer is, calling a check returns a :class:`CheckResult` and does not raise.
"""

from __future__ import annotations

from shared.checks.functions import agree, expect_close, expect_function
from shared.checks.result import CheckResult, Unanswered, Wrong, check, unanswered
from shared.checks.values import expect_choice, expect_number, expect_type

__all__ = [
    "CheckResult", "Unanswered", "Wrong", "agree", "check", "expect_choice", "expect_close", "expect_function",
    "expect_number", "expect_type", "unanswered",
]  # fmt: skip
