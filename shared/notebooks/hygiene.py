"""What may not be wrong with a lab notebook, read from its JSON alone; nothing is executed.

Each rule is a generator over one notebook; ``RULES`` lists them, so that a test can name the rule that failed.
"""

from __future__ import annotations

import ast
import getpass
import re
import socket
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.notebooks.collect import Notebook, code_cells
from shared.paths import repo_root
from shared.runs import STAGES

#: Lines of code in a cell: what is allowed, and what is allowed in a solution, which is read once and is collapsed.
MOST_LINES, MOST_LINES_SOLUTION = 25, 40
BLOCK = 6
HACKS = re.compile(r"sys\.path\b|os\.chdir|^\s*[!%]+\s*(pip|conda|apt|cd)\b", re.M)
PATHS = re.compile(r"(?<![\w/.~-])/(?:home|root|tmp|Users|usr|opt|var|mnt|private)/[\w.-]+|\b[A-Za-z]:\\\w+|\bfile:///")
WARNINGS = re.compile(r"\b[A-Za-z]*Warning\b|\bwarning:|\bdeprecat", re.I)
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
DATES = re.compile(rf"\b(?:19|20)\d\d-[01]\d-[0-3]\d\b|\b(?:{MONTHS})[a-z]*\.? \d{{1,2}},? (?:19|20)\d\d\b")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

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
        node: Its content, where that is not to be read from its file.
    """
    node = notebook.read() if node is None else node
    return [
        Problem(notebook.name, cell, name, message)
        for name, rule in RULES.items()
        for cell, message in rule(notebook, node)
    ]


# --- reading a cell --------------------------------------------------------------------------------------------------


def code_lines(source: str) -> list[str]:
    """The lines of code of a cell, stripped: neither blank nor comment."""
    return [line.strip() for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


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
    proofs = [line for line in code_lines(cell.source) if line.startswith("assert ") and line.endswith(".passed")]
    if not any(call in line for line in proofs):
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
            yield place, f"section {number} stands where {expected} is due"
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
            yield place, f"`{match[0].strip()}` has no place in a notebook"
        for match in PATHS.finditer(cell.source):
            yield place, f"{match[0]} is a path of one machine"


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


# --- rules: outputs -------------------------------------------------------------------------------------------------


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


RULES: dict[str, Callable[[Notebook, Any], Found]] = {
    "parameters": parameters,
    "exercises": exercises,
    "links": links,
    "headings": headings,
    "no-hacks": no_hacks,
    "cell-size": cell_size,
    "reading": reading,
    "outputs": outputs,
    "alt-text": alt_text,
}


# --- across notebooks -----------------------------------------------------------------------------------------------


def repeated_blocks(notebooks: Mapping[str, Any], size: int = BLOCK, limit: int = 3) -> list[Problem]:
    """Blocks of code that stand in several notebooks and so belong into ``shared``.

    Args:
        notebooks: Notebook nodes by name.
        size: Lines of code in a row that make a block (imports and comments do not count).
        limit: In how many notebooks a block may not stand.

    Returns:
        One problem for each block, at its first place.
    """
    places: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for name, node in notebooks.items():
        for place, cell in code_cells(node):
            lines = [line for line in code_lines(cell.source) if not line.startswith(("import ", "from "))]
            for start in range(len(lines) - size + 1):
                places[tuple(lines[start : start + size])].setdefault(name, place)
    problems, told = [], set()
    for block, where in places.items():
        if len(where) >= limit and tuple(where.items()) not in told:  # a longer block overlaps itself: tell it once
            told.add(tuple(where.items()))
            name, place = next(iter(where.items()))
            message = f"{size} lines from `{block[0]}` on stand in {', '.join(where)}: move them to shared"
            problems.append(Problem(name, place, "repeated-block", message))
    return problems
