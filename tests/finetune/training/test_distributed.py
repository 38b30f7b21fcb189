"""Two gloo processes on the CPU train what one process trains with the joined batch; the launch files are sound."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from training_processes import ROOT, environment, start, tiny_config, weights

from shared.finetune import train
from shared.finetune.common.processes import split_over_processes

CONFIGS = Path("shared/finetune/configs")
TOGETHER = {  # no dropout: each process draws its own
    "max_steps": 6,
    "learning_rate": 1e-3,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "save_steps": 3,
}
ROWS = 15  # of the test: no multiple of two


def config_for(folder: Path, task: str, batch: int, **training: object) -> Path:
    file = tiny_config(folder, task, **{**TOGETHER, "per_device_train_batch_size": batch, **training})
    values = yaml.safe_load(file.read_text())
    values["peft"]["lora_dropout"], values["evaluation"]["rows"] = 0.0, ROWS
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def accelerate(config: Path, *arguments: str, file: str = "accelerate_cpu.yaml") -> list[str]:
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / file), "--main_process_port", "0"]
    return [sys.executable, *launcher, "-m", "shared.finetune.train", "--config", str(config), *arguments]


def torchrun(config: Path, *arguments: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return [sys.executable, *launcher, "-m", "shared.finetune.train", "--config", str(config), *arguments]


def training_processes(command: list[str], config: Path, **more: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment(config.parent) | more, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def result(out: Path) -> tuple[dict, list[dict], list[dict]]:
    """Metrics, history and answers of a run's folder."""
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    return json.loads((out / "metrics.json").read_text()), json.loads((out / "history.json").read_text()), answers


def assert_same_training(one: Path, two: Path) -> None:
    (metrics, history, answers), (metrics2, history2, answers2) = result(one), result(two)
    for name in ("loss", "eval_loss"):
        losses = [step[name] for step in history if name in step]
        assert losses and losses == pytest.approx([step[name] for step in history2 if name in step], abs=1e-4)
    last, last2 = (next(step["eval_loss"] for step in reversed(h) if "eval_loss" in step) for h in (history, history2))
    assert last == pytest.approx(last2, abs=1e-5)
    expected, found = weights(one), weights(two)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5, msg=name)
    assert metrics2["n"] == len(answers2) == ROWS, "each row is counted once"
    assert answers2 == answers, "in the rows' order"
    cost = {"seconds", "train_seconds", "tokens_per_second", "peak_memory_mib"}  # differs from run to run
    assert all(metrics2[name] > 0 for name in cost)
    unequal = {name for name in metrics if metrics[name] != metrics2[name]} - cost
    assert not unequal and metrics.keys() == metrics2.keys()


@pytest.mark.parametrize(("task", "launcher"), [("SEQ_CLS", accelerate), ("CAUSAL_LM", torchrun)])
def test_two_processes_train_what_one_trains_with_the_joined_batch(tmp_path, task, launcher):
    one, two = config_for(tmp_path / "one", task, 8), config_for(tmp_path / "two", task, 4)
    assert train.main(["--config", str(one)]) == 0
    said = training_processes(launcher(two), two)
    assert_same_training(tmp_path / "one" / "out", tmp_path / "two" / "out")
    for text in ("precision fp32:", "6 steps in", "written to"):
        assert said.count(text) == 1, said
    files = [sorted(path.name for path in (tmp_path / name / "out").rglob("*")) for name in ("one", "two")]
    assert files[0] == files[1], "only the main process writes"


@pytest.mark.slow
def test_two_processes_are_killed_and_resume_to_the_same_weights(tmp_path):
    whole, broken = (config_for(tmp_path / name, "SEQ_CLS", 4, save_steps=2) for name in ("whole", "broken"))
    training_processes(accelerate(whole, "--no_score"), whole)
    process = start(broken, command=accelerate(broken, "--no_score"), moment="open|checkpoint-4/trainer_state.json")
    said, _ = process.communicate(timeout=400)
    assert process.returncode != 0, said
    again = training_processes(accelerate(broken, "--no_score", "--resume"), broken)
    assert again.count("checkpoint-4 was not written to its end") == again.count("resuming from checkpoint-2") == 1
    expected, found = weights(tmp_path / "whole" / "out"), weights(tmp_path / "broken" / "out")
    assert all(torch.equal(found[name], one) for name, one in expected.items())


@pytest.mark.slow
def test_a_signal_to_two_processes_saves_one_checkpoint_and_names_the_launcher(tmp_path):
    config = config_for(tmp_path, "SEQ_CLS", 4, save_steps=100, max_steps=200)
    process = start(config, command=accelerate(config, "--no_score"))
    said = []
    for text in process.stdout:
        said.append(text)
        if text.startswith("step 3/"):
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal: the launcher and both processes get it
            break
    text = "".join(said) + process.communicate(timeout=400)[0]
    (saved,) = (tmp_path / "out-checkpoints").rglob("checkpoint-*")
    assert not (saved / ".unfinished").exists() and (saved / "rng_state_1.pth").is_file()
    (line,) = [line for line in text.splitlines() if line.startswith("resume with: ")]
    assert "accelerate" in line and "--config_file" in line and line.endswith(f"--resume --config {config} --no_score")


