"""Errors that say what is wrong and how to fix it."""

from __future__ import annotations


class PeftLabsError(Exception):
    """The base of all errors that a user can fix.

    Args:
        message: What is wrong, naming the file, key or notebook.
        fix: What to do about it.
    """

    def __init__(self, message: str, fix: str = ""):
        self.message, self.fix = message, fix
        super().__init__(message + (f"\n  fix: {fix}" if fix else ""))


class RunError(PeftLabsError):
    """A run folder is missing, damaged, incomplete, or belongs to another run."""


class HardwareError(PeftLabsError):
    """This machine does not meet the requirements of the profile."""


class DataError(PeftLabsError):
    """A data set is missing, or its rows do not match the configuration."""


class ModelError(PeftLabsError):
    """A model is missing, gated or does not fit the method."""


class ConfigError(PeftLabsError):
    """A configuration has problems; all of them are listed.

    Args:
        message: What was read.
        problems: Every problem found, each printable.
        fix: What to do about them.
    """

    def __init__(self, message: str, problems: tuple = (), fix: str = ""):
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(message + listed, fix)
