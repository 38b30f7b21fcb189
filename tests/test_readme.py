"""The pages are true: their commands exist, their links lead somewhere, the file map is complete, the shares follow."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ("gates", "reference score", "reference scores")  # how the column of a lab's README is headed
README = (ROOT / "README.md").read_text(encoding="utf8")
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("Lab-*/*.md")])


def commands_of(text: str) -> list[str]:
    """The lines of a page's bash blocks, without comments, once each."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


COMMANDS = sorted({command for page in PAGES for command in commands_of(page.read_text(encoding="utf8"))})
# What the pages may tell to run besides make and peft-labs: (first word, how its existence is shown).
OTHERS = {
    "source": lambda words: words[1] == ".venv/bin/activate",
    "jupyter": lambda words: (ROOT / words[2]).exists(),
    ".venv/bin/jupytext": lambda words: all((ROOT / w).exists() for w in words if w.endswith(".ipynb")),
    ".venv/bin/pre-commit": lambda words: (ROOT / ".pre-commit-config.yaml").exists(),
    "conda": lambda words: (ROOT / "environment.yml").exists(),
    "git": lambda words: words[1] in ("clone", "pull"),
    "cd": lambda words: True,
    "python": lambda words: (ROOT / words[1]).is_file(),
    "TINY=1": lambda words: os.access(ROOT / words[1], os.X_OK),
}


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@cache
def help_of(verb: str) -> subprocess.CompletedProcess:
    """A command's help; a process for each command, not for each place where the pages name it."""
    return run(sys.executable, "-m", "shared.cli", verb, "--help")


def test_the_pages_have_commands() -> None:
    assert {"make demo", "make test"} <= set(commands_of(README))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_a_dry_form_that_works(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        done = run("make", "--dry-run", *words[1:])
    elif words[0].removeprefix(".venv/bin/") == "peft-labs":
        done = help_of(words[1])
        options = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
        missing = [option for option in options if option not in done.stdout + done.stderr]
        assert not missing, f"{words[1]} knows no {missing}"
        for name in (word for word in words[2:] if word.startswith("Lab-")):
            assert (ROOT / name).exists(), name
    elif words[:2] == ["python", "-m"]:
        done = run(sys.executable, "-m", words[2], "--help")
    else:
        assert words[0] in OTHERS and OTHERS[words[0]](words), f"cannot be shown to work: {command}"
        return
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_targets_in_the_text_exist() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.M))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf8"))}
    assert named <= known, f"no such target: {sorted(named - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf8"), flags=re.M | re.S)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_file_map_names_exactly_what_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    (block,) = re.findall(r"## File map\n\n```\n(.*?)```", page, re.S)
    named = [line.split()[0] for line in block.splitlines()]
    files = [Path(name) for name in run("git", "ls-files").stdout.splitlines() if (ROOT / name).exists()]
    assert files, "git lists no files"
    there = {path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in files}
    inside = [path.parts for path in files if path.parts[0] == "shared" and path.parts[1] != "__init__.py"]
    there |= {"shared/" + parts[1] + ("/" if len(parts) > 2 else "") for parts in inside}
    assert sorted(named) == sorted(there)


def test_the_table_lists_the_ten_labs_and_marks_those_that_are_not_there() -> None:
    rows = re.findall(r"^\| (?:\[([\w.-]+)\]\([\w.-]+\)|(Lab-[\w.-]+) \(planned\)) \|", README, re.M)
    assert len(rows) == 10
    for there, planned in rows:
        assert (ROOT / (there or planned) / "01-Setup.ipynb").exists() == bool(there), there or planned


def share(trainable: float, total: int) -> float:
    return 100 * trainable / total


# Sizes of the frozen base models; they are counted on the meta device in tests of shared.parameters.
LLAMA, BERT, GPT2, T5 = 6_738_415_616, 109_482_240, 124_439_808, 60_506_624
L, D, FF = 12, 768, 3072  # BERT-base and GPT-2 alike
SHARES = {
    "r=16: 0.593 %": share(32 * 16 * (4 * 2 * 4096 + 3 * (4096 + 11008)), LLAMA),
    "m=64: 2.17 %": share(2 * L * (2 * 64 * D + D + 64), BERT),
    "m=48: 0.82 %": share(L * (2 * 48 * D + D + 48), BERT),
    "T5-small, p=20: 0.017 %": share(20 * 512, T5),
    "GPT-2, p=20: 0.296 %": share(2 * 20 * L * D, GPT2),
    "GPT-2: 0.044 %": share(L * (2 * D + FF), GPT2),
    "BERT-base: 0.094 %": share(L * (7 * D + FF) + 2 * D, BERT),
    "BERT-base, p=20: 0.014 %": share(20 * D, BERT),
    "pd+3(d²+d): 1.63 %": share(20 * D + 3 * (D * D + D), BERT),
    "BERT-base, p=20: 0.337 %": share(2 * 20 * L * D, BERT),
}


@pytest.mark.parametrize("text", SHARES)
def test_the_shares_follow_from_their_formulas(text: str) -> None:
    assert text in README
    (printed,) = re.findall(r"([\d.]+) %$", text)
    assert f"{SHARES[text]:.{len(printed.split('.')[1])}f}" == printed


@pytest.mark.parametrize("page", sorted(ROOT.glob("Lab-*/README.md")), ids=lambda page: page.parent.name)
def test_what_a_lab_quotes_from_the_reference_scores_is_there(page):
    """A column headed "reference score" must follow when the reference scores are measured anew."""
    found = (ROOT / "shared" / "tiny" / "REFERENCE_SCORES.md").read_text(encoding="utf8")
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]] for line in page.read_text(encoding="utf8").splitlines()
    ]
    column = None
    for row in rows:
        column = next(
            (at for at, cell in enumerate(row) if cell.endswith(REFERENCE)),
            column if row else None,
        )
        quoted = re.fullmatch(r"([\d.]+ ± [\d.]+) %", row[column]) if column is not None and len(row) > column else None
        assert not quoted or f"| {quoted[1]} |" in found, f"{page.parent.name}: {' | '.join(row)}"
