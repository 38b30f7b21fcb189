"""Errors that say what is wrong and how to cure it."""

from __future__ import annotations


class PeftLabsError(Exception):
    """The base of all errors that a user can cure.

    Args:
        message: What is wrong, naming the file, key or notebook.
        cure: What to do about it.
    """

    def __init__(self, message: str, cure: str = ""):
        self.message, self.cure = message, cure
        super().__init__(message + (f"\n  cure: {cure}" if cure else ""))


class RunError(PeftLabsError):
    """A run folder is missing, damaged, foreign or half-written."""


class HardwareError(PeftLabsError):
    """This machine cannot do what the profile asks for."""


class DataError(PeftLabsError):
    """A data set is missing, or its rows are not what the configuration says."""


class ModelError(PeftLabsError):
    """A model is missing, gated or does not fit the method."""


class ConfigError(PeftLabsError):
    """A configuration has faults; all of them are listed.

    Args:
        message: What was read.
        faults: Every fault found, each printable.
        cure: What to do about them.
    """

    def __init__(self, message: str, faults: tuple = (), cure: str = ""):
        self.faults = tuple(faults)
        listed = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(message + listed, cure)
