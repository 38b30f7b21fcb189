"""Run commands in interleaved rounds: seconds, peak memory, medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from shared.machine import cpu_cores, cpu_flags, ram

SAMPLE_SECONDS = 0.5  # looking through all processes more often would itself take a good part of a core
WATCHED_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Case:
    """One program to measure.

    Attributes:
        name: Its name in the table.
        command: What is run.
        environment: Variables beside those of this process.
        read: (folder, text of its output) -> further measurements, such as the seconds of training alone.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Path, str], dict[str, float]] = lambda folder, text: {}


def measure(case: Case, folder: Path) -> dict[str, float]:
    """Run a command once.

    Args:
        case: The program.
        folder: Where it runs, and where its output goes as ``log.txt``.

    Returns:
        ``seconds`` of the whole command [s], ``rss`` [MiB]: the largest resident memory of its processes together, or
        of one of them alone where that is more (samples may miss a short peak of several); and what :attr:`Case.read`
        finds.

    Raises:
        RuntimeError: If it fails; with the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [*case.command], cwd=folder, env={**os.environ, **case.environment}, stdout=out, stderr=out
        )
        peak: list[float] = [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peak))
        watcher.start()
        process.wait()
        watcher.join()
    seconds = time.perf_counter() - start
    text = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"{case.name} ended with {process.returncode}; {log} ends with:\n{text[-3000:]}")
    return {"seconds": round(seconds, 2), "rss": round(peak[0], 1), **case.read(folder, text)}


def _watch(pid: int, peak: list[float]) -> None:
    """Sample the resident memory of a process and its children until it ends."""
    try:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            total = 0.0
            for one in (process, *process.children(recursive=True)):
                try:
                    total += one.memory_info().rss / 2**20
                    peak[0] = max(peak[0], _high_water(one.pid))
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(SAMPLE_SECONDS)
    except psutil.Error:
        return


def _high_water(pid: int) -> float:
    """The most that a process has had since it began [MiB], where the system reports it (Linux's VmHWM).

    Not getrusage's ru_maxrss: that of a child begins with what its parent had when it was forked.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def interleaved(cases: Sequence[Case], repeats: int, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Run all programs in turn, several times, so that other load on the machine affects all of them equally."""
    found: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    for repeat in range(repeats):
        for case in cases:
            one = measure(case, folder / f"{case.name.replace(' ', '-').replace(',', '')}-{repeat}")
            found[case.name].append(one)
            print(f"  {repeat + 1}/{repeats} {case.name}: {one}", flush=True)
    return found


def median(runs: Sequence[Mapping[str, float]], name: str) -> float:
    """The median of a measurement over the repeats."""
    return statistics.median(run[name] for run in runs)


def spread(runs: Sequence[Mapping[str, float]], name: str) -> tuple[float, float]:
    """The smallest and the largest."""
    values = [run[name] for run in runs]
    return min(values), max(values)


def about(threads: int, packages: Sequence[str]) -> dict[str, Any]:
    """The machine and the versions that numbers belong to; no names of machines or people."""
    from importlib.metadata import version

    flags = cpu_flags()
    return {
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": cpu_cores(),
        "flags": [flag for flag in WATCHED_FLAGS if flag in flags],
        "ram_gib": round(ram()[0], 1),
        "threads": threads,
        "packages": {name: version(name) for name in packages},
    }
