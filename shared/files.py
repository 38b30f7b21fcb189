"""Atomic writes: files and folders that appear complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import PeftLabsError


def write_text(path: Path, text: str) -> Path:
    """Write a file atomically: a killed process leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with name.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    return path


def write_json(path: Path, obj: Any) -> Path:
    """Write an object as JSON, atomically."""
    return write_text(path, json.dumps(obj, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def new_folder(target: Path, overwrite: bool = True) -> Iterator[Path]:
    """A folder that is moved to its target when the block ends without an error, and is discarded otherwise.

    Args:
        target: The final path of the folder.
        overwrite: Whether an existing folder there is replaced.

    Yields:
        The temporary folder beside the target, to write into.

    Raises:
        PeftLabsError: If the target exists and must not be replaced, or is a file.
    """
    target = Path(target)
    if target.is_file() or (target.exists() and not overwrite and any(target.iterdir())):
        raise PeftLabsError(f"{target} already exists", fix="choose another folder, or remove it")
    partial = target.with_name(f".{target.name}.part")
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():  # killed between the two renames of an earlier call
        old.rename(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
