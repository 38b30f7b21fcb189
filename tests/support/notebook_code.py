"""Take code out of a lab's notebooks, so that tests judge what students read and not a copy of it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

from shared.paths import lab_folder


def cells(lab: str, stage: str, tag: str | None = None) -> list[str]:
    """Sources of a notebook's code cells, only those with the tag if one is named."""
    path: Path = lab_folder(lab) / f"{stage}.ipynb"
    found = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [cell.source for cell in found if tag is None or tag in cell.metadata.get("tags", [])]


def _statements(sources: list[str], kinds: tuple[type, ...]) -> list[ast.stmt]:
    return [node for source in sources for node in ast.parse(source).body if isinstance(node, kinds)]


def _run(statements: list[ast.stmt], namespace: dict[str, Any]) -> None:
    module = ast.Module(body=statements, type_ignores=[])
    exec(compile(module, "notebook", "exec"), namespace)  # noqa: S102 - our own committed notebook


def definitions(lab: str, stage: str, *names: str, **given: Any) -> dict[str, Any]:
    """Functions and classes of a notebook by name, with the notebook's imports around them.

    Raises:
        KeyError: If the notebook does not define one of the names.
    """
    sources = cells(lab, stage)
    wanted = [n for n in _statements(sources, (ast.FunctionDef, ast.ClassDef)) if n.name in names]
    missing = set(names) - {node.name for node in wanted}
    if missing:
        raise KeyError(f"{lab}/{stage}.ipynb defines no {sorted(missing)}")
    namespace: dict[str, Any] = dict(given)
    _run(_statements(sources, (ast.Import, ast.ImportFrom)) + wanted, namespace)
    return {name: namespace[name] for name in names}


def solutions(lab: str, stage: str) -> dict[str, Any]:
    """Everything that the notebook's solution cells define: name (ending in ``_solution``) -> value."""
    sources = cells(lab, stage)
    namespace: dict[str, Any] = {}
    _run(_statements(sources, (ast.Import, ast.ImportFrom)), namespace)
    kept = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.Import, ast.ImportFrom)
    _run(_statements(cells(lab, stage, "solution"), kept), namespace)
    return {name: value for name, value in namespace.items() if name.endswith("_solution")}
