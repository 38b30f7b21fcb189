"""Execute one notebook with papermill in a kernel of this interpreter, with a progress line."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import PeftLabsError
from shared.notebooks.collect import Notebook, shown
from shared.paths import runs_root

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(PeftLabsError):
    """A notebook stopped with an error; the message has the end of the cell and the path of the executed copy."""


@dataclass(frozen=True)
class Run:
    """Settings of one execution of a lab's notebooks.

    Attributes:
        profile: ``tiny``, ``laptop`` or ``full``.
        seed: The notebooks' ``SEED``.
        run_name: The notebooks' ``RUN_NAME``.
        resume: Skip notebooks that were executed before with the same code, parameters and configuration.
        inject: Pass the three as papermill parameters; otherwise the notebook runs unchanged.
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
    """One line for one notebook: updated on a terminal while it runs, written once elsewhere.

    Attributes:
        label: The notebook.
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


def execute(notebook: Notebook, copy: Path, run: Run, progress: Progress) -> None:
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
            fix = "the system may have ended it for lack of memory: close other programs, or choose a smaller profile"
            raise NotebookFailed(f"{notebook.name}: its Python process died in cell {done}", fix=fix) from None
    progress.end(progress.total, "done")


def _failure(notebook: Notebook, copy: Path, source: str, name: str, value: str) -> NotebookFailed:
    last = [line for line in ANSI.sub("", source).splitlines() if line.strip()][-4:]
    said = f"{name}: {ANSI.sub('', value)}".splitlines()[:20]
    message = [f"{notebook.name} stopped in the cell that ends", *(f"      {line}" for line in last)]
    message += [*(f"    {line}" for line in said), f"  executed copy: {shown(copy)}"]
    return NotebookFailed("\n".join(message))


def _engine() -> str:
    """Register (once) a papermill engine that reports each cell and runs this very interpreter; returns its name."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from papermill.engines import NBClientEngine, papermill_engines

    class ThisPython(AsyncKernelManager):
        """A kernel of the running interpreter, independent of the registered kernels."""

        @property
        def kernel_spec(self) -> KernelSpec:
            # Errors only: it would warn between the progress lines that local sockets are not encrypted.
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
    """Environment variables of a notebook's process; they are restored afterwards."""
    wanted: dict[str, str | None] = {"TOKENIZERS_PARALLELISM": "false"}
    if run.profile == "tiny":
        # The micro-models are too small to gain from more than two threads, and downloads are not allowed.
        wanted |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    if not run.inject:
        wanted["PEFT_LABS_PROFILE"] = None  # unchanged: only the notebook chooses the profile
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
