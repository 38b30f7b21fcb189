"""Short training runs of random models, from a configuration file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import random_models as world
import torch
import yaml
from training_processes import tiny_config

from shared.finetune import train
from shared.finetune.config.loading import load_config


def configured(folder: Path, task: str = "SEQ_CLS", more: dict | None = None, **training: object) -> Path:
    """A short training's file; ``more`` are further sections."""
    file = tiny_config(folder, task, **{"max_steps": 4, "save_strategy": "no", **training})
    values = yaml.safe_load(file.read_text())
    for name, section in (more or {}).items():
        values[name] = {**values.get(name, {}), **section}
    return world.write_config(file, values)


def run(folder: Path, task: str = "SEQ_CLS", **given: object):
    return train.run(load_config(configured(folder, task, **given)), folder / "checkpoints", 0, score=False)


def logged(result, name: str) -> list[float]:
    return [step[name] for step in result.history if name in step]


def resumed(folder: Path, config, step: int):
    checkpoints = folder / "checkpoints"
    return train.run(config, checkpoints, 0, resume=checkpoints / f"checkpoint-{step}", score=False)


def assert_same(one, two) -> None:
    for name, parameter in two.trainer.model.named_parameters():
        assert torch.equal(one.trainer.model.get_parameter(name), parameter), name


def hide(monkeypatch, package: str) -> None:
    """Let a package seem not to be installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else found(name, *a))
