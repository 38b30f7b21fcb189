"""The shipped configurations and examples: small versions differ in size only; every verb and script runs on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.finetune import evaluate, inference, merge_adapter, train
from shared.finetune.config import load_config
from shared.finetune.validate_config import shipped_configs
from shared.paths import repo_root

CONFIGS = repo_root() / "shared/finetune/configs"
EXAMPLES = repo_root() / "examples"
NAMES = ("glue_mrpc", "metamath_qa", "gsm8k", "code_feedback")

MODEL = {"model.name_or_path", "model.dtype", "model.quantization", "peft.target_modules"}
DATA = {f"dataset.{key}" for key in ("name", "config", "train_split", "eval_split", "test_split", "text_columns")}
SIZE = {
    *(f"dataset.{key}" for key in ("max_train_rows", "max_eval_rows", "max_length")),
    *(f"training.per_device_{part}_batch_size" for part in ("train", "eval")),
    *(f"training.{key}" for key in ("gradient_accumulation_steps", "num_train_epochs", "max_steps")),
    *(f"training.{key}_steps" for key in ("logging", "eval", "save")),
    *(f"evaluation.{key}" for key in ("rows", "batch_size", "max_new_tokens")),
    "training.output_dir", "training.learning_rate",  # a small model wants a higher rate
    "training.optim", "training.gradient_checkpointing", "sft.max_length",  # what saves a large model's memory
}  # fmt: skip
MORE = {"code_feedback": {"evaluation.metric"}}  # the public rows have no tests, the generated ones do


def flat(values: dict, prefix: str = "") -> dict:
    """Dotted key -> value; quantization and max_words count as one value."""
    found = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        deeper = isinstance(value, dict) and dotted not in ("model.quantization", "dataset.max_words")
        found |= flat(value, f"{dotted}.") if deeper else {dotted: value}
    return found


def small_version(name: str) -> Path:
    return CONFIGS / "tiny" / f"{name}.yaml"


def test_each_configuration_has_a_small_version_and_all_are_validated():
    assert {path.stem for path in (CONFIGS / "tiny").glob("*.yaml")} == set(NAMES)
    assert {CONFIGS / f"{name}.yaml" for name in NAMES} | set(map(small_version, NAMES)) <= set(shipped_configs())


@pytest.mark.parametrize("name", NAMES)
def test_a_small_version_differs_in_model_data_and_size_only(name):
    full, tiny = (flat(load_config(path).given()) for path in (CONFIGS / f"{name}.yaml", small_version(name)))
    unlike = {key for key in full.keys() | tiny.keys() if full.get(key) != tiny.get(key)}
    assert unlike <= MODEL | DATA | SIZE | MORE.get(name, set())
    assert {"model.name_or_path", "dataset.name"} <= unlike
    assert tiny["model.name_or_path"].startswith("tiny:") and tiny["dataset.name"].startswith("tiny:")
    assert not full["model.name_or_path"].startswith("tiny:") and not full["dataset.name"].startswith("tiny:")


@pytest.mark.parametrize("path", [*CONFIGS.glob("*.yaml"), *CONFIGS.glob("tiny/*.yaml")], ids=lambda path: path.stem)
def test_no_configuration_ends_a_run_in_a_folder_of_another(path):
    if path.stem.startswith("accelerate"):
        return
    place = "tiny/" if path.parent.name == "tiny" else ""
    assert load_config(path).training.output_dir == f"outputs/{place}{path.stem}"


# -- the verbs --------------------------------------------------------------------------------------------------------

SHORT = ["training.max_steps=3", "training.use_cpu=true", "evaluation.rows=4", "evaluation.max_new_tokens=8",
         "dataset.max_eval_rows=8"]  # fmt: skip
INPUTS = {
    "glue_mrpc": {"sentence1": "Ann went to Rome.", "sentence2": "Rome saw Ann."},
    "metamath_qa": {"query": "Ida has 3 pens and gets 4 more. How many pens does Ida have?"},
    "gsm8k": {"question": "Ida has 3 pens and gets 4 more. How many pens does Ida have?"},
    "code_feedback": {"messages": [{"role": "user", "content": "Write a function f. It takes a and returns a + 1."}]},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_small_version_trains_evaluates_answers_and_merges(name, tmp_path, capsys):
    out = tmp_path / "out"
    words = [*SHORT, f"training.output_dir={out}"]
    base = ["--config", str(small_version(name))]
    assert train.main([*base, *words]) == 0, capsys.readouterr().err
    trained = json.loads((out / "metrics.json").read_text())
    assert trained["steps"] == 3 and trained["n"] == 4 and 0 < trained["trainable"] < trained["total"]

    scores = tmp_path / "scores.json"
    assert evaluate.main([*base, "--model_path", str(out), "--output_file", str(scores), *words]) == 0
    again = json.loads(scores.read_text())
    assert again[trained["main_metric"]] == trained[trained["main_metric"]], "scored as at the end of the training"

    batch, answers = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    batch.write_text(f"{json.dumps(INPUTS[name])}\n" * 3)
    files = ["--input_file", str(batch), "--output_file", str(answers)]
    assert inference.main([*base, "--model_path", str(out), *files, *words]) == 0
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(rows) == 3 and rows[0]["answer"] == rows[2]["answer"]

    capsys.readouterr()
    code = inference.main([*base, "--model_path", str(out), "--input_text", "Ida has 3 pens.", *words])
    if name == "glue_mrpc":  # a pair is no text
        assert code == 1 and "sentence1" in capsys.readouterr().err
    else:
        assert code == 0 and capsys.readouterr().out

    merged = tmp_path / "merged"
    paths = ["--adapter_path", str(out), "--output_path", str(merged)]
    assert merge_adapter.main([*base, *paths, "--verify", "always", *words]) == 0
    report = json.loads((merged / "merge.json").read_text())
    assert report["verified"] and report["relative_error"] <= 1e-4 < report["adapter_effect"]


def test_what_has_no_merge_is_refused_with_the_reason(tmp_path, capsys):
    out = tmp_path / "out"
    words = [*SHORT, f"training.output_dir={out}"]
    config = load_config(small_version("glue_mrpc"), words).changed(peft={"method": "p-tuning-v2"})
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert train.main(["--config", str(file), "--no_score"]) == 0
    paths = ["--adapter_path", str(out), "--output_path", str(tmp_path / "merged")]
    assert merge_adapter.main(["--config", str(file), *paths]) == 1
    said = capsys.readouterr().err
    assert "key/value cache and changes no weight" in said and not (tmp_path / "merged").exists()


# -- the examples -----------------------------------------------------------------------------------------------------


def example(name: str, *words: str, **more: str) -> subprocess.CompletedProcess:
    """Run an example as a user does, on its small offline version."""
    command = [sys.executable] if name.endswith(".py") else ["bash"]
    own = {"TINY": "1", "PEFT_LABS_PYTHON": sys.executable, "PYTHONPATH": str(repo_root()), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([*command, str(EXAMPLES / name), *words], cwd=repo_root(), env={**os.environ, **own, **more},
                          capture_output=True, text=True, timeout=500, check=False)  # fmt: skip


def test_quick_start_trains_answers_and_merges(tmp_path):
    done = example("quick_start.py", *SHORT, f"training.output_dir={tmp_path / 'out'}")
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("1. train: lora on tiny:bert", "2. inference", "3. merge", "give the same answers: yes"):
        assert text in done.stdout
    assert (tmp_path / "out-merged" / "model.safetensors").is_file()


def test_train_glue_validates_trains_and_merges(tmp_path):
    done = example("train_glue.sh", *SHORT, f"training.output_dir={tmp_path / 'out'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 valid" in done.stdout and "accuracy" in done.stdout and "verified" in done.stdout
    assert (tmp_path / "out-merged" / "model.safetensors").is_file()


def test_train_metamath_trains_scores_and_answers_with_run_inference(tmp_path):
    """One test for two scripts: the second uses what the first has trained."""
    out = f"training.output_dir={tmp_path / 'out'}"
    done = example("train_metamath.sh", *SHORT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "final number" in done.stdout
    assert json.loads((tmp_path / "out-scores.json").read_text())["n"] == 4
    file = tmp_path / "in.txt"
    file.write_text("Ida has 3 pens.\nZoe has 4 pens and loses 2.\n")
    answers = ["--input_file", str(file), "--output_file", str(tmp_path / "answers.json")]
    done = example("run_inference.sh", str(small_version("metamath_qa")), *answers, out, SHORT[3])
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 2


def test_run_inference_trains_its_small_version_first(tmp_path):
    done = example("run_inference.sh", *SHORT, f"training.output_dir={tmp_path / 'out'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training the small offline version" in done.stdout and "3 steps in" in done.stdout
    assert (tmp_path / "out" / "adapter").is_dir() and done.stdout.splitlines()[-1].strip(), "no answer"


def test_run_inference_without_a_model_says_how_to_train_one(tmp_path):
    done = example("run_inference.sh", MODEL_PATH=str(tmp_path / "nothing"))
    assert done.returncode == 1 and "train it first: peft-labs train --config" in done.stderr
    assert "tiny/gsm8k.yaml" in done.stderr


def test_train_multi_gpu_starts_two_processes_on_a_cpu(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/bash\nexit 9\n")  # as on a machine without a GPU, also where one is
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = example("train_multi_gpu.sh", *SHORT, f"training.output_dir={tmp_path / 'out'}", PATH=path, PORT="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 steps in") == 1, "one of the processes reports"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["steps"] == 3 and metrics["n"] == 4


def training_processes(tmp_path: Path, gpus: int, **more: str) -> list[str]:
    """What train_multi_gpu.sh starts on a machine with so many GPUs, by stand-ins for nvidia-smi and Python."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/bash\nfor n in $(seq {gpus}); do echo GPU $n; done\n")
    (tmp_path / "python").write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    for name in ("nvidia-smi", "python"):
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    stand_ins = {"PATH": path, "PEFT_LABS_PYTHON": str(tmp_path / "python"), "TINY": ""}
    done = example("train_multi_gpu.sh", "training.max_steps=5", **{**stand_ins, **more})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("more", "file"), [({}, "accelerate_config.yaml"),
                                            ({"DEEPSPEED": "1"}, "accelerate_deepspeed.yaml")])  # fmt: skip
def test_train_multi_gpu_takes_all_gpus_and_the_real_configuration(tmp_path, more, file):
    from accelerate.commands.launch import launch_command_parser

    found = launch_command_parser().parse_args(training_processes(tmp_path, 3, **more)[2:])
    assert found.config_file == str(CONFIGS / file) and found.num_processes == 3 and found.module
    assert found.training_script_args == ["--config", str(CONFIGS / "gsm8k.yaml"), "training.max_steps=5"]


def test_the_scripts_are_sound_and_described():
    scripts = sorted(EXAMPLES.glob("*.sh"))
    assert {path.name for path in scripts} >= {"train_glue.sh", "train_metamath.sh", "train_multi_gpu.sh"}
    for path in scripts:
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        text = path.read_text(encoding="utf8")
        assert "set -euo pipefail" in text or "common.sh" in text, path.name
        for name in re.findall(r"shared/finetune/configs/[\w./]+\.yaml", text):
            assert (repo_root() / name).is_file(), name
