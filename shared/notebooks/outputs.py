"""Store the outputs of a clean run in the notebooks, with the fingerprint of the code that made them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from shared.errors import PeftLabsError
from shared.notebooks.collect import (
    Notebook,
    code_cells,
    fingerprint,
    labs_with_notebooks,
    notebooks_of,
    read_notebook,
    write_notebook,
)
from shared.notebooks.hygiene import Problem, alt_text, outputs, problems_of, repeated_blocks
from shared.notebooks.runner import Run, run_lab

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def refresh_outputs(labs: Sequence[str] = ()) -> None:
    """Execute notebooks unchanged on the tiny profile and store their outputs in place.

    A lab's notebooks are rewritten together, after all of them ran and no output has a problem.

    Args:
        labs: Folder names; all labs that have notebooks where empty.

    Raises:
        NotebookFailed: If one fails.
        PeftLabsError: If an output holds an error, a warning, or something that depends on the machine or the day.
    """
    for lab in labs or labs_with_notebooks():
        notebooks = notebooks_of(lab)
        copies = run_lab(notebooks, Run(inject=False), live=sys.stdout.isatty())
        stored = [(notebook, with_outputs(notebook.read(), read_notebook(copy)))
                  for notebook, copy in zip(notebooks, copies, strict=True)]  # fmt: skip
        problems = [problem for notebook, node in stored for problem in _output_problems(notebook, node)]
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise PeftLabsError(f"{lab}: the outputs were not stored, because of\n{listed}", fix="correct the cell")
        for notebook, node in stored:
            write_notebook(notebook.path, node)
        print(f"  {lab}: outputs of {len(stored)} notebooks stored", flush=True)


def _output_problems(notebook: Notebook, node: Any) -> list[Problem]:
    rules = {"outputs": outputs, "alt-text": alt_text}
    return [Problem(notebook.name, i, name, text) for name, rule in rules.items() for i, text in rule(notebook, node)]


def with_outputs(source: Any, executed: Any) -> Any:
    """The notebook with the outputs of its executed copy, and nothing in it that changes from run to run.

    Args:
        source: The notebook.
        executed: Its copy, executed without injected parameters.

    Returns:
        ``source``, changed: outputs, execution counts 1, 2, …, and ``peft_labs.fingerprint`` in its metadata.

    Raises:
        PeftLabsError: If the copy was made from other code.
    """
    if fingerprint(source) != fingerprint(executed):
        raise PeftLabsError("the notebook changed while it was executed", fix="run `make outputs` again")
    ran = [cell for _, cell in code_cells(executed)]
    for count, ((_, cell), done) in enumerate(zip(code_cells(source), ran, strict=True), 1):
        cell.execution_count = count
        cell.outputs = [_settled(output, count) for output in _joined(done.outputs)]
        cell.metadata = {key: value for key, value in cell.metadata.items() if key not in ("execution", "papermill")}
    source.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "peft_labs": {"fingerprint": fingerprint(source)},
    }
    return source


def _joined(found: Sequence[Any]) -> list[Any]:
    """Join neighbouring parts of one stream: where they are divided depends on the speed of the machine."""
    joined: list[Any] = []
    for output in found:
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _settled(output: Any, count: int) -> Any:
    """An output in its final state: of a line that was overwritten (``\\r``) only the last text."""
    if output.output_type == "stream":
        output.text = "\n".join(line.rstrip("\r").split("\r")[-1] for line in output.text.split("\n"))
    if output.output_type == "execute_result":
        output.execution_count = count
    return output


def check_outputs(notebook: Notebook) -> list[Problem]:
    """Whether the stored outputs belong to the code of their cells.

    Args:
        notebook: Which one.

    Returns:
        No problem, or one that says how to update the outputs.
    """
    node = notebook.read()
    stored = node.metadata.get("peft_labs", {}).get("fingerprint")
    if stored == fingerprint(node):
        return []
    what = "has no stored outputs" if stored is None else "was changed after its outputs were made"
    return [Problem(notebook.name, 0, "fingerprint", f"{what}: run `make outputs LABS={notebook.lab}`")]


def problems_of_labs(labs: Sequence[str] = ()) -> list[Problem]:
    """Every problem of every notebook, stale outputs and repeated code included.

    Args:
        labs: Folder names; all labs that have notebooks where empty.
    """
    notebooks = [notebook for lab in labs or labs_with_notebooks() for notebook in notebooks_of(lab)]
    problems = [problem for notebook in notebooks for problem in problems_of(notebook) + check_outputs(notebook)]
    return problems + repeated_blocks({notebook.name: notebook.read() for notebook in notebooks})
