"""``training.report_to``: TensorBoard, Weights & Biases, trackio and the other loggers that transformers knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError
from shared.finetune.common.processes import say
from shared.finetune.common.suggestions import did_you_mean

if TYPE_CHECKING:
    from shared.finetune.config import Config

# trackio's requirements would replace pandas, those of newer releases huggingface_hub too; it works without them
TRIED = {
    "trackio": "--no-deps trackio==0.9.1 gradio==5.50.0 gradio_client==1.14.0 aiofiles groovy ffmpy safehttpx "
    "semantic-version tomlkit pydub orjson brotli websockets plotly narwhals pytz",
}
LOGS = "logs"  # beside the checkpoints while training, in the run's folder at the end


def loggers(config: Config) -> list[str]:
    """The loggers a configuration asks for, by transformers' names; all that are installed for ``all``.

    Raises:
        ConfigError: If one is unknown or not installed.
    """
    from transformers.integrations import get_available_reporting_integrations

    asked = config.training.report_to or "none"
    names = [asked] if isinstance(asked, str) else list(asked)
    if names == ["all"]:
        return get_available_reporting_integrations()
    names = [name for name in names if name != "none"]
    for name in names:
        _check(name)
    return names


def _check(name: str) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    if name not in INTEGRATION_TO_CALLBACK:
        fix = did_you_mean(name, [*INTEGRATION_TO_CALLBACK, "all", "none"])
        raise ConfigError(f"training.report_to: there is no logger {name!r}", fix=fix)
    try:
        INTEGRATION_TO_CALLBACK[name]()  # each says itself what it lacks
    except (RuntimeError, ImportError) as error:
        raise ConfigError(
            f"training.report_to: {name} can't be used: {str(error).splitlines()[0]}",
            fix=f"pip install {TRIED.get(name, name)} (not part of requirements.lock), or report_to: tensorboard",
        ) from error


def announce(config: Config, output_dir: Path) -> None:
    """Say where to look while the training runs.

    Raises:
        ConfigError: As :func:`loggers`: to be known before a base is loaded.
    """
    if "tensorboard" in loggers(config):
        say(f"watch with: tensorboard --logdir {config.training.logging_dir or output_dir / LOGS}")


def logger_values(config: Config, output_dir: str | Path, seed: int) -> dict[str, Any]:
    """TrainingArguments' values for the loggers; what the configuration names itself is kept.

    Args:
        config: The configuration.
        output_dir: Where the checkpoints go. TensorBoard's events lie beside them until the end, in one folder, so
            that a resumed run continues the same curve.
        seed: The run's seed.
    """
    names = loggers(config)
    if not names:
        return {"report_to": "none"}
    given = config.training.model_dump(exclude_unset=True)
    if "wandb" in names:  # it asks for a login otherwise, and waits for it for ever where nobody sits
        os.environ.setdefault("WANDB_PROJECT", config.task_name)
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            os.environ.setdefault("WANDB_MODE", "offline")
    return {
        "report_to": names,
        "logging_dir": given.get("logging_dir") or str(Path(output_dir) / LOGS),
        "run_name": given.get("run_name") or f"{config.task_name}-{config.peft.method}-seed{seed}",
        "project": given.get("project") or config.task_name,
        # trackio's default space would be made on the Hub, of which the user said nothing
        "trackio_space_id": given.get("trackio_space_id"),
    }
