"""Fine-tuning recipes at micro scale, one file for each micro-model; the reference scores measure them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shared.tiny.recipes.setting import Budget, Setting
from shared.tiny.tasks import TASKS, Task

if TYPE_CHECKING:
    from shared.finetune.config import Config

__all__ = ["Budget", "Setting", "budget", "config_for", "methods"]

WITH_HEAD = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")


def methods(task: str) -> dict[str, Setting]:
    """The methods that are measured on a task, by name, from the weakest kind of change to full fine-tuning."""
    recipe = _recipe(task)
    own = recipe.METHODS | getattr(recipe, "BY_TASK", {}).get(task, {})
    with_head = TASKS[task].task_type in WITH_HEAD
    return {name: one for name, one in own.items() if one and (name != "head" or with_head)}


def budget(task: str) -> Budget:
    """Steps, batch and rows of a task; the same for each method."""
    recipe = _recipe(task)
    return getattr(recipe, "BUDGETS", {}).get(task, recipe.BUDGET)


def _recipe(task: str) -> Any:
    return importlib.import_module(f"{__name__}.{TASKS[task].model}")


def config_for(
    task: str,
    method: str,
    model: str | None = None,
    scored: int | None = None,
    steps: int | None = None,
    difficulty: str = "normal",
    split: str = "test",
    **changes: Any,
) -> Config:
    """Configuration of one method on one task, as ``shared.finetune`` reads it.

    Args:
        task: Name of a generated task.
        method: One of ``methods(task)``.
        model: Another model to start from.
        scored: Another number of test rows to score.
        steps: Another number of training steps.
        difficulty: Difficulty of the task.
        split: Split that is scored; sweeps take "validation".
        changes: Other fields of :class:`Setting`, for sweeps.

    Returns:
        A ``shared.finetune.config.loading.Config``.
    """
    from dataclasses import replace

    from shared.finetune.config import Config

    about, common, setting = TASKS[task], budget(task), replace(methods(task)[method], **changes)
    quantized = {"quantization": setting.quantized} if setting.quantized else {}
    return Config.model_validate({
        "task_name": f"{task}-{method}", "task_type": about.task_type,
        "model": {"name_or_path": model or f"tiny:{about.model}", "dtype": "float32", **quantized},
        "peft": setting.peft,
        "dataset": {**_dataset(about, common, difficulty), "test_split": split},
        "training": {
            "per_device_train_batch_size": common.batch, "max_steps": steps or common.steps,
            "learning_rate": setting.rate, "lr_scheduler_type": "cosine", "warmup_ratio": 0.05, "weight_decay": 0.0,
            "optim": common.optim,
            "logging_steps": 50, "save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True,
            **({"group_by_length": True} if common.by_length else {}),
        },
        "evaluation": _evaluation(about, scored or common.scored),
        **_head(about, setting),
        **({"sft": {"max_length": about.details.get("max_length", 160), "packing": False}}
           if about.task_type == "CAUSAL_LM" else {}),
    })  # fmt: skip


def _head(task: Task, setting: Setting) -> dict[str, Any]:
    rate = setting.head_rate if task.task_type in WITH_HEAD else None
    return {"head": {"learning_rate": rate}} if rate else {}


def _dataset(task: Task, common: Budget, difficulty: str) -> dict[str, Any]:
    keys = ("prompt_template", "response_marker", "response_field", "max_target_length")
    shape = {key: task.details[key] for key in keys if key in task.details}
    if task.task_type != "CAUSAL_LM":
        shape["max_length"] = task.details["max_length"]
    level = {} if difficulty == "normal" else {"config": difficulty}
    return {"name": f"tiny:{task.name}", "max_train_rows": common.rows, **level, **shape}


def _evaluation(task: Task, scored: int) -> dict[str, Any]:
    keys = ("max_new_tokens", "stop", "format_regex", "metric")
    return {"batch_size": 100, "rows": scored, **{key: task.details[key] for key in keys if key in task.details}}
