"""Execute the notebooks of labs: in order, with progress lines, resumable, several labs in parallel if requested."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.errors import PeftLabsError
from shared.labs import PROFILES
from shared.notebooks.collect import Notebook, labs_with_notebooks, notebooks_of
from shared.notebooks.execution import NotebookFailed, Progress, Run, clock, execute
from shared.notebooks.resume import is_done, remember, run_key
from shared.runs import RunFolder


def run_labs(
    labs: Sequence[str] = (),
    profile: str = "tiny",
    stages: Sequence[str] = (),
    seed: int = 0,
    run_name: str = "default",
    jobs: int = 1,
    resume: bool = False,
) -> dict[str, list[Path]]:
    """Execute labs headless; a lab's notebooks run in order, and a failure stops that lab only.

    Args:
        labs: Folder names; all labs that have notebooks where empty.
        profile: ``tiny``, ``laptop`` or ``full``.
        stages: Only these stages (``02`` is enough).
        seed: The notebooks' ``SEED``.
        run_name: The notebooks' ``RUN_NAME``.
        jobs: How many labs run at the same time, each in a process of its own.
        resume: Skip notebooks that were executed before with the same code, parameters and configuration.

    Returns:
        The executed copies, by lab.

    Raises:
        PeftLabsError: If a name is unknown.
        NotebookFailed: If a notebook failed, after all other labs were tried.
    """
    if profile not in PROFILES:
        raise PeftLabsError(f"there is no profile {profile!r}", fix=f"choose from {', '.join(PROFILES)}")
    run = Run(profile, seed, run_name, resume)
    for lab in labs:
        RunFolder(lab, profile, run_name)  # refuses invalid names before anything runs
    plan = {lab: notebooks_of(lab, stages) for lab in labs or labs_with_notebooks()}
    count = sum(map(len, plan.values()))
    print(
        f"{count} {'notebook' if count == 1 else 'notebooks'} on the {profile} profile, seed {seed}, run {run_name!r}",
        flush=True,
    )
    began = time.monotonic()
    copies = _in_parallel(plan, run, jobs) if jobs > 1 and len(plan) > 1 else _one_by_one(plan, run)
    print(f"all executed without an error in {clock(time.monotonic() - began)} (minutes:seconds)", flush=True)
    return copies


def _one_by_one(plan: Mapping[str, list[Notebook]], run: Run) -> dict[str, list[Path]]:
    executed, failures = {}, []
    for lab, notebooks in plan.items():
        try:
            executed[lab] = run_lab(notebooks, run, live=sys.stdout.isatty())
        except NotebookFailed as error:
            failures.append(error)
    return _result(executed, failures)


def _in_parallel(plan: Mapping[str, list[Notebook]], run: Run, jobs: int) -> dict[str, list[Path]]:
    # Processes, not threads: papermill changes the working directory while a notebook runs. Spawned, not forked: a
    # forked copy of a process that already has threads (tqdm, zmq) can hang.
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    executed, failures = {}, []
    with ProcessPoolExecutor(min(jobs, len(plan)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_run_lab_quietly, notebooks, run): lab for lab, notebooks in plan.items()}
        for future in as_completed(futures):
            try:
                executed[futures[future]] = future.result()
            except RuntimeError as error:
                failures.append(NotebookFailed(str(error)))
    return _result(executed, failures)


def _run_lab_quietly(notebooks: list[Notebook], run: Run) -> list[Path]:
    """:func:`run_lab` for a worker process: errors are returned as text, since ours cannot be unpickled."""
    try:
        return run_lab(notebooks, run, live=False)
    except PeftLabsError as error:
        raise RuntimeError(str(error)) from None


def _result(executed: dict[str, list[Path]], failures: list[NotebookFailed]) -> dict[str, list[Path]]:
    if failures:
        raise NotebookFailed("\n\n".join(str(failure) for failure in failures))
    return executed


def run_lab(notebooks: Sequence[Notebook], run: Run, live: bool) -> list[Path]:
    """Execute notebooks of one lab one after the other.

    Args:
        notebooks: Which, in order.
        run: Profile, parameters and whether to resume.
        live: Whether progress lines may be rewritten.

    Returns:
        The executed copies.

    Raises:
        NotebookFailed: If one fails; those after it are not run.
    """
    copies, fresh = [], False
    for notebook in notebooks:
        node, copy = notebook.read(), run.executed(notebook.lab) / f"{notebook.stage}.ipynb"
        progress = Progress(f"{notebook.lab} · {notebook.stage}", len(node.cells) + bool(run.parameters), live)
        key = run_key(notebook, node, run)
        # A notebook after one that was executed reads its new results, so it is never skipped.
        if run.resume and not fresh and is_done(notebook, run, key) and copy.is_file():
            progress.end(progress.total, "done before")
        else:
            fresh = True
            remember(notebook, run, None)
            execute(notebook, copy, run, progress)
            remember(notebook, run, key)
        copies.append(copy)
    return copies
