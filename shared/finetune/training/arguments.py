"""A configuration's ``training:`` and ``sft:`` sections as the Trainers' own arguments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import SFTConfig

    from shared.finetune.config import Config

# Where SFTConfig's defaults differ from TrainingArguments', `training:` means TrainingArguments'
OWN_DEFAULTS = ("learning_rate", "logging_steps", "gradient_checkpointing")


def sft_arguments(config: Config, output_dir: str | Path, seed: int = 0) -> SFTConfig:
    """The Trainer's arguments of a configuration.

    Args:
        config: Its ``training:`` and ``sft:`` sections.
        output_dir: Where checkpoints go.
        seed: Seed of weights, shuffling and dropout.

    Returns:
        TRL's SFTConfig. What the configuration leaves out has TrainingArguments' default, except ``report_to`` (none)
        and the precision, which :mod:`shared.finetune.training.precision` chooses.
    """
    from trl import SFTConfig

    _no_telemetry()
    own = {name: getattr(config.training, name) for name in OWN_DEFAULTS}
    return SFTConfig(**{**own, **_training_values(config, output_dir, seed)}, **config.sft.model_dump())


def task_arguments(config: Config, output_dir: str | Path, seed: int = 0) -> TrainingArguments:
    """As :func:`sft_arguments`, for the tasks that transformers' Trainer trains."""
    from transformers import TrainingArguments

    values = _training_values(config, output_dir, seed)
    # the rows are tokenised already, and peft's wrappers hide from the Trainer what the labels are called
    return TrainingArguments(
        **{
            **values,
            "remove_unused_columns": False,
            "label_names": list(TASKS[config.task_type].label_names),
        }
    )


def _training_values(config: Config, output_dir: str | Path, seed: int) -> dict[str, Any]:
    from shared.finetune.training.precision import check_optimizer, choose_precision
    from shared.finetune.training.reporting import logger_values

    values = config.training.model_dump(exclude_unset=True)
    precision = choose_precision(config).value
    # transformers leaves the format in the environment, from where the next TrainingArguments of the process take it:
    # after one training in bf16 all others would be in bf16
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no" if precision == "fp32" else precision
    cpu = _on_cpu(config)
    check_optimizer(config)
    # Reentrant checkpointing, transformers' default, gives no gradients to what is trained in the first block of a
    # frozen base, and says so in a warning only
    checkpointing = values.get("gradient_checkpointing_kwargs") or {"use_reentrant": False}
    return values | {
        "output_dir": str(output_dir),
        "seed": seed,
        "data_seed": values.get("data_seed"),
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": cpu,
        "gradient_checkpointing_kwargs": checkpointing,
        "auto_find_batch_size": False,  # done by shared.finetune.train.run, which keeps the effective batch
        **logger_values(config, output_dir, seed),
        "dataloader_pin_memory": values.get("dataloader_pin_memory", not cpu),
    }


def check_deepspeed(config: Config, args: TrainingArguments) -> None:
    """Refuse what DeepSpeed's file would silently override, and what can't be saved under it.

    Args:
        config: The configuration.
        args: The arguments that were made of it; without DeepSpeed nothing is checked.

    Raises:
        ConfigError: Naming the key.
    """
    plugin = args.deepspeed_plugin
    if plugin is None:
        return
    settings = plugin.hf_ds_config.config
    if settings.get("zero_optimization", {}).get("stage") == 3:
        raise ConfigError(
            "DeepSpeed: ZeRO-3 splits the weights over the processes, and whole ones are saved here",
            fix="use stage 2, as in shared/finetune/configs/deepspeed_config.json",
        )
    if "optimizer" not in settings:
        return
    given, own = config.training, settings["optimizer"].get("type")
    if config.head.learning_rate is not None:
        raise ConfigError(
            "head.learning_rate: DeepSpeed makes the optimizer, and gives all weights the same rate",
            fix="remove the key, or train without DeepSpeed",
        )
    if "optim" in given.model_fields_set and not str(given.optim).startswith("adamw_torch"):
        raise ConfigError(
            f"training.optim: {given.optim}, but DeepSpeed's file says {own}",
            fix="remove the key: the states lie in main memory already, in full precision",
        )


def _on_cpu(config: Config) -> bool:
    from shared.machine import choose_device

    return config.training.use_cpu or choose_device().value == "cpu"


def _no_telemetry() -> None:
    """TRL reports each training to the Hub's telemetry; a student's run is nobody's business."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
