"""Paths: the checkout, the labs, the run folders and the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from shared.errors import PeftLabsError


def repo_root() -> Path:
    """The checkout that the imported package belongs to.

    Returns:
        The folder that holds ``pyproject.toml`` and the labs.

    Raises:
        PeftLabsError: If another package called ``shared`` shadows ours, or ours was installed without its checkout.
    """
    root = Path(__file__).resolve().parent.parent
    project = root / "pyproject.toml"
    if not project.is_file() or 'name = "peft-labs"' not in project.read_text(encoding="utf8"):
        raise PeftLabsError(
            f"the package 'shared' was imported from {Path(__file__).parent}, which is not a PEFT Labs checkout",
            fix="run `make setup` in the checkout and choose its .venv as the kernel",
        )
    return root


def lab_folder(lab: str) -> Path:
    """The folder of one lab.

    Args:
        lab: The folder's name, for example ``Lab-01-LoRA``.

    Raises:
        PeftLabsError: If the checkout has no such lab.
    """
    folder = repo_root() / lab
    if not folder.is_dir():
        known = ", ".join(sorted(p.name for p in repo_root().glob("Lab-*")))
        raise PeftLabsError(f"there is no lab {lab!r}", fix=f"choose one of: {known}")
    return folder


def runs_root() -> Path:
    """The folder above all run folders: ``PEFT_LABS_RUNS``, else ``runs/`` in the checkout."""
    return Path(os.environ.get("PEFT_LABS_RUNS") or repo_root() / "runs")


def cache_root() -> Path:
    """The folder for fetched models and data: ``PEFT_LABS_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("PEFT_LABS_CACHE") or platformdirs.user_cache_path("peft-labs"))