def test_one_process_does_all_rows_itself():
    assert split_over_processes(3, lambda places: [place * 2 for place in places]) == [0, 2, 4]


# -- the shipped launch files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accelerate_config.yaml", "accelerate_cpu.yaml", "accelerate_deepspeed.yaml"])
def test_accelerate_knows_every_key(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / CONFIGS / name))  # raises where a key is unknown
    assert config.num_processes == 2
    if name == "accelerate_deepspeed.yaml":
        assert (ROOT / config.deepspeed_config["deepspeed_config_file"]).is_file()


def test_the_deepspeed_file_takes_what_the_configuration_decides(tmp_path):
    """transformers fills in every "auto", and refuses the file where it contradicts TrainingArguments."""
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    from shared.finetune.config import load_config

    config = load_config(config_for(tmp_path, "SEQ_CLS", 4, gradient_accumulation_steps=3, weight_decay=0.2))
    args = train.task_arguments(config, tmp_path)
    filled = HfTrainerDeepSpeedConfig(str(ROOT / CONFIGS / "deepspeed_config.json"))
    filled.trainer_config_process(args)
    filled.trainer_config_finalize(args, None, 6)
    assert "auto" not in json.dumps(filled.config)
    assert filled.config["train_micro_batch_size_per_gpu"] == 4 and filled.config["gradient_accumulation_steps"] == 3
    assert filled.config["optimizer"]["params"]["weight_decay"] == 0.2
    zero = filled.config["zero_optimization"]
    assert zero["stage"] == 2 and zero["offload_optimizer"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("changes", "stage", "said"),
    [
        ({"head": {"learning_rate": 0.1}}, 2, "head.learning_rate"),
        ({"training": {"optim": "paged_adamw_8bit"}}, 2, "training.optim: paged_adamw_8bit"),
        ({}, 3, "ZeRO-3"),
        ({"training": {"optim": "adamw_torch"}}, 2, None),
    ],
)
def test_deepspeed_overrides_nothing_silently(tmp_path, changes, stage, said):
    from shared.errors import ConfigError
    from shared.finetune.config import load_config
    from shared.finetune.training.arguments import check_deepspeed

    config = load_config(config_for(tmp_path, "SEQ_CLS", 4)).changed(**changes)
    settings = json.loads((ROOT / CONFIGS / "deepspeed_config.json").read_text())
    settings["zero_optimization"]["stage"] = stage
    args = SimpleNamespace(deepspeed_plugin=SimpleNamespace(hf_ds_config=SimpleNamespace(config=settings)))
    with nullcontext() if said is None else pytest.raises(ConfigError, match=said):
        check_deepspeed(config, args)


def slurm(tmp_path: Path, node: int, *arguments: str) -> list[str]:
    """What the Slurm example starts on one machine, by stand-ins for Slurm's commands and for Python."""
    folder = tmp_path / f"bin{node}"
    folder.mkdir()
    for name, text in {
        "scontrol": "echo first-machine; sleep 0.2; echo second-machine",  # a reader must not go after the first
        "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "python": "printf '%s\\n' \"$@\"",
    }.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "machines[1-2]", "SLURM_NNODES": "2", "SLURM_NODEID": str(node)}
    job |= {"SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "16", "PEFT_LABS_PYTHON": str(folder / "python")}
    done = subprocess.run(
        ["bash", "examples/slurm_multi_node.sh", *arguments],
        cwd=ROOT,
        env={**os.environ, **job, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [done.stderr] if done.returncode else done.stdout.splitlines()


def test_the_slurm_example_starts_a_launcher_that_accelerate_understands(tmp_path):
    from accelerate.commands.launch import launch_command_parser

    for node in (0, 1):
        words = slurm(tmp_path, node, "my.yaml", "training.max_steps=5")
        assert words[:2] == ["-m", "accelerate.commands.launch"], words
        found = launch_command_parser().parse_args(words[2:])
        assert (found.num_machines, found.num_processes, found.machine_rank) == (2, 8, node)
        assert (found.main_process_ip, found.main_process_port) == ("first-machine", 20077)
        assert found.module and found.training_script == "shared.finetune.train"
        assert found.training_script_args == ["--resume", "--config", "my.yaml", "training.max_steps=5"]
    assert re.search("usage: sbatch", slurm(tmp_path, 2)[0])


@pytest.mark.slow
@pytest.mark.timeout(2400)  # the first time it compiles two extensions, some minutes where the cores are busy
def test_deepspeed_zero_2_with_offload_trains_on_the_cpu(tmp_path):
    """Two gloo processes through the shipped files, but for what needs a GPU: pinned memory and two GPUs' launcher."""
    pytest.importorskip("deepspeed")
    one, two = config_for(tmp_path / "one", "SEQ_CLS", 8), config_for(tmp_path / "two", "SEQ_CLS", 4)
    assert train.main(["--config", str(one)]) == 0
    training_processes(accelerate(two, file="accelerate_deepspeed.yaml"), two, DS_ACCELERATOR="cpu")
    assert_same_training(tmp_path / "one" / "out", tmp_path / "two" / "out")
