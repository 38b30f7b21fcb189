"""Modules and functions stay short enough to be read: 300 lines and 60 lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE_LINES, FUNCTION_LINES = 300, 60
FOLDERS = ("shared", "tests", "benchmarks", "examples", ".ci")


def too_long(folder: Path) -> Iterator[str]:
    """Every module and function of a folder that is over its limit."""
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf8")
        lines = len(text.splitlines())
        if lines > MODULE_LINES:
            yield f"{file}: {lines} lines; at most {MODULE_LINES} are allowed"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES:
                    yield f"{file}:{node.lineno}: {node.name} has {length} lines; at most {FUNCTION_LINES} are allowed"


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_and_functions_are_short(root, folder):
    assert list(too_long(root / folder)) == []


def test_long_ones_are_found(tmp_path):
    (tmp_path / "long.py").write_text("def f():\n" + "    x = 1\n" * 300)
    (tmp_path / "short.py").write_text("def f():\n" + "    x = 1\n" * 59)
    module, function = too_long(tmp_path)
    assert "long.py: 301 lines" in module and "f has 301 lines" in function
