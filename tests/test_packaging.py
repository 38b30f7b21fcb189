"""The lock, pyproject.toml, environment.yml and what is installed agree; the set-up says what is wrong."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What a machine's own build of torch brings: not ours to pin, torch fixes them exactly.
BROUGHT_BY_TORCH = re.compile(r"^(nvidia-.*|triton.*|pytorch-triton.*|cuda-.*)$")


def lock_of(root: Path) -> dict[str, Requirement]:
    """The lock's requirements by canonical name."""
    lines = (root / "requirements.lock").read_text(encoding="utf8").splitlines()
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def project_of(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))


def direct(root: Path) -> list[Requirement]:
    """Direct dependencies, those for development too."""
    project = project_of(root)["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    return [Requirement(line) for line in lines]


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def pin(requirement: Requirement) -> str:
    """The exact version of a lock line."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and "+" not in specifier.version and "*" not in specifier.version, requirement
    return specifier.version


def test_every_direct_dependency_is_pinned_inside_its_range_and_under_the_same_condition(root: Path) -> None:
    lock = lock_of(root)
    for requirement in direct(root):
        pinned = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin(pinned)), f"{pinned} is not within {requirement}"
        assert str(pinned.marker) == str(requirement.marker), requirement.name


def test_what_is_installed_is_what_the_lock_says(root: Path) -> None:
    for name, requirement in lock_of(root).items():
        if applies(requirement):
            installed = importlib.metadata.version(name).split("+")[0]
            assert installed == pin(requirement), f"{name} {installed}, locked {pin(requirement)}: run `make setup`"


def test_the_lock_holds_everything_that_is_needed(root: Path) -> None:
    lock, missing = lock_of(root), set()
    todo = [name for name, requirement in lock.items() if applies(requirement)]
    for name in todo:
        for line in importlib.metadata.distribution(name).requires or ():
            requirement = Requirement(line)
            needed = canonicalize_name(requirement.name)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and needed not in lock and not BROUGHT_BY_TORCH.match(needed):
                missing.add(f"{needed} (for {name})")
    assert not missing, f"not in requirements.lock: {sorted(missing)}"


def test_what_the_package_imports_is_a_direct_dependency(root: Path) -> None:
    names = {canonicalize_name(requirement.name) for requirement in direct(root)}
    providers = importlib.metadata.packages_distributions()
    unknown = set()
    for path in sorted((root / "shared").rglob("*.py")) + sorted((root / "tests").glob("*.py")):
        for module in re.findall(r"^\s*(?:import|from) ([A-Za-z_]\w*)", path.read_text(encoding="utf8"), re.M):
            for_module = {canonicalize_name(name) for name in providers.get(module, [])}
            if module not in sys.stdlib_module_names and for_module and not for_module & (names | {"peft-labs"}):
                unknown.add(f"{module} ({path.relative_to(root)})")
    assert not unknown, f"imported, but not in pyproject.toml: {sorted(unknown)}"


def test_no_file_names_a_registry_or_a_path_of_one_machine(root: Path) -> None:
    pattern = re.compile(r"download\.pytorch\.org|pypi\.org/simple|--(?:extra-)?index-url|--find-links|/home/\w|/root/")
    names = ["pyproject.toml", "requirements.lock", "environment.yml", "Makefile", ".ci/run", ".ci/set_up.py"]
    names += [".github/workflows/ci.yml", ".pre-commit-config.yaml", ".devcontainer/devcontainer.json"]
    for name in names:
        assert not pattern.search((root / name).read_text(encoding="utf8")), name


def test_conda_installs_the_same_lock(root: Path) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "-r requirements.lock" in pip and pip[-1] == "-e ."
    others = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert {re.split("[=<> ]", entry)[0] for entry in others} <= {"python", "pip"}, "versions stand in the lock alone"


def test_ci_covers_each_python_that_the_readme_promises(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text(encoding="utf8"))
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == "bash .ci/run"


def test_package_data_ships_everything_that_is_no_code(root: Path) -> None:
    patterns = project_of(root)["tool"]["setuptools"]["package-data"]["shared"]
    files = [path for path in (root / "shared").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    left = [path for path in files if path.suffix != ".py" and not any(path.match(pattern) for pattern in patterns)]
    assert not left, f"add their suffix to package-data: {left}"


# --- the set-up script ---------------------------------------------------------------------------------------------


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A checkout without .venv that holds only what the set-up reads."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/set_up.py", "Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    path = environment.pop("PATH", "/usr/bin:/bin")
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PATH": path, **environment})


def test_a_finished_set_up_does_nothing_and_another_lock_does_it_again(copy: Path) -> None:
    import hashlib

    python = copy / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    text = b"".join((copy / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))
    stamp = {"digest": hashlib.sha256(text).hexdigest(), "torch": "cpu"}
    (copy / ".venv" / "set-up.json").write_text(json.dumps(stamp))
    done = make(copy, "setup", f"PYTHON={sys.executable}")
    assert (done.returncode, done.stdout) == (0, ""), done
    # From here on pip must be asked: one that always fails shows it.
    python.unlink()
    python.write_text('#!/bin/sh\ncase "$1" in -c) exit 0;; esac\necho "no network"; exit 1\n')
    python.chmod(0o755)
    (copy / "requirements.lock").write_text((copy / "requirements.lock").read_text() + "\n# changed\n")
    again = make(copy, "setup", f"PYTHON={sys.executable}")
    assert again.returncode != 0 and "[1/3]" in again.stdout and "no network" in again.stdout
    assert "fix: read .venv/set-up.log" in again.stderr
    assert not (copy / ".venv" / "set-up.json").exists(), "a set-up that failed is not taken for finished"


def test_set_up_without_a_new_enough_python_says_so(copy: Path) -> None:
    tools = copy / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "make", "env"):
        (tools / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name} here"))
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tools / "python3").chmod(0o755)
    done = make(copy, "setup", PATH=str(tools))
    assert done.returncode != 0 and "no Python 3.11 or newer" in done.stderr and "fix:" in done.stderr


def test_torch_builds_go_through_uv_and_keep_the_version(root: Path) -> None:
    sys.path.insert(0, str(root / ".ci"))
    try:
        import set_up
    finally:
        sys.path.remove(str(root / ".ci"))
    calls: list[list[str]] = []
    set_up.run = lambda title, command, packages=0: calls.append(command)
    set_up.install("cpu")
    (torch,) = [call for call in calls if any("--torch-backend" in word for word in call)]
    assert "--torch-backend=cpu" in torch and f"torch=={pin(lock_of(root)['torch'])}" in torch
    calls.clear()
    set_up.install("default")
    assert calls[0][-1].startswith("torch==") and not any("uv" in call for call in calls), "torch first, by plain pip"
