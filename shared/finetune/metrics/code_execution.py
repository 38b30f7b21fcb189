"""Run generated programs against their tests, each in its own process with limits on time and memory.

The limits protect against what models write by mistake: endless loops, huge outputs, deleted files, a printed success
message. They are not a sandbox for hostile programs.
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
PATIENCE = 5  # on a shared machine, wall-clock time exceeds CPU time


def extract_code(text: str) -> str:
    """The last block of Python in an answer; empty if there is none."""
    return (BLOCK.findall(text) or [""])[-1]


def passes(text: str, tests: str, seconds: int = SECONDS, megabytes: int = MEGABYTES) -> bool:
    """Whether the program in an answer passes its tests.

    It runs in a new interpreter and an empty folder, without this package and without environment variables. It can
    neither write files nor start processes, and its output is discarded. The worker reports success by a random word
    after the last test, so that printing "passed", or exiting with status 0 before the tests, does not count.

    Args:
        text: The answer, with a block of Python.
        tests: Python code that fails on a wrong program, such as asserts; it can use the program's names.
        seconds: Limit of CPU time [s]; the limit of wall-clock time, the only one on Windows, is five times as long.
        megabytes: Limit of memory [MB]; none on Windows and macOS.

    Returns:
        False for a wrong result, an error, an exceeded limit, or no program.
    """
    code = extract_code(text)
    if not code.strip():
        return False
    word = secrets.token_hex(16)
    job = {"code": code, "tests": tests, "word": word, "seconds": seconds, "megabytes": megabytes}
    return _last_word(json.dumps(job).encode(), len(word), PATIENCE * seconds) == word.encode()


def run_tests(texts: Sequence[str], tests: Sequence[str]) -> list[bool]:
    """Whether each answer's program passes its tests; several run in parallel.

    Raises:
        HardwareError: If programs can't be run on this machine.
    """
    check_code_execution()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(passes, texts, tests))


@cache
def check_code_execution() -> None:
    """Stop if programs can't be run on this machine: every answer would count as wrong.

    Raises:
        HardwareError: If a correct program fails.
    """
    if not passes("```python\none = 1\n```", "assert one == 1", seconds=10):
        raise HardwareError(
            f"generated programs can't be run on this machine: {sys.executable} did not run {WORKER.name}",
            fix="let Python start further processes, or set evaluation.metric: exact_match",
        )


def _last_word(job: bytes, length: int, seconds: float) -> bytes:
    """The first bytes that the worker writes; none if the time limit is exceeded."""
    kept = {
        name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ
    }  # Windows starts no process without it
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
            return process.stdout.read(length)  # no more than that: a huge output must not fill the memory
        finally:
            clock.cancel()
            clock.join()  # otherwise it might kill a later process with the same id
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
