"""The section "Your data in five minutes" of README.md: its files, its commands and what they print.

python tests/support/readme_commands.py     # runs the commands and writes their output into README.md
"""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from shared.cli import MODULES

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TITLE = "## Your data in five minutes\n"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
FILES = {"csv": "reviews.csv", "yaml": "reviews.yaml"}


@dataclass(frozen=True)
class Step:
    """A command of the section.

    Attributes:
        command: As it is written.
        output: What the section says it prints; empty if it shows no output.
    """

    command: str
    output: str


def section(text: str) -> str:
    """The section of the README."""
    start = text.index(TITLE)
    return text[start : text.index("\n## ", start + 1) + 1]


def files(text: str) -> dict[str, str]:
    """File name -> content, as the section shows them."""
    return {FILES[kind]: body for kind, body in BLOCK.findall(section(text)) if kind in FILES}


def steps(text: str) -> list[Step]:
    """The commands, each with the output block that follows it."""
    found, blocks = [], BLOCK.findall(section(text))
    for (kind, body), (after, output) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "bash":
            found.append(Step(body.replace("\\\n", "").strip(), output if after == "text" else ""))
    return found


def run(command: str, folder: Path) -> str:
    """Run a ``peft-labs`` command in a folder, in this process: a process of its own takes ten seconds to import.

    Returns:
        Its standard output.

    Raises:
        AssertionError: If it fails.
    """
    name, verb, *words = shlex.split(command)
    assert name == "peft-labs", command
    printed, before = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(printed):
            code = importlib.import_module(MODULES[verb][0]).main(words)
    finally:
        os.chdir(before)
    assert not code, f"{command}\n{printed.getvalue()}"
    return printed.getvalue()


def without_measurements(text: str) -> list[str]:
    """The lines of an output without what differs between machines: times, memory, losses, and rounding errors."""
    text = re.sub(r"\d+(\.\d+)?e-\d+", "…", text)
    text = re.sub(r"[\d.,]+ (tokens/s|MiB|s\b)|[\d.]+ (before|after)", "…", text)
    return [line.rstrip() for line in text.splitlines()]


def write(folder: Path) -> None:
    """Run all commands and write their output into the README."""
    text = README.read_text(encoding="utf8")
    for name, body in files(text).items():
        (folder / name).write_text(body, encoding="utf8")
    new = section(text)
    for step in steps(text):
        found = run(step.command, folder)
        if step.output:
            new = new.replace(f"```text\n{step.output}```", f"```text\n{found.rstrip()}\n```", 1)
    README.write_text(text.replace(section(text), new), encoding="utf8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
