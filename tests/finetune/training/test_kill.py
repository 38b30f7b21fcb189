"""kill -9 and Ctrl-C at several moments: the resumed training ends with the uninterrupted one's weights."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from training_processes import ROOT, environment, killed_at, stopped_after, tiny_config, weights

from shared.finetune import train

# One training, killed again and again: (the moment of the kill, what the resumed one goes on from)
SAVING = {
    "SEQ_CLS": [
        ("os.mkdir|checkpoint-2", "starting anew"),  # before the first checkpoint
        ("open|checkpoint-4/trainer_state.json", "resuming from checkpoint-2"),  # weights there, state not
        ("os.remove|checkpoint-6/.unfinished", "resuming from checkpoint-4"),  # all there, not yet on the disk
        ("shutil.rmtree|checkpoint-4", "resuming from checkpoint-8"),  # when the older ones are removed
        ("os.rename|.out.part", "resuming from checkpoint-10"),  # trained, the result half written
    ],
    "CAUSAL_LM": [
        ("open|checkpoint-6/README.md", "resuming from checkpoint-4"),  # before the weights are written
    ],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """task -> the weights of an uninterrupted training."""
    found = {}

    def trained(task: str) -> dict:
        if task not in found:
            config = tiny_config(tmp_path_factory.mktemp("whole") / task, task)
            assert train.main(["--config", str(config), "--no_score"]) == 0
            found[task] = weights(config.parent / "out")
        return found[task]

    return trained


def assert_same(out: Path, expected: dict) -> None:
    found = weights(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], one) for name, one in expected.items())


@pytest.mark.parametrize("task", ["SEQ_CLS", "CAUSAL_LM"])
def test_killed_while_saving_it_resumes_to_the_same_weights(tmp_path, task, whole, capsys):
    config, last = tiny_config(tmp_path, task), ""
    for moment, goes_on in SAVING[task]:
        said = killed_at(config, moment, "--resume")
        assert last in said, said
        assert not (tmp_path / "out").exists()
        last = goes_on
        if moment == "open|checkpoint-4/trainer_state.json":
            (half,) = (tmp_path / "out-checkpoints").rglob("checkpoint-4")
            assert (half / "adapter_model.safetensors").is_file() and (half / ".unfinished").is_file()
            last = f"checkpoint-4 was not written to its end: left out\n{last}"
    capsys.readouterr()
    assert train.main(["--config", str(config), "--no_score", "--resume"]) == 0
    assert last in capsys.readouterr().out
    assert_same(tmp_path / "out", whole(task))
    left = [path.name for path in (tmp_path / "out-checkpoints").rglob("checkpoint-*")]
    assert not left, "the checkpoints of an ended training are removed"


def test_killed_between_checkpoints_it_resumes_to_the_same_weights(tmp_path, whole, capsys):
    config = tiny_config(tmp_path)
    code, said = stopped_after(config, "step 5/10", signal.SIGKILL)
    assert code == -signal.SIGKILL, said
    assert train.main(["--config", str(config), "--no_score", "--resume"]) == 0
    assert "resuming from checkpoint-" in capsys.readouterr().out
    assert_same(tmp_path / "out", whole("SEQ_CLS"))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_and_the_printed_command_goes_on(tmp_path, number, whole):
    config = tiny_config(tmp_path, save_steps=100)
    code, said = stopped_after(config, "step 3/10", number)
    assert code == 128 + number, said
    saved = [path.name for path in (tmp_path / "out-checkpoints").rglob("checkpoint-*")]
    assert len(saved) == 1 and f"{saved[0]}\n" in said, said
    (line,) = [line for line in said.splitlines() if line.startswith("resume with: ")]
    command = shlex.split(line.removeprefix("resume with: "))
    done = subprocess.run(command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"resuming from {saved[0]}" in done.stdout
    assert_same(tmp_path / "out", whole("SEQ_CLS"))
