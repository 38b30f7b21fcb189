"""Training runs in a process of their own, as a user starts them, killed at a certain moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import random_models as world
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]

# Python imports this module at each start. A file or folder that is about to be made, opened, renamed or removed is
# an audit event, so that a process can be killed at the very moment.
HOOK = """
import os, signal, sys
moment = os.environ.get("KILL_AT", "")
if moment:
    event, part = moment.split("|")
    def look(name, arguments):
        if name == event and part in "|".join(map(str, arguments)):
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(look)
"""

TRAINING = {
    "max_steps": 10,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.2,
    "bf16": False,
    "use_cpu": True,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 2,
}


def tiny_config(folder: Path, task: str = "SEQ_CLS", **training: object) -> Path:
    """Write the configuration of a short training of a micro-model; 64 rows are 8 steps an epoch."""
    causal = task == "CAUSAL_LM"
    data = {"name": "tiny:guanaco", "response_marker": "### Assistant:"} if causal else {"name": "tiny:mrpc"}
    values = {
        "task_name": "short",
        "task_type": task,
        "model": {"name_or_path": "tiny:llama" if causal else "tiny:bert"},
        "peft": {"method": "lora", "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1},
        "dataset": {**data, "max_train_rows": 64, "max_eval_rows": 32},
        "training": {**TRAINING, "output_dir": str(folder / "out"), **training},
        "evaluation": {"rows": 16, "max_new_tokens": 4},
    }
    folder.mkdir(parents=True, exist_ok=True)
    return world.write_config(folder / "config.yaml", values)


def environment(folder: Path, moment: str = "") -> dict[str, str]:
    """The environment of a training: this checkout first, and the hook where it is to be killed at a moment."""
    (folder / "hook").mkdir(exist_ok=True)
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    paths = [str(folder / "hook"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "KILL_AT": moment}


def start(config: Path, *arguments: str, moment: str = "", command: list[str] | None = None) -> subprocess.Popen:
    """Start a training in a process group of its own; its output comes through one pipe."""
    command = command or [sys.executable, "-m", "shared.finetune.train", "--config", str(config), *arguments]
    return subprocess.Popen(
        command,
        env=environment(config.parent, moment),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def killed_at(config: Path, moment: str, *arguments: str) -> str:
    """Train until the process kills itself at ``event|part of its arguments``; returns what it printed."""
    code = f"{HOOK}\nfrom shared.finetune import train\nraise SystemExit(train.main(sys.argv[1:]))"
    words = ["--config", str(config), "--no_score", *arguments]
    number, said = forked(code, config.parent, *words, KILL_AT=moment)
    assert number == -signal.SIGKILL, said
    return said


def forked(code: str, folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run code in a process that is forked from one that has imported the libraries already.

    That saves ten seconds for each process. Nothing else is shared with this process or with other forked ones.

    Args:
        code: Python.
        folder: Where the output is written meanwhile.
        arguments: ``sys.argv`` after the program's name.
        variables: Environment variables to add.

    Returns:
        The exit code (negative: the signal that ended it), and what was printed.
    """
    printed = folder / "printed.txt"
    process = _preloaded().Process(target=_execute, args=(code, arguments, variables, printed))
    process.start()
    process.join(timeout=400)
    return process.exitcode, printed.read_text()


@cache
def _preloaded() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["peft", "trl", "shared.finetune.train", "shared.finetune.training.training_run",
                                    "shared.finetune.training.language_model_trainer"])  # fmt: skip
    return context


def _execute(code: str, arguments: tuple[str, ...], variables: dict[str, str], printed: Path) -> None:
    os.chdir(ROOT)
    file = os.open(printed, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.update(variables)
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})  # noqa: S102 - code of our own tests


def stopped_after(config: Path, line: str, number: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Send a signal to the process group when a line is printed; returns the exit code and all that was printed."""
    process = start(config, "--no_score", *arguments)
    said = []
    for text in process.stdout:
        said.append(text)
        if text.startswith(line):
            os.killpg(process.pid, number)
            break
    said.append(process.communicate(timeout=400)[0])
    return process.returncode, "".join(said)


def weights(out: Path) -> dict:
    """The trained adapter (with its head)."""
    return load_file(out / "adapter" / "adapter_model.safetensors")
