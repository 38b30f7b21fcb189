"""What a tokenizer read from a GGUF file leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def drop_gguf_copy(folder: Path) -> None:
    """Remove the ``tokenizer.model`` that a tokenizer read from a GGUF file leaves: it is the whole GGUF again."""
    file = folder / "tokenizer.model"
    if file.is_file() and file.open("rb").read(4) == b"GGUF":
        file.unlink()
