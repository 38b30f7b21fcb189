"""Execute notebooks with papermill: in order, one progress line each, resumable, labs in parallel if asked for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import PeftLabsError
from shared.labs import PROFILES
from shared.notebooks.collect import Notebook, fingerprint, labs_with_notebooks, notebooks_of, shown
from shared.paths import repo_root, runs_root
from shared.runs import RunFolder

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(PeftLabsError):
    """A notebook stopped with an error; the message holds the failing cell's last lines and where the copy lies."""


@dataclass(frozen=True)
class Run:
    """What one call executes a lab's notebooks with.

    Attributes:
        profile: ``tiny``, ``laptop`` or ``full``.
        seed: The notebooks' ``SEED``.
        run_name: The notebooks' ``RUN_NAME``.
        resume: Skip what was executed before with the same code, parameters and configuration.
        inject: Hand the three over as papermill parameters; without it the notebook runs exactly as it stands.
    """

    profile: str = "tiny"
    seed: int = 0
    run_name: str = "default"
    resume: bool = False
    inject: bool = True

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that papermill injects."""
        return {"PROFILE": self.profile, "SEED": self.seed, "RUN_NAME": self.run_name} if self.inject else {}

    def executed(self, lab: str) -> Path:
        """The folder of a lab's executed copies."""
        return runs_root().resolve() / "_executed" / lab / self.profile / self.run_name


def clock(seconds: float) -> str:
    """A duration as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@dataclass
class Progress:
    """One line for one notebook: rewritten on a terminal while it runs, written once elsewhere.

    Attributes:
        label: What runs.
        total: Its number of cells, the injected parameters included.
        live: Whether the line may be rewritten (a terminal, and no other lab writing beside it).
    """

    label: str
    total: int
    live: bool
    began: float = field(default_factory=time.monotonic)

    def line(self, done: int, word: str) -> str:
        return f"  {self.label:<42} {done:>3}/{self.total} cells  {clock(time.monotonic() - self.began):>5}  {word}"

    def step(self, done: int) -> None:
        if self.live:
            print(f"\r\x1b[K{self.line(done, 'running')}", end="", flush=True)

    def end(self, done: int, word: str) -> None:
        print(("\r\x1b[K" if self.live else "") + self.line(done, word), flush=True)


def run_labs(
    labs: Sequence[str] = (),
    profile: str = "tiny",
    stages: Sequence[str] = (),
    seed: int = 0,
    run_name: str = "default",
    jobs: int = 1,
    resume: bool = False,
) -> dict[str, list[Path]]:
    """Execute labs headless; inside a lab 01 runs before 04, and a failure stops that lab only.

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
        RunFolder(lab, profile, run_name)  # refuses names that cannot be folders, before anything runs
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
    """:func:`run_lab` for a worker process: errors go back as text, for ours take two arguments and do not unpickle."""
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
        key = _key(notebook, node, run)
        # What follows a notebook that ran anew reads its new results, so it is never skipped.
        if run.resume and not fresh and _done(notebook, run, key) and copy.is_file():
            progress.end(progress.total, "done before")
        else:
            fresh = True
            _remember(notebook, run, None)
            _execute(notebook, copy, run, progress)
            _remember(notebook, run, key)
        copies.append(copy)
    return copies


