"""What a student meets when the notebooks of Lab 01 are run in the wrong order or on a broken run folder.

The code that is executed is 03-Inference's own: its parameters and its first section, or the whole notebook.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_code import cells

from shared.errors import RunError
from shared.runs import RunFolder

LAB, ADAPTER = "Lab-01-LoRA", "adapter/adapter_model.safetensors"


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """An empty folder for runs."""
    monkeypatch.setenv("PEFT_LABS_RUNS", str(tmp_path))
    monkeypatch.setenv("PEFT_LABS_PROFILE", "tiny")
    return tmp_path


def write_setup(run: RunFolder) -> None:
    with run.write("01-Setup", seeds=[0]) as out:
        out.save_json("baseline.json", {"exact_match": 0.0, "format": 0.0, "n": 200})


def write_training(run: RunFolder, fill: float = 1.0) -> None:
    """A stand-in for what 02 hands over: an adapter with one matrix, and its reference."""
    import torch
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    adapter = {name.format("A"): torch.ones(2, 8), name.format("B"): torch.full((8, 2), fill)}
    with run.write("02-Train", needs=("01-Setup",), seeds=[0]) as out:
        save_file(adapter, out.file(ADAPTER))
        out.save_json("adapter/adapter_config.json", {"peft_type": "LORA", "r": 2})
        out.save_json("metrics.json", {"lora": {"exact_match": 0.9}})


def reload() -> dict:
    """Execute 03's parameters and its first section up to the look into the adapter file."""
    space: dict = {}
    for source in cells(LAB, "03-Inference")[:3]:
        exec(compile(source, "03-Inference", "exec"), space)  # noqa: S102 - our own committed notebook
    return space


@pytest.fixture
def run(runs) -> RunFolder:
    """A run with 01 and 02 done."""
    folder = RunFolder(LAB, "tiny")
    write_setup(folder)
    write_training(folder)
    return folder


def test_a_good_run_folder_loads(run, capsys):
    space = reload()
    assert len(space["tensors"]) == 2 and "2 tensors" in capsys.readouterr().out


def test_executing_03_before_02_names_02(runs, root, tmp_path):
    """The command of the issue: nbconvert --execute on 03 with an empty run folder."""
    execute = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    done = subprocess.run(
        [*execute, "--output-dir", str(tmp_path / "out"), str(root / LAB / "03-Inference.ipynb")],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PEFT_LABS_RUNS": str(runs)},
    )  # fmt: skip
    assert done.returncode != 0
    text = re.sub(r"\x1b\[[\d;]*m", "", done.stderr)  # the traceback is coloured
    last = text[text.rindex("RunError:") :]
    assert "runs/Lab-01-LoRA/tiny/default/02-Train is not there" in last
    assert "run Lab-01-LoRA/02-Train.ipynb first" in last
    assert not list((tmp_path / "out").glob("*.ipynb")), "no notebook that looks executed is left behind"


def test_02_done_but_01_removed_names_01(run):
    shutil.rmtree(run.path / "01-Setup")
    with pytest.raises(RunError, match=r"01-Setup is not there[\s\S]*run Lab-01-LoRA/01-Setup.ipynb first"):
        reload()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = [(cut, "bytes instead of"), (flip, "SHA-256"), (Path.unlink, "is missing")]


@pytest.mark.parametrize(("spoil", "what"), DAMAGE, ids=["cut", "flipped", "removed"])
def test_a_damaged_adapter_file_is_named_and_training_again_recovers(run, spoil, what):
    spoil(run.path / "02-Train" / ADAPTER)
    with pytest.raises(RunError) as caught:
        reload()
    text = str(caught.value)
    assert f"02-Train/{ADAPTER}" in text and what in text and "run Lab-01-LoRA/02-Train.ipynb again" in text
    write_training(run)
    assert reload()["trained"].path == run.path / "02-Train"


def test_a_run_folder_of_another_profile_is_refused(run, monkeypatch):
    shutil.copytree(run.path, run.root / LAB / "laptop" / "default")
    with pytest.raises(RunError, match="belongs to profile 'tiny', not 'laptop'"):
        RunFolder(LAB, "laptop").read("02-Train")


def test_a_run_of_another_profile_or_name_is_pointed_out(run):
    with pytest.raises(RunError, match="there is one for profile tiny, RUN_NAME 'default'"):
        RunFolder(LAB, "tiny", "other").read("02-Train")


def test_an_adapter_that_was_not_trained_is_not_handed_over(run):
    with pytest.raises(RunError, match="every lora_B is zero"):
        write_training(run, fill=0.0)
    assert reload()["trained"].json("metrics.json"), "the previous training is still there"


KILLED = """
import sys, time
from shared.runs import RunFolder
with RunFolder("Lab-01-LoRA", "tiny").write("02-Train", needs=("01-Setup",)) as out:
    out.file("adapter/adapter_model.safetensors").write_bytes(b"half a file")
    print("writing", flush=True)
    time.sleep(60)
"""


def killed_while_writing(runs: Path) -> None:
    environment = {**os.environ, "PEFT_LABS_RUNS": str(runs)}
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait(timeout=30)
    process.stdout.close()


def test_a_training_killed_while_writing_is_explained_and_a_rerun_recovers(runs):
    folder = RunFolder(LAB, "tiny")
    write_setup(folder)
    killed_while_writing(runs)
    with pytest.raises(RunError, match=r"killed before the end[\s\S]*run Lab-01-LoRA/02-Train.ipynb again"):
        reload()
    write_training(folder)
    assert reload()["trained"].json("metrics.json")


def test_a_kill_while_writing_again_leaves_the_previous_training(run, runs):
    killed_while_writing(runs)
    assert reload()["trained"].json("metrics.json") == {"lora": {"exact_match": 0.9}}


def test_a_training_killed_between_checkpoints_says_where_it_resumes(runs):
    import torch
    from safetensors.torch import save_file

    folder = RunFolder(LAB, "tiny")
    write_setup(folder)
    checkpoint = folder.checkpoints("02-Train", "lora") / "checkpoint-50"
    checkpoint.mkdir()
    save_file({"a": torch.ones(2)}, checkpoint / "adapter_model.safetensors")
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": 50}))
    with pytest.raises(RunError, match=r"killed before the end[\s\S]*it resumes from checkpoint-50"):
        reload()
