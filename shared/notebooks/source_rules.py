"""Rules on the source of a notebook: structure, links, headings, prose, code, figures."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from typing import Any

from shared.notebooks.cells import PATHS, code_lines, prose_words, tags
from shared.notebooks.collect import Notebook, code_cells
from shared.runs import STAGES

#: Lines of code in a cell: the limit, and the limit in a solution, which is collapsed.
MOST_LINES, MOST_LINES_SOLUTION = 25, 40
#: Words of prose in a markdown cell. About 120 are the aim (see CONTRIBUTING.md); this is the limit.
MOST_WORDS = 130
#: Functions of ``shared.plotting`` that draw a figure -> place of ``title`` among their arguments.
TITLE_PLACES = {
    "bars": 2, "codebook": 2, "intervals": 2, "latency_lines": 3, "lines": 3, "loss_curves": 1, "low_rank": 3,
    "matrix_heatmap": 2, "memory_bars": 2, "pareto": 2, "stacks": 1, "sweep": 4, "token_lengths": 3,
}  # fmt: skip
HACKS = re.compile(r"sys\.path\b|os\.chdir|^\s*[!%]+\s*(pip|conda|apt|cd)\b", re.M)


# --- rules: structure -----------------------------------------------------------------------------------------------

Found = Iterator[tuple[int, str]]


def parameters(notebook: Notebook, node: Any) -> Found:
    """One cell tagged ``parameters`` assigns PROFILE, SEED and RUN_NAME and nothing else."""
    tagged = [(i, cell) for i, cell in code_cells(node) if "parameters" in tags(cell)]
    if len(tagged) != 1:
        yield 0, f"{len(tagged)} cells are tagged 'parameters'; one is needed"
        return
    place, cell = tagged[0]
    targets = [t for s in ast.parse(cell.source).body if isinstance(s, ast.Assign) for t in s.targets]
    names = sorted(t.id for t in targets if isinstance(t, ast.Name))
    if names != ["PROFILE", "RUN_NAME", "SEED"]:
        yield place, f"the parameters are {names}, not PROFILE, SEED, RUN_NAME"


def exercises(notebook: Notebook, node: Any) -> Found:
    """Each exercise ends in its check and is followed by a collapsed solution that passes the same check."""
    cells = code_cells(node)
    if not any("exercise" in tags(cell) for _, cell in cells):
        yield 0, "no cell is tagged 'exercise'"
    for here, (place, cell) in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        call = re.search(r"checks\.\w+(?:\.\w+)*(?=\()", (code_lines(cell.source) or [""])[-1])
        if not call:
            yield place, "the last line of an exercise calls its check"
        after = cells[here + 1] if here + 1 < len(cells) else (place, None)
        if after[1] is None or "solution" not in tags(after[1]):
            yield place, "an exercise is followed by a cell tagged 'solution'"
        else:
            yield from _solution(*after, call[0] if call else "checks.")


def _solution(place: int, cell: Any, call: str) -> Found:
    asserts = [line for line in code_lines(cell.source) if line.startswith("assert ") and line.endswith(".passed")]
    if not any(call in line for line in asserts):
        yield place, f"a solution asserts `{call}(...).passed`"
    if not cell.metadata.get("jupyter", {}).get("source_hidden"):
        yield place, "a solution is collapsed (metadata jupyter.source_hidden: true)"


def links(notebook: Notebook, node: Any) -> Found:
    """The first cell links the notebook before and the one after."""
    first = node.cells[0].source if node.cells and node.cells[0].cell_type == "markdown" else ""
    here = STAGES.index(notebook.stage)
    for other in STAGES[max(0, here - 1) : here] + STAGES[here + 1 : here + 2]:
        if f"({other}.ipynb)" not in first:
            yield 1, f"the first cell does not link {other}.ipynb"


def headings(notebook: Notebook, node: Any) -> Found:
    """One title, at the top; ``## 1.``, ``## 2.`` … without a gap; no level is jumped over."""
    found = [(i, *heading) for i, cell in enumerate(node.cells, 1) for heading in _headings(cell)]
    if [level for _, level, _ in found].count(1) != 1 or found[0][:2] != (1, 1):
        yield 1, "a notebook has one title (`# …`), at its top"
    numbers = [(i, int(m[1])) for i, level, text in found if level == 2 and (m := re.match(r"(\d+)\.? ", text))]
    for expected, (place, number) in enumerate(numbers, 1):
        if number != expected:
            yield place, f"section {number} follows where {expected} is expected"
            break
    if not any(level == 2 and "Takeaways" in text for _, level, text in found):
        yield 0, "no section 'Takeaways'"
    for (_, before, _), (place, level, text) in zip(found, found[1:], strict=False):
        if level > before + 1:
            yield place, f"heading {text!r} jumps from level {before} to {level}"


