"""Run generated programs against their tests, each in a process of its own with little time and memory.

The limits hold off what models write by mistake: loops without end, floods of output, files removed, a verdict printed
instead of earned. They are no wall against a program that was written to break out.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

from shared.errors import HardwareError

BLOCK = re.compile(r"```python[ \t]*\r?\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
SECONDS, MEGABYTES = 2, 256
WORKER = Path(__file__).with_name("code_execution_worker.py")
PATIENCE = 5  # a machine that is shared takes longer on the clock than on the processor


def code_in(text: str) -> str:
    """The last block of Python in an answer; empty if there is none."""
    return (BLOCK.findall(text) or [""])[-1]


def passes(text: str, tests: str, seconds: int = SECONDS, megabytes: int = MEGABYTES) -> bool:
    """Whether the program in an answer passes its tests.

    It runs in a fresh interpreter and an empty folder, without this package and the environment; it can write no file
    and start no process. Output goes nowhere. The verdict is a random word that the worker says after the last test:
    to print "passed", or to leave with status 0 before the tests, does not help.

    Args:
        text: The answer, with a block of Python.
        tests: Python that fails on a wrong program, such as lines of assert; it sees the program's names.
        seconds: Longest computing time [s]; on the clock it may be five times as long. Windows has the clock only.
        megabytes: Largest memory [MB]; not limited on Windows and macOS.

    Returns:
        False for a wrong result, an error, too much time or memory, or no program at all.
    """
    code = code_in(text)
    if not code.strip():
        return False
    word = secrets.token_hex(16)
    job = {"code": code, "tests": tests, "word": word, "seconds": seconds, "megabytes": megabytes}
    return _last_word(json.dumps(job).encode(), len(word), PATIENCE * seconds) == word.encode()


def verdicts(texts: Sequence[str], tests: Sequence[str]) -> list[bool]:
    """Whether each answer's program passes its tests, some at a time.

    Raises:
        HardwareError: If not even a program that does nothing passes on this machine.
    """
    check_judge()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(passes, texts, tests))


@cache
def check_judge() -> None:
    """Refuse to judge where programs can't be run: every answer would count as wrong.

    Raises:
        HardwareError: If a right program fails.
    """
    if not passes("```python\none = 1\n```", "assert one == 1", seconds=10):
        raise HardwareError(
            f"generated programs can't be run on this machine: {sys.executable} did not run {WORKER.name}",
            fix="let Python start further processes, or set evaluation.metric: exact_match",
        )


def _last_word(job: bytes, length: int, seconds: float) -> bytes:
    """The first bytes that the worker says; nothing after the time is up."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # no Windows process starts bare
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=kept,
            start_new_session=True,
        )
        clock = threading.Timer(seconds, _end, [process])
        clock.start()
        try:
            with suppress(OSError), process.stdin:  # the worker may die before it has read its job
                process.stdin.write(job)
            return process.stdout.read(length)  # no more than that: a flood must not fill this process's memory
        finally:
            clock.cancel()
            clock.join()  # or it might kill a stranger who has the number next
            _end(process)
            process.wait()
            process.stdout.close()


def _end(process: subprocess.Popen) -> None:
    """Kill a worker and whatever it may have started."""
    with suppress(OSError):  # it has ended already
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
