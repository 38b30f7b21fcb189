"""Checks for the exercises: each gives a diagnosis, and none raises an exception in the notebook.

``checks.lab01`` and its siblings are imported when they are first used, so that ``from shared import checks`` is cheap.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from shared.checks.core import (
    CheckResult,
    Unanswered,
    Wrong,
    check,
    expect_choice,
    expect_close,
    expect_function,
    expect_number,
    expect_type,
    unanswered,
)

__all__ = [
    "CheckResult", "Unanswered", "Wrong", "check", "expect_choice", "expect_close", "expect_function", "expect_number",
    "expect_type", "unanswered",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name.startswith("lab"):
        return importlib.import_module(f"shared.checks.{name}")
    raise AttributeError(f"module 'shared.checks' has no attribute {name!r}")