def _headings(cell: Any) -> Iterator[tuple[int, str]]:
    if cell.cell_type != "markdown":
        return
    prose = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.M | re.S)
    for match in re.finditer(r"^(#{1,6})\s+(.+)$", prose, re.M):
        yield len(match[1]), match[2].strip()


# --- rules: code ----------------------------------------------------------------------------------------------------


def no_hacks(notebook: Notebook, node: Any) -> Found:
    """Nothing edits sys.path, changes the folder, installs, or names a path of one machine."""
    for place, cell in code_cells(node):
        for match in HACKS.finditer(cell.source):
            yield place, f"`{match[0].strip()}` is not allowed in a notebook"
        for match in PATHS.finditer(cell.source):
            yield place, f"{match[0]} is a path of a single machine"


def cell_size(notebook: Notebook, node: Any) -> Found:
    """A cell stays short enough to be read at once."""
    for place, cell in code_cells(node):
        lines, most = len(code_lines(cell.source)), MOST_LINES_SOLUTION if "solution" in tags(cell) else MOST_LINES
        if lines > most:
            yield place, f"{lines} lines of code; {most} are the most"


def reading(notebook: Notebook, node: Any) -> Found:
    """Prose leads: before nine of ten code cells, never more than three in a row, five words for a line of code."""
    cells = code_cells(node)
    sizes = [len(code_lines(cell.source)) for _, cell in cells]
    kinds = [cell.cell_type for cell in node.cells]
    after = sum(kinds[place - 2] == "markdown" for place, _ in cells if place > 1) / max(1, len(cells))
    longest = max(map(len, "".join("c" if kind == "code" else " " for kind in kinds).split()), default=0)
    words = sum(len(re.findall(r"\w+", cell.source)) for cell in node.cells if cell.cell_type == "markdown")
    if cells and statistics.median(sizes) > 12:
        yield 0, f"the median code cell has {statistics.median(sizes):.0f} lines; 12 are the most"
    if after < 0.9:
        yield 0, f"{100 * after:.0f} % of the code cells follow prose; 90 % should"
    if longest > 3:
        yield 0, f"{longest} code cells in a row; 3 are the most"
    if words < 5 * sum(sizes):
        yield 0, f"{words / max(1, sum(sizes)):.1f} words of prose for a line of code; 5 are the least"


def short_prose(notebook: Notebook, node: Any) -> Found:
    """A markdown cell stays short enough to be read at once."""
    for place, cell in enumerate(node.cells, 1):
        words = prose_words(cell.source) if cell.cell_type == "markdown" else 0
        if words > MOST_WORDS:
            yield place, f"{words} words of prose; {MOST_WORDS} are the most: divide the cell or shorten it"


def figure_titles(notebook: Notebook, node: Any) -> Found:
    """Every figure has a title, which states its finding."""
    for place, cell in code_cells(node):
        for call in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))):
            name = getattr(call.func, "attr", getattr(call.func, "id", "")) if isinstance(call, ast.Call) else ""
            if name in TITLE_PLACES and not _has_title(call, TITLE_PLACES[name]):
                yield place, f"`{name}(...)` has no title: state what the figure shows"


def _has_title(call: ast.Call, place: int) -> bool:
    return len(call.args) > place or any(word.arg in ("title", None) for word in call.keywords)
