"""Read the cells of a notebook: code lines, tags, prose, the text of outputs."""

from __future__ import annotations

import getpass
import re
import socket
from typing import Any

from shared.paths import repo_root

PATHS = re.compile(r"(?<![\w/.~-])/(?:home|root|tmp|Users|usr|opt|var|mnt|private)/[\w.-]+|\b[A-Za-z]:\\\w+|\bfile:///")
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
DATES = re.compile(rf"\b(?:19|20)\d\d-[01]\d-[0-3]\d\b|\b(?:{MONTHS})[a-z]*\.? \d{{1,2}},? (?:19|20)\d\d\b")


def code_lines(source: str) -> list[str]:
    """The lines of code of a cell, stripped: neither blank nor comment."""
    return [line.strip() for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def prose_words(source: str) -> int:
    """Words of a markdown cell that have to be read as prose: without code blocks, formulas, tables and addresses."""
    text = re.sub(r"^(```|~~~).*?^\1|\$\$.*?\$\$", "", source, flags=re.M | re.S)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))
    return sum(bool(re.search(r"\w", word)) for word in re.sub(r"\]\([^)]*\)", "]", text).split())


def output_text(output: Any) -> str:
    """All that a reader can read of one output; pictures are not text."""
    parts = [output.get("text", ""), output.get("evalue", ""), "\n".join(output.get("traceback", []))]
    parts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(part if isinstance(part, str) else "".join(part) for part in parts)


def private_words(text: str) -> list[str]:
    """What in a text belongs to one machine, one user or one day."""
    found = [match[0] for pattern in (PATHS, DATES) for match in pattern.finditer(text)]
    names = {str(repo_root()), socket.gethostname(), getpass.getuser()}
    # Short names such as 'vm' or 'me', and those everybody has, would be found in ordinary words.
    names = {name for name in names if len(name) > 4 and name not in ("localhost", "student", "jovyan")}
    return found + [name for name in sorted(names) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
