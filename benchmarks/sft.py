"""(a) Supervised fine-tuning with LoRA on the CPU: ``peft-labs train`` against ``trl sft`` and LLaMA-Factory.

The same model, rows, tokens, threads, rank, batch, steps and optimizer for all; only the adapter and nothing else is
saved. ``fp32`` and ``bf16`` (autocast) compare at one precision; the better of each program's two rows is its best
setting on the machine.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks import models
from benchmarks.measure import Case, about, interleaved
from benchmarks.peers import environment, peer_versions

RANK, BATCH, LENGTH, RATE = 8, 4, 512, 2e-4
MODELS: dict[str, Callable[[], Path]] = {"SmolLM2-135M": models.smollm2, "Llama-20M": models.llama_20m}
PRECISIONS = ("fp32", "bf16")


def run(folder: Path, steps: int = 16, repeats: int = 3, threads: int = 2, model: str = "SmolLM2-135M") -> dict:
    """Train with every program.

    Args:
        folder: Where logs and outputs go.
        steps: Optimizer steps of :data:`BATCH` rows; each row is seen once.
        repeats: How often, interleaved.
        threads: Threads of each program.
        model: A key of :data:`MODELS`.

    Returns:
        Settings, machine, and for each program its repeats: ``seconds`` of the whole command, ``train`` [s] of the
        training alone, ``rate`` [tokens/s] of it, its mean ``loss``, ``rss`` [MiB].
    """
    base, rows = MODELS[model](), models.stories(steps * BATCH)
    tokens = _tokens(base, rows)
    cases = contestants(folder, base, rows, steps, threads)
    runs = interleaved(cases, repeats, folder / "runs")
    for each in runs.values():
        for one in each:
            one["rate"] = round(tokens / one["train"], 1)
    settings = {"model": model, "rows": len(rows), "tokens": tokens, "rank": RANK, "batch": BATCH, "steps": steps}
    versions = {name: peer_versions(name) for name in ("trl", "llamafactory")}
    machine = about(threads, ["torch", "transformers", "peft", "trl", "peft-labs"])
    return {"benchmark": "sft", "settings": settings, "machine": machine, "peers": versions, "runs": runs}


def _tokens(base: Path, rows: list[dict[str, str]]) -> int:
    """Tokens of all rows with their end token: what every program has to read, padding not counted."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    return sum(len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) + 1 for row in rows)


def contestants(folder: Path, base: Path, rows: list[dict[str, str]], steps: int, threads: int) -> list[Case]:
    """Every program at every precision."""
    variables = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    makers = {"peft-labs": _own, "trl": _trl, "LLaMA-Factory": _llamafactory}
    return [
        Case(f"{name}, {precision}", *_prepared(make, folder / name, base, rows, steps, precision, variables))
        for precision in PRECISIONS
        for name, make in makers.items()
    ]


def _prepared(make: Any, folder: Path, base: Path, rows: Any, steps: int, precision: str, variables: dict) -> tuple:
    place = folder / precision.replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    command, read = make(place, base, rows, steps, precision)
    return command, variables, read


def _common(steps: int) -> dict[str, Any]:
    """TrainingArguments that all three know by these names."""
    return {
        "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1, "max_steps": steps,
        "learning_rate": RATE, "lr_scheduler_type": "constant", "optim": "adamw_torch", "logging_steps": 4,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "seed": 0, "gradient_checkpointing": False,
    }  # fmt: skip


def _own(place: Path, base: Path, rows: list, steps: int, precision: str) -> tuple[list[str], Any]:
    data = models.write_rows(place / "data" / "train.jsonl", rows).parent
    config = {
        "task_name": "benchmark",
        "model": {"name_or_path": str(base), "dtype": "float32"},
        "peft": {"method": "lora", "lora_r": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0,
                 "target_modules": models.LINEAR},
        "dataset": {"name": str(data), "prompt_template": "{prompt}{completion}"},
        "training": {**_common(steps), "bf16": precision == "bf16", "output_dir": str(place / "out")},
        "sft": {"max_length": LENGTH},
    }  # fmt: skip
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "shared.finetune.train", "--config", str(file), "--no_score"]

    def read(folder: Path, text: str) -> dict[str, float]:
        history = json.loads((place / "out" / "history.json").read_text())
        seconds = json.loads((place / "out" / "metrics.json").read_text())["seconds"]
        return {"train": seconds, "loss": next(one["train_loss"] for one in history if "train_loss" in one)}

    return command, read


def _trl(place: Path, base: Path, rows: list, steps: int, precision: str) -> tuple[list[str], Any]:
    data = models.write_rows(place / "data" / "train.jsonl", rows).parent
    config = {
        **_common(steps), "model_name_or_path": str(base), "dataset_name": str(data), "max_length": LENGTH,
        "use_peft": True, "lora_r": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0,
        "lora_target_modules": models.LINEAR, "output_dir": str(place / "out"), "bf16": precision == "bf16",
        "dtype": "float32", "eval_strategy": "no",
    }  # fmt: skip
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return [str(environment("trl") / "trl"), "sft", "--config", str(file)], _from_log


def _llamafactory(place: Path, base: Path, rows: list, steps: int, precision: str) -> tuple[list[str], Any]:
    data = place / "data"
    models.write_rows(data / "rows.jsonl", [{"instruction": r["prompt"], "output": r["completion"]} for r in rows])
    columns = {"prompt": "instruction", "response": "output"}
    (data / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.jsonl", "columns": columns}}))
    config = {
        **_common(steps), "model_name_or_path": str(base), "stage": "sft", "do_train": True,
        "finetuning_type": "lora", "lora_rank": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.0,
        "lora_target": ",".join(models.LINEAR), "dataset": "rows", "dataset_dir": str(data), "template": "empty",
        "cutoff_len": LENGTH, "output_dir": str(place / "out"), "overwrite_output_dir": True,
        "overwrite_cache": True, "include_num_input_tokens_seen": True, "disable_gradient_checkpointing": True,
        "bf16": precision == "bf16",
    }  # fmt: skip
    del config["gradient_checkpointing"]
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(config))

    def read(folder: Path, text: str) -> dict[str, float]:
        found = json.loads((place / "out" / "all_results.json").read_text())
        return {"train": found["train_runtime"], "loss": found["train_loss"]}

    return [str(environment("llamafactory") / "llamafactory-cli"), "train", str(file)], read


def _from_log(folder: Path, text: str) -> dict[str, float]:
    """transformers' own time of the training loop, and the mean loss, as its log prints them."""
    found = {name: re.findall(rf"'train_{name}': ([\d.]+)", text)[-1] for name in ("runtime", "loss")}
    return {"train": float(found["runtime"]), "loss": float(found["loss"])}
