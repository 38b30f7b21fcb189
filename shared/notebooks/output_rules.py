"""Rules on the stored outputs of a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shared.notebooks.cells import output_text, private_words, tags
from shared.notebooks.collect import Notebook, code_cells
from shared.notebooks.source_rules import Found

#: What Python prints of an object without a text form of its own, such as a pandas Styler: new in each run.
ADDRESSES = re.compile(r"\b0x[0-9a-fA-F]{8,}\b")
WARNINGS = re.compile(r"\b[A-Za-z]*Warning\b|\bwarning:|\bdeprecat", re.I)


def outputs(notebook: Notebook, node: Any) -> Found:
    """The outputs are one clean run from top to bottom: no error, no warning, nothing of one machine or day."""
    cells = code_cells(node)
    counts = [cell.get("execution_count") for _, cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield 0, "the cells were not executed once from top to bottom"
    for place, cell in cells:
        for output in cell.get("outputs", []):
            yield from ((place, message) for message in _output_problems(cell, output))


def _output_problems(cell: Any, output: Any) -> Iterator[str]:
    text = output_text(output)
    if output.output_type == "error" and "raises-exception" not in tags(cell):
        yield f"error output: {output.get('ename')}: {str(output.get('evalue')).splitlines()[:1]}"
    if match := WARNINGS.search(text):
        line = next(line for line in text.splitlines() if match[0] in line)
        yield f"a warning in the output: {line.strip()[:100]}"
    if match := ADDRESSES.search(text):
        yield f"a memory address in the output, {match[0]}: show frames with `shared.tables.table`"
    for word in private_words(text):
        yield f"{word!r} in the output belongs to one machine or day"


def alt_text(notebook: Notebook, node: Any) -> Found:
    """Each picture says in words what it shows (``shared.plotting.show(figure, alt)``)."""
    for place, cell in code_cells(node):
        for output in cell.get("outputs", []):
            kinds = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            for kind in kinds:
                if len(output.get("metadata", {}).get(kind, {}).get("alt", "").split()) < 3:
                    yield place, f"the {kind} has no alt text"
