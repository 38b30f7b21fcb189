"""Formal checks of lab notebooks, on their JSON alone; nothing is executed.

Each rule is a generator over one notebook; ``RULES`` lists them, so that a test can name the rule that failed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.notebooks.cells import code_lines
from shared.notebooks.collect import Notebook, code_cells
from shared.notebooks.output_rules import alt_text, outputs
from shared.notebooks.source_rules import (
    Found,
    cell_size,
    exercises,
    figure_titles,
    headings,
    links,
    no_hacks,
    parameters,
    reading,
    short_prose,
)

BLOCK = 6


@dataclass(frozen=True)
class Problem:
    """One problem of a notebook.

    Attributes:
        notebook: Which notebook.
        cell: Its cell, counted from 1 over all cells; 0 for the notebook as a whole.
        rule: The rule's name.
        message: What is wrong.
    """

    notebook: str
    cell: int
    rule: str
    message: str

    def __str__(self) -> str:
        place = f"{self.notebook}, cell {self.cell}" if self.cell else self.notebook
        return f"{place}: {self.message} [{self.rule}]"


def problems_of(notebook: Notebook, node: Any = None) -> list[Problem]:
    """Every problem of a notebook, by all rules.

    Args:
        notebook: Which one.
        node: Its content, if it should not be read from its file.
    """
    node = notebook.read() if node is None else node
    return [
        Problem(notebook.name, cell, name, message)
        for name, rule in RULES.items()
        for cell, message in rule(notebook, node)
    ]


RULES: dict[str, Callable[[Notebook, Any], Found]] = {
    "parameters": parameters,
    "exercises": exercises,
    "links": links,
    "headings": headings,
    "no-hacks": no_hacks,
    "cell-size": cell_size,
    "reading": reading,
    "short-prose": short_prose,
    "figure-titles": figure_titles,
    "outputs": outputs,
    "alt-text": alt_text,
}


def repeated_blocks(notebooks: Mapping[str, Any], size: int = BLOCK, limit: int = 3) -> list[Problem]:
    """Blocks of code that are repeated in several notebooks and so belong in ``shared``.

    Args:
        notebooks: Notebook nodes by name.
        size: Lines of code in a row that make a block (imports and comments do not count).
        limit: Number of notebooks from which on a block is a problem.

    Returns:
        One problem for each block, at its first place.
    """
    places: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for name, node in notebooks.items():
        for place, cell in code_cells(node):
            lines = [line for line in code_lines(cell.source) if not line.startswith(("import ", "from "))]
            for start in range(len(lines) - size + 1):
                places[tuple(lines[start : start + size])].setdefault(name, place)
    problems, reported = [], set()
    for block, where in places.items():
        if len(where) >= limit and tuple(where.items()) not in reported:  # a longer block overlaps itself
            reported.add(tuple(where.items()))
            name, place = next(iter(where.items()))
            message = f"{size} lines from `{block[0]}` on are repeated in {', '.join(where)}: move them to shared"
            problems.append(Problem(name, place, "repeated-block", message))
    return problems
