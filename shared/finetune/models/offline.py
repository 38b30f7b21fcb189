"""Models that need no Hub, and which of them fit a configuration's task and method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import PeftLabsError
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from shared.finetune.config import Config

TINY = ("bert", "gpt2", "llama", "t5")
# What `peft-labs fetch-models` gets from pip packages, with the embedded model of the same architecture
FETCHED = {"smollm2-135m-instruct": "llama", "all-minilm-l6-v2": "bert"}


def offline_models(config: Config | None) -> str:
    """What to use where the Hub is out of reach, as a fix: models that can do the task and that the method can tune.

    Args:
        config: The configuration; None: any model is offered.
    """
    fitting = [name for name in TINY if config is None or _fits(name, config)]
    names = [f"tiny:{name}" for name in fitting]
    names += [f"fetched:{name} (peft-labs fetch-models)" for name, like in FETCHED.items() if like in fitting]
    if not names:
        return "name a model folder on this machine in model.name_or_path"
    return f"use {', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else f"use {names[0]}"


def tasks_of(about: PretrainedConfig) -> list[str]:
    """The tasks that an architecture has a head for; a bidirectional one does not generate text."""
    import transformers

    both_ways = type(about) in transformers.AutoModelForMaskedLM._model_mapping and not about.is_decoder
    return [
        task.name
        for task in TASKS.values()
        if type(about) in getattr(transformers, task.auto_class)._model_mapping
        and not (task.name == "CAUSAL_LM" and both_ways)
    ]


def _fits(name: str, config: Config) -> bool:
    """Whether an embedded model's architecture can do the task and take the method, from its shapes alone."""
    import torch
    import transformers

    from shared.tiny import model_path

    about = transformers.AutoConfig.from_pretrained(model_path(name))
    if config.task_type not in tasks_of(about):
        return False
    method = METHODS[config.peft.method]
    section: Any = config.peft
    if hasattr(section, "target_modules"):  # the names are those of the model that can't be reached
        section = type(section)(method=section.method)
    with torch.device("meta"):
        model = getattr(transformers, TASKS[config.task_type].auto_class).from_config(about)
    try:
        method.check(model, section, config.task_type)
    except PeftLabsError:
        return False
    return True
