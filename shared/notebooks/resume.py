"""Which notebooks were executed before with the same code, parameters and configuration."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from shared.notebooks.collect import Notebook, fingerprint
from shared.notebooks.execution import Run
from shared.paths import repo_root
from shared.runs import RunFolder


def run_key(notebook: Notebook, node: Any, run: Run) -> str:
    """Hash of what determines a notebook's result: code, parameters, configuration, versions."""
    root = repo_root()
    files = [root / notebook.lab / "configs" / f"{run.profile}.yaml", root / "requirements.lock"]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in files]
    text = json.dumps([fingerprint(node), run.parameters, *contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _state(notebook: Notebook, run: Run) -> tuple[Path, dict[str, Any]]:
    path = run.executed(notebook.lab) / "state.json"
    try:
        return path, json.loads(path.read_text(encoding="utf8"))
    except (FileNotFoundError, ValueError):
        return path, {}


def _manifest(notebook: Notebook, run: Run) -> str:
    """Hash of the stage's manifest in the run folder, or an empty text: results may be deleted or remade."""
    path = RunFolder(notebook.lab, run.profile, run.run_name).path / notebook.stage / "manifest.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def is_done(notebook: Notebook, run: Run, key: str) -> bool:
    return _state(notebook, run)[1].get(notebook.stage) == {"key": key, "manifest": _manifest(notebook, run)}


def remember(notebook: Notebook, run: Run, key: str | None) -> None:
    """Record atomically that a notebook is done (``None``: is not)."""
    path, state = _state(notebook, run)
    state.pop(notebook.stage, None)
    if key is not None:
        state[notebook.stage] = {"key": key, "manifest": _manifest(notebook, run)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1, sort_keys=True), encoding="utf8")
    os.replace(partial, path)
