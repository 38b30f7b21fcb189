"""The run folder under kill -9 and with two processes: a reader sees the old stage or the new one, never a mixture."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared import run_files
from shared.errors import RunError
from shared.runs import RunFolder

LAB = "Lab-01-LoRA"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(LAB, "tiny", root=tmp_path)


WRITER = """
import sys
from pathlib import Path
sys.path[0:0] = [sys.argv[2]]
from test_runs_killed import write_values
value = 1
while True:
    value += 1
    write_values(Path(sys.argv[1]), value)
"""


def write_values(root: Path, value: int) -> None:
    with RunFolder(LAB, "tiny", root=root).write("01-Setup") as out:
        for name in "abc":
            out.save_json(f"{name}.json", {"value": value})


def killed_at(root: Path, step: int) -> bool:
    """Write in a forked process that kills itself (kill -9) before its n-th write, flush, rename or removal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    steps = iter(range(10_000))

    def dying(real):
        def call(*args, **kwargs):
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for owner, name in ((run_files, "fsync"), (Path, "rename"), (Path, "write_text"), (shutil, "rmtree")):
        setattr(owner, name, dying(getattr(owner, name)))
    try:
        write_values(root, 2)
    finally:
        os._exit(0)


def values(run: RunFolder) -> set[int]:
    stage = run.read("01-Setup")
    return {stage.json(f"{name}.json")["value"] for name in "abc"}


def prepare(run: RunFolder) -> None:
    with run.write("01-Setup") as out:
        for name in "abc":
            out.save_json(f"{name}.json", {"value": 1})


def test_kill_at_every_step_leaves_the_old_or_the_new_stage(tmp_path):
    """Kill the writer before each write, flush, rename and removal: what is read is the old state or the new one."""
    seen, at = [], 0
    while True:
        run = RunFolder(LAB, "tiny", root=tmp_path / str(at))
        prepare(run)
        if not killed_at(run.root, at):
            break
        found = values(run)
        assert found in ({1}, {2}), f"killed at step {at}"
        seen.append(found)
        prepare(run)  # the dead writer's lock, partial and old folders are no obstacle
        assert values(run) == {1}
        assert not list(run.path.glob(".partial*")) and not list(run.path.glob(".old*"))
        at += 1
    assert at >= 10
    assert seen[0] == {1} and seen[-1] == {2}


def test_first_write_killed_is_explained(run):
    assert killed_at(run.root, 3)
    with pytest.raises(RunError, match=r"killed before the end and left a partial folder\n.*run .*01-Setup\.ipynb"):
        run.read("01-Setup")


def test_kill_at_random_moments_and_readers_meanwhile(run):
    prepare(run)
    rng = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(run.root), str(Path(__file__).parent)])
        seen, deadline = set(), time.monotonic() + 60
        try:
            while len(seen) < 12 and time.monotonic() < deadline:
                try:
                    found = values(run)
                    assert len(found) == 1  # never a mixture ...
                    seen |= found
                except RunError as error:  # ... and a swap between two of the reads is noticed
                    assert "has changed since this stage was read" in str(error)
            time.sleep(rng.random() * 0.1)
        finally:  # it writes for ever: a failed test must not leave it behind
            process.kill()
            process.wait()
        assert len(seen) >= 12, "the other process did not come to write"
        assert len(values(run)) == 1
    prepare(run)
    assert values(run) == {1}


def test_a_reader_that_falls_between_two_swaps_looks_again(run, monkeypatch):
    prepare(run)
    place, away, looks, read_bytes = run.path / "01-Setup", run.path / "elsewhere", [], Path.read_bytes

    def flicker(path):
        if path.parent == place:
            looks.append(path.name)
            if looks == ["manifest.json"]:
                place.rename(away)
            elif looks == ["manifest.json"] * 3:
                away.rename(place)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", flicker)
    assert values(run) == {1} and len(looks) >= 3


def test_a_file_that_is_replaced_while_it_is_opened_is_reported(run, monkeypatch):
    prepare(run)
    stage, read_bytes = run.read("01-Setup"), Path.read_bytes

    def swapped(path):
        path.unlink()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", swapped)
    with pytest.raises(RunError, match="has changed since this stage was read"):
        stage.json("a.json")


def test_one_writer_at_a_time_and_a_dead_one_does_not_count(run):
    with run.write("01-Setup") as out:
        out.save_json("a.json", 1)
        with pytest.raises(RunError, match="being written by another process"), run.write("01-Setup"):
            pytest.fail("two writers at once")
        assert out.file("a.json").exists(), "the refused writer must not touch the first one's files"
        with pytest.raises(RunError, match="another process is writing it"):
            run.read("01-Setup")
    assert run.read("01-Setup").json("a.json") == 1
