"""Run generated programs against their tests, each in a process of its own with little time and memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SECONDS, MEGABYTES = 2, 256
WORKER = f"""
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({MEGABYTES} << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS},) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
except ImportError:
    pass
exec(compile(sys.stdin.read(), "program", "exec"), {{"__name__": "program"}})
print("passed")
"""


def code_in(text: str) -> str:
    """The last block of Python in an answer; empty if there is none."""
    return (BLOCK.findall(text) or [""])[-1]


def passes(text: str, tests: str) -> bool:
    """Whether the program in an answer passes its tests.

    It runs in a fresh interpreter and an empty folder, without this package and the environment, for at most two
    seconds of computing; it can write no file.

    Args:
        text: The answer, with a block of Python.
        tests: Lines of assert.

    Returns:
        False for a wrong result, an error, too much time or memory, or no program at all.
    """
    code = code_in(text)
    if not code.strip():
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", WORKER], input=f"{code}\n{tests}\n", capture_output=True, text=True,
                timeout=2 * SECONDS, env={}, cwd=folder,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0 and done.stdout.strip().endswith("passed")


def pass_at_1(texts: Sequence[str], tests: Sequence[str]) -> float:
    """Share of the answers that pass their tests."""
    return sum(passes(text, test) for text, test in zip(texts, tests, strict=True)) / len(texts)
