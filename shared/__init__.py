"""Plumbing of the PEFT labs: everything that is not the method itself."""

__version__ = "0.1.0"
