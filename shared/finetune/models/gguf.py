"""Cleaning up after a tokenizer that was read from a GGUF file."""

from __future__ import annotations

from pathlib import Path


def drop_gguf_copy(folder: Path) -> None:
    """Remove the ``tokenizer.model`` that saving a tokenizer from a GGUF file writes: a copy of the whole GGUF."""
    file = folder / "tokenizer.model"
    if file.is_file() and file.open("rb").read(4) == b"GGUF":
        file.unlink()
