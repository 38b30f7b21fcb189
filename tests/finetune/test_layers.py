"""Imports point one way: the layers of the framework, no cycles, nothing below it imports it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib


def lint(folder, config) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    return subprocess.run([*command, "--no-cache", "--config", str(config)], cwd=folder, capture_output=True, text=True)


def test_imports_point_one_way(root):
    found = lint(root, root / "pyproject.toml")
    assert found.returncode == 0, found.stdout
    assert "0 broken" in found.stdout


def test_an_import_from_a_layer_above_is_found(root, tmp_path):
    """The contract can fail: a copy of the framework whose lowest layer imports the highest."""
    ignored = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(root / "shared", tmp_path / "shared", ignore=ignored)
    shutil.copy(root / "pyproject.toml", tmp_path)
    module = tmp_path / "shared/finetune/common/progress.py"
    module.write_text(module.read_text() + "\n\ndef _late():\n    import shared.finetune.validation.estimate\n")
    found = lint(tmp_path, tmp_path / "pyproject.toml")
    assert found.returncode == 1
    assert "shared.finetune.common.progress -> shared.finetune.validation.estimate" in found.stdout


def test_the_docstring_lists_the_layers_of_the_contract(root):
    import shared.finetune

    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["tool"]["importlinter"]["contracts"]
    layers = [layer for layer in contracts[0]["layers"][1:]]
    block = shared.finetune.__doc__.split("::\n")[1].split("Imports for")[0]
    listed = [line.strip().split("   ")[0].split("     ")[0].strip() for line in block.splitlines() if line.strip()]
    assert listed[1:] == layers
    parts = {path.name for path in (root / "shared/finetune").iterdir() if (path / "__init__.py").is_file()}
    assert {name for layer in layers for name in layer.split(" | ")} == parts