def _key(notebook: Notebook, node: Any, run: Run) -> str:
    """Hash of all that decides a notebook's result: code, parameters, configuration, versions."""
    root = repo_root()
    files = [root / notebook.lab / "configs" / f"{run.profile}.yaml", root / "requirements.lock"]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in files]
    text = json.dumps([fingerprint(node), run.parameters, *contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _state(notebook: Notebook, run: Run) -> tuple[Path, dict[str, Any]]:
    path = run.executed(notebook.lab) / "state.json"
    try:
        return path, json.loads(path.read_text(encoding="utf8"))
    except (FileNotFoundError, ValueError):
        return path, {}


def _manifest(notebook: Notebook, run: Run) -> str:
    """Hash of the stage's manifest in the run folder, or an empty text: results may be deleted or made anew by hand."""
    path = RunFolder(notebook.lab, run.profile, run.run_name).path / notebook.stage / "manifest.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _done(notebook: Notebook, run: Run, key: str) -> bool:
    return _state(notebook, run)[1].get(notebook.stage) == {"key": key, "manifest": _manifest(notebook, run)}


def _remember(notebook: Notebook, run: Run, key: str | None) -> None:
    """Note that a notebook is done (``None``: is not), atomically."""
    path, state = _state(notebook, run)
    state.pop(notebook.stage, None)
    if key is not None:
        state[notebook.stage] = {"key": key, "manifest": _manifest(notebook, run)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1, sort_keys=True), encoding="utf8")
    os.replace(partial, path)


def _execute(notebook: Notebook, copy: Path, run: Run, progress: Progress) -> None:
    """Execute one notebook into its copy, with the lab's folder as working directory."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    done = 0

    def on_cell(index: int) -> None:
        nonlocal done
        done = index
        progress.step(index)

    copy.parent.mkdir(parents=True, exist_ok=True)
    with _environment(run):
        try:
            papermill.execute_notebook(
                notebook.path, copy, run.parameters, engine_name=_engine(), kernel_name="python3", language="python",
                progress_bar=False, cwd=notebook.path.parent, on_cell=on_cell,
            )  # fmt: skip
        except papermill.PapermillExecutionError as error:
            progress.end(done, "FAILED")
            raise _failure(notebook, copy, error.source, error.ename, error.evalue) from None
        except DeadKernelError:
            progress.end(done, "FAILED")
            fix = "the system may have ended it for memory: close other programs, or choose a smaller profile"
            raise NotebookFailed(f"{notebook.name}: its Python process died in cell {done}", fix=fix) from None
    progress.end(progress.total, "done")


def _failure(notebook: Notebook, copy: Path, source: str, name: str, value: str) -> NotebookFailed:
    last = [line for line in ANSI.sub("", source).splitlines() if line.strip()][-4:]
    said = f"{name}: {ANSI.sub('', value)}".splitlines()[:20]
    told = [f"{notebook.name} stopped in the cell that ends", *(f"      {line}" for line in last)]
    told += [*(f"    {line}" for line in said), f"  executed copy: {shown(copy)}"]
    return NotebookFailed("\n".join(told))


def _engine() -> str:
    """Register (once) a papermill engine that reports each cell and runs this very interpreter; returns its name."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from papermill.engines import NBClientEngine, papermill_engines

    class ThisPython(AsyncKernelManager):
        """A kernel of the running interpreter, whatever kernels are registered on this machine."""

        @property
        def kernel_spec(self) -> KernelSpec:
            # Errors only: it would warn that local sockets are not encrypted, in the middle of the progress lines.
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    class Reporting(NBClientEngine):
        """papermill's own engine, which calls ``on_cell(number)`` before each cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, on_cell: Callable, **kwargs: Any) -> None:
            start = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int = 0, **more: Any) -> None:
                on_cell(cell_index + 1)
                start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            super().execute_managed_notebook(nb_man, kernel_name, kernel_manager_class=ThisPython, **kwargs)

    papermill_engines.register("peft-labs", Reporting)
    return "peft-labs"


@contextmanager
def _environment(run: Run) -> Iterator[None]:
    """What a notebook's process inherits; everything is put back afterwards."""
    wanted: dict[str, str | None] = {"TOKENIZERS_PARALLELISM": "false"}
    if run.profile == "tiny":
        # The tiny models are too small to gain from more than two threads, and no download may happen.
        wanted |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    if not run.inject:
        wanted["PEFT_LABS_PROFILE"] = None  # exactly as it stands: nobody but the notebook chooses
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    """Set environment variables; ``None`` removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
