"""The peft-labs command: fast help, exit codes, and a whole run in a checkout of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from shared.cli import MODULES, app


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command with the package that lies in ``folder``."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PEFT_LABS")}
    return subprocess.run(
        [sys.executable, "-m", "shared.cli", *arguments], cwd=folder, capture_output=True, text=True,
        env=environment | {"PYTHONPATH": str(folder)}, timeout=120,
    )  # fmt: skip


def add_notebook(folder: Path, lab: str, source: str) -> None:
    parameters = nbformat.v4.new_code_cell(
        'PROFILE = None\nSEED = 0\nRUN_NAME = "default"', metadata={"tags": ["parameters"]}
    )
    node = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)])
    (folder / lab).mkdir()
    nbformat.write(node, folder / lab / "01-Setup.ipynb")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A checkout with the code of ours, two labs that record when they ran, and one that fails."""
    shutil.copy(root / "pyproject.toml", tmp_path)
    for path in [*root.glob("shared/*.py"), *root.glob("shared/notebooks/*.py")]:
        target = tmp_path / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    wait = "import time\nbegan = time.time()\ntime.sleep(2)\nopen('times', 'w').write(f'{began} {time.time()} {SEED}')"
    add_notebook(tmp_path, "Lab-A", wait)
    add_notebook(tmp_path, "Lab-B", wait)
    add_notebook(tmp_path, "Lab-C", "raise RuntimeError('it broke')")
    return tmp_path


def test_help_is_fast_because_nothing_heavy_is_imported(root: Path) -> None:
    heavy = ["torch", "transformers", "nbformat", "papermill"]
    code = f"import sys, shared.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done
    began = time.monotonic()
    assert cli(root, "--help").returncode == 0
    assert time.monotonic() - began < 3, "0.1 s where it was written; more than 3 means that a verb imports too early"


def test_every_subcommand_is_listed_and_leads_to_a_function(root: Path) -> None:
    listed = cli(root, "--help").stdout
    for verb in ("doctor", "run-labs", "outputs", *MODULES):
        assert f" {verb} " in listed
    for verb, (module, _) in MODULES.items():
        path = root / (module.replace(".", "/") + ".py")
        assert path.is_file(), f"{verb} leads to {module}, which is not there"
        assert "def main(" in path.read_text(encoding="utf8"), f"{module} has no main(argv)"


def test_a_forwarded_subcommand_passes_all_arguments_to_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = types.ModuleType("shared.finetune.train")
    module.main = lambda argv: seen.append(argv) or 3
    monkeypatch.setitem(sys.modules, "shared.finetune.train", module)
    result = CliRunner().invoke(app, ["train", "--config", "a.yaml", "training.max_steps=1", "--help", "--resume"])
    assert seen == [["--config", "a.yaml", "training.max_steps=1", "--help", "--resume"]]
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run-labs", "Lab-99"), 1, "there is no lab 'Lab-99'\n  fix: choose one of: Lab-A, Lab-B, Lab-C"),
        (("run-labs", "Lab-A", "--profile", "huge"), 1, "there is no profile 'huge'"),
        (("run-labs", "--sed", "1"), 2, "No such option"),
        (("run-labs", "--seed", "one"), 2, "Invalid value for '--seed'"),
        (("explode",), 2, "No such command"),
    ],
)
def test_errors_of_the_user_are_printed_without_a_traceback(
    checkout: Path, arguments: tuple, code: int, message: str
) -> None:
    done = cli(checkout, *arguments)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr, done


def test_labs_run_side_by_side_with_jobs(checkout: Path) -> None:
    done = cli(checkout, "run-labs", "Lab-A", "Lab-B", "--jobs", "2", "--seed", "5")
    assert done.returncode == 0, done
    a, b = ([float(x) for x in (checkout / lab / "times").read_text().split()] for lab in ("Lab-A", "Lab-B"))
    assert a[2] == b[2] == 5
    assert max(a[0], b[0]) < min(a[1], b[1]), "the two did not overlap"
    assert "\r" not in done.stdout and "runs/_executed/Lab-A/tiny/default" in done.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failing_lab_gives_exit_code_1_its_reason_and_its_copy(checkout: Path, jobs: str) -> None:
    done = cli(checkout, "run-labs", "Lab-A", "Lab-C", "--jobs", jobs)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for part in (
        "Lab-C/01-Setup.ipynb stopped",
        "RuntimeError: it broke",
        "_executed/Lab-C/tiny/default/01-Setup.ipynb",
    ):
        assert part in done.stderr, done
    assert (checkout / "Lab-A" / "times").exists(), "the other lab ran all the same"
