"""Find labs and notebooks in their order, and identify their code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import PeftLabsError
from shared.paths import lab_folder, repo_root
from shared.runs import STAGES


@dataclass(frozen=True)
class Notebook:
    """One notebook of one lab.

    Attributes:
        lab: The lab's folder name, for example ``Lab-01-LoRA``.
        stage: One of :data:`shared.runs.STAGES`.
    """

    lab: str
    stage: str

    @property
    def path(self) -> Path:
        """Its path."""
        return lab_folder(self.lab) / f"{self.stage}.ipynb"

    @property
    def name(self) -> str:
        """Its name in messages, for example ``Lab-01-LoRA/02-Train.ipynb``."""
        return f"{self.lab}/{self.stage}.ipynb"

    def read(self) -> Any:
        """The notebook as an nbformat 4 node."""
        return read_notebook(self.path)


def read_notebook(path: Path) -> Any:
    """A notebook file as an nbformat 4 node.

    Raises:
        PeftLabsError: If the file is not a notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises several unrelated types here
        raise PeftLabsError(f"{path.name} is not a readable notebook: {error}", fix="restore it from git") from error


def write_notebook(path: Path, notebook: Any) -> None:
    """Write a notebook atomically: a killed process leaves the old file or the new one."""
    import nbformat

    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf8")
    os.replace(partial, path)


def shown(path: Path) -> str:
    """A path for messages: relative to the working directory where it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def labs_with_notebooks() -> list[str]:
    """The labs that have at least one notebook, in their order."""
    return sorted(folder.name for folder in repo_root().glob("Lab-*") if any(folder.glob("*.ipynb")))


def notebooks_of(lab: str, stages: Sequence[str] = ()) -> list[Notebook]:
    """The notebooks of a lab that are there, 01 before 04.

    Args:
        lab: The lab's folder name.
        stages: Restrict to these; ``02`` is enough for ``02-Train``.

    Raises:
        PeftLabsError: If there is no such lab or stage, or a stage asked for has no notebook.
    """
    lab_folder(lab)
    wanted = [stage_named(stage) for stage in stages] or STAGES
    there = [Notebook(lab, stage) for stage in STAGES if stage in wanted]
    missing = [notebook.name for notebook in there if not notebook.path.is_file()]
    if missing and (stages or len(missing) == len(there)):
        raise PeftLabsError(f"{', '.join(missing)}: not there", fix="check with `git status` whether they were deleted")
    return [notebook for notebook in there if notebook.path.is_file()]


def stage_named(text: str) -> str:
    """The stage that a user means by ``02``, ``2`` or ``02-Train``.

    Raises:
        PeftLabsError: If it is none.
    """
    for stage in STAGES:
        if text in (stage, stage[:2], stage[1], f"{stage}.ipynb"):
            return stage
    raise PeftLabsError(f"there is no stage {text!r}", fix=f"choose from {', '.join(STAGES)} (or 01 ... 04)")


def code_cells(notebook: Any) -> list[tuple[int, Any]]:
    """The code cells with their place among all cells, counted from 1 as a reader counts."""
    return [(i, cell) for i, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code" and cell.source.strip()]


def fingerprint(notebook: Any) -> str:
    """SHA-256 of the code cells' sources: it changes with the code, and not with the text."""
    return hashlib.sha256("\0".join(cell.source for _, cell in code_cells(notebook)).encode()).hexdigest()
