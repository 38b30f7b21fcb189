"""Every lab notebook is tidy; and each hygiene rule finds what it is there for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nbformat
import pytest

from shared.notebooks import Notebook, check_outputs, labs_with_notebooks, notebooks_of, problems_of, repeated_blocks
from shared.notebooks.outputs import with_outputs
from shared.runs import STAGES

LABS = labs_with_notebooks()
NOTEBOOKS = [notebook for lab in LABS for notebook in notebooks_of(lab)]


# --- the labs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_is_complete(lab: str, root: Path) -> None:
    needed = [f"{stage}.ipynb" for stage in STAGES] + ["README.md"]
    needed += [f"configs/{profile}.yaml" for profile in ("tiny", "laptop", "full")]
    assert [name for name in needed if not (root / lab / name).is_file()] == []


def test_the_first_lab_is_found() -> None:
    assert "Lab-01-LoRA" in LABS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_a_notebook_is_tidy(notebook: Notebook) -> None:
    assert [str(problem) for problem in problems_of(notebook)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_the_outputs_belong_to_the_code(notebook: Notebook) -> None:
    assert [str(problem) for problem in check_outputs(notebook)] == []


def test_no_code_is_copied_between_notebooks() -> None:
    assert [
        str(problem) for problem in repeated_blocks({notebook.name: notebook.read() for notebook in NOTEBOOKS})
    ] == []


# --- the rules, on a made-up notebook that is spoilt in one way at a time --------------------------------------------

PROSE = "Here is what the next cell does, why it does it, and what to expect from it when it has run to its end. " * 2
TRAIN = Notebook("Lab-01-LoRA", "02-Train")


def markdown(text: str) -> Any:
    return nbformat.v4.new_markdown_cell(text)


def code(source: str, *tags: str, hidden: bool = False) -> Any:
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata = nbformat.NotebookNode({"tags": list(tags)} if tags else {})
    if hidden:
        cell.metadata["jupyter"] = nbformat.NotebookNode({"source_hidden": True})
    return cell


@pytest.fixture
def tidy() -> Any:
    """A notebook without a problem."""
    cells = [
        markdown(f"# Lab 01 · 02 Train\n\n[previous](01-Setup.ipynb) · [next](03-Inference.ipynb)\n\n{PROSE}"),
        code('PROFILE = None\nSEED = 0\nRUN_NAME = "default"', "parameters"),
        markdown(f"## 1. First\n\n{PROSE}"),
        code("x = 1\nprint(x)"),
        markdown(f"## 2. Exercises\n\n### One\n\n{PROSE}"),
        code("answer = ...\nchecks.lab01.one(answer)", "exercise"),
        markdown("The solution is folded in."),
        code("answer_solution = 1\nassert checks.lab01.one(answer_solution).passed", "solution", hidden=True),
        markdown(f"## 3. Takeaways\n\n{PROSE}"),
    ]
    node = nbformat.v4.new_notebook(cells=cells)
    node = with_outputs(node, copy.deepcopy(node))
    node.cells[3].outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    return node


def stream(text: str, name: str = "stdout") -> Any:
    return nbformat.v4.new_output("stream", name=name, text=text)


def picture(**metadata: Any) -> Any:
    return nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=metadata)


def source(node: Any, place: int, text: str) -> None:
    node.cells[place].source = text


def output(node: Any, *outputs: Any) -> None:
    node.cells[3].outputs = list(outputs)


def test_the_tidy_notebook_has_no_problem(tidy: Any) -> None:
    assert problems_of(TRAIN, tidy) == []
    output(tidy, picture(**{"image/png": {"alt": "Loss against training steps"}}))
    assert problems_of(TRAIN, tidy) == []


SPOILT = {
    "no parameters": ("parameters", 0, lambda n: n.cells[1].metadata.clear()),
    "a parameter is missing": ("parameters", 2, lambda n: source(n, 1, "PROFILE = None\nSEED = 0")),
    "a parameter too many": ("parameters", 2, lambda n: source(n, 1, n.cells[1].source + "\nRANK = 8")),
    "no exercise": ("exercises", 0, lambda n: n.cells[5].metadata.clear()),
    "no check": ("exercises", 6, lambda n: source(n, 5, "answer = ...")),
    "no solution": ("exercises", 6, lambda n: n.cells[7].metadata.clear()),
    "a solution in the open": ("exercises", 8, lambda n: n.cells[7].metadata.pop("jupyter")),
    "a solution that asserts nothing": ("exercises", 8, lambda n: source(n, 7, "answer_solution = 1")),
    "the solution of another exercise": (
        "exercises", 8, lambda n: source(n, 7, "assert checks.lab01.two(answer_solution).passed")
    ),
    "no link back": ("links", 1, lambda n: source(n, 0, n.cells[0].source.replace("(01-Setup.ipynb)", ""))),
    "no link on": ("links", 1, lambda n: source(n, 0, n.cells[0].source.replace("(03-Inference.ipynb)", ""))),
    "no title": ("headings", 1, lambda n: source(n, 0, n.cells[0].source.replace("# Lab", "Lab"))),
    "a second title": ("headings", 1, lambda n: source(n, 2, f"# Again\n\n{n.cells[2].source}")),
    "a gap in the numbers": ("headings", 5, lambda n: source(n, 4, n.cells[4].source.replace("2.", "4."))),
    "a level is jumped": ("headings", 3, lambda n: source(n, 2, n.cells[2].source.replace("## 1.", "#### 1."))),
    "no takeaways": ("headings", 0, lambda n: source(n, 8, PROSE)),
    "sys.path": ("no-hacks", 4, lambda n: source(n, 3, "import sys\nsys.path.insert(0, '..')")),
    "chdir": ("no-hacks", 4, lambda n: source(n, 3, "import os\nos.chdir('..')")),
    "pip": ("no-hacks", 4, lambda n: source(n, 3, "%pip install peft")),
    "a path in the code": ("no-hacks", 4, lambda n: source(n, 3, "open('/home/me/data.txt')")),
    "a long cell": ("cell-size", 4, lambda n: source(n, 3, "\n".join(f"x{i} = {i}" for i in range(26)))),
    "long cells": ("reading", 0, lambda n: [source(n, i, "\n".join(f"x = {k}" for k in range(14))) for i in (1, 3, 5)]),
    "little prose": ("reading", 0, lambda n: [source(n, i, f"{n.cells[i].source:.25}") for i in (0, 2, 4, 8)]),
    "code after code": ("reading", 0, lambda n: n.cells.pop(6)),
    "four code cells": ("reading", 0, lambda n: n.cells.__setitem__(slice(3, 4), [n.cells[3]] * 4)),
    "much prose in one cell": ("short-prose", 3, lambda n: source(n, 2, f"## 1. First\n\n{PROSE * 4}")),
    "a figure without title": ("figure-titles", 4, lambda n: source(n, 3, "fig = plotting.bars(x, 'time [ms]')")),
    "a memory address": ("outputs", 4, lambda n: output(n, stream("<Styler at 0x7fb1714d1dd0>\n"))),
    "not run in order": ("outputs", 0, lambda n: n.cells[3].update(execution_count=9)),
    "an error": ("outputs", 4, lambda n: output(n, nbformat.v4.new_output("error", ename="E", evalue="no"))),
    "a warning": ("outputs", 4, lambda n: output(n, stream("x.py:1: FutureWarning: old\n", "stderr"))),
    "a path": ("outputs", 4, lambda n: output(n, stream("saved to /tmp/abc/model\n"))),
    "a path of Windows": ("outputs", 4, lambda n: output(n, stream("saved to C:\\Users\\me\n"))),
    "a date": ("outputs", 4, lambda n: output(n, stream("trained on 2026-02-03\n"))),
    "a written date": ("outputs", 4, lambda n: output(n, stream("trained on March 3, 2026\n"))),
    "no alt text": ("alt-text", 4, lambda n: output(n, picture())),
    "an alt text that says nothing": ("alt-text", 4, lambda n: output(n, picture(**{"image/png": {"alt": "plot"}}))),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_notebook_is_found_out(tidy: Any, case: str) -> None:
    rule, cell, spoil = SPOILT[case]
    spoil(tidy)
    assert (rule, cell) in [(problem.rule, problem.cell) for problem in problems_of(TRAIN, tidy)]


def test_what_only_looks_like_a_problem_is_none(tidy: Any) -> None:
    source(tidy, 2, f"## 1. First\n\n```python\n# not a title\n```\n\n{PROSE}")
    output(tidy, stream("runs/Lab-01-LoRA/tiny/default/02-Train, 1e-3/2, and/or, 2026 rows, r=16/32\n"))
    assert problems_of(TRAIN, tidy) == []


def test_code_tables_and_addresses_are_no_prose(tidy: Any) -> None:
    table = "\n".join(f"| {'word ' * 20} |" for _ in range(10))
    block = "```python\n" + "x = 1  # one two three\n" * 60 + "```"
    source(tidy, 2, f"## 1. First\n\n{PROSE}\n\n{table}\n\n{block}\n\n[a link](https://example.org/{'x-' * 200})")
    source(tidy, 3, "fig = plotting.bars(x, 'time [ms]', 'LoRA is faster')\nplotting.lines(y, 'n', 't [s]', title=t)")
    assert problems_of(TRAIN, tidy) == []


def test_code_that_was_changed_after_the_run_is_found(tidy: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("shared.notebooks.collect.lab_folder", lambda lab: tmp_path)
    nbformat.write(tidy, tmp_path / "02-Train.ipynb")
    assert check_outputs(TRAIN) == []
    source(tidy, 3, "x = 2\nprint(x)")
    nbformat.write(tidy, tmp_path / "02-Train.ipynb")
    assert "make outputs" in str(check_outputs(TRAIN)[0])


def test_a_block_in_three_notebooks_is_found_and_one_in_two_is_not(tidy: Any) -> None:
    source(tidy, 3, "import os\n" + "\n\n".join(f"value_{i} = {i}  # x" for i in range(8)))
    assert repeated_blocks({"a": tidy, "b": tidy}) == []
    (problem,) = repeated_blocks({"a": tidy, "b": tidy, "c": tidy})
    assert problem.cell == 4 and "a, b, c" in problem.message
