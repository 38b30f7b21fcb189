"""The files of a finished training run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.finetune.models.gguf import drop_gguf_copy
from shared.finetune.models.storage import kind_of, save_peft, store
from shared.finetune.training.reporting import LOGS
from shared.finetune.training.training_run import TrainResult

if TYPE_CHECKING:
    from shared.finetune.config import Config


def save(result: TrainResult, config: Config, out: Path) -> None:
    """Write a run's files into a (partial) folder: adapter/ or model/, config.yaml, metrics.json, history.json.

    Args:
        result: What :func:`run` returned.
        config: Its configuration.
        out: The folder to write into.
    """
    from shared.files import write_json, write_text

    tokenizer = result.trainer.processing_class
    model = result.trainer.accelerator.unwrap_model(result.trainer.model)
    config = result.config or config
    weights = out / kind_of(config)
    store(model, weights, config)
    tokenizer.save_pretrained(weights)
    drop_gguf_copy(weights)
    write_text(out / "config.yaml", config.to_yaml())
    write_json(out / "metrics.json", result.metrics)
    write_json(out / "history.json", result.history)
    if result.batches:
        write_json(out / "batches.json", result.batches)
    logs = Path(result.trainer.args.output_dir) / LOGS
    if logs.is_dir():
        shutil.copytree(logs, out / LOGS)
    if result.notes:
        write_text(out / "answers.jsonl", "".join(_json_line(row) for row in result.notes))


def save_weights(model: Any, folder: Path) -> None:
    """Save an adapter of peft's or a whole model as safetensors, offline.

    :func:`shared.finetune.models.storage.store` saves what any method trained.
    """
    if hasattr(model, "peft_config"):
        save_peft(model, folder)
    else:
        model.save_pretrained(folder, safe_serialization=True)


def _json_line(row: dict[str, Any]) -> str:
    import json

    return json.dumps(row, ensure_ascii=False) + "\n"
