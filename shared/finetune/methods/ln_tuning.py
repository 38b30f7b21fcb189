"""LN tuning (Zhao et al., 2023, arXiv:2312.11420): only the normalization layers are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.support.heads import head_modules, in_head

if TYPE_CHECKING:
    from peft import LNTuningConfig


class LNTuningSection(PeftSection):
    """``peft:`` for LN tuning."""

    method: Literal["ln-tuning"]
    layers: list[int] | None = Field(
        None, description="Only the normalization layers inside these transformer layers [numbers, from 0]; null: all."
    )


def norm_modules(model: Any) -> list[str]:
    """The names of the normalization layers (LayerNorm, RMSNorm) outside of the task's head.

    Args:
        model: A transformers model. peft's own table has no entry for BERT and many others.
    """
    heads = head_modules(model)
    norms = (name for name, module in model.named_modules() if type(module).__name__.endswith("Norm"))
    return [name for name in norms if not in_head(name, heads)]


def chosen_norms(section: LNTuningSection, model: Any) -> list[str]:
    """The names of the normalization layers that are trained."""
    names = norm_modules(model)
    if section.layers is None:
        return names
    return [name for name in names if any(part.isdigit() and int(part) in section.layers for part in name.split("."))]


def refuse_without_norms(section: LNTuningSection, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why no parameter would be trained, and the fix; None otherwise."""
    if chosen_norms(section, model):
        return None
    if norm_modules(model):
        return "no normalization layer lies inside of peft.layers", "remove the key, or name other layers"
    return "this architecture has no normalization layers, so nothing would be trained", "use method: lora"


def ln_tuning_config(section: LNTuningSection, model: Any, task_type: str) -> LNTuningConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import LNTuningConfig

    from shared.finetune.methods.support.peft_wrapper import saved_modules

    names = chosen_norms(section, model)
    return LNTuningConfig(task_type=task_type, target_modules=names, modules_to_save=saved_modules(model))


METHOD = Method(
    "ln-tuning",
    LNTuningSection,
    learning_rate=1e-3,
    peft_config=ln_tuning_config,
    refuse=refuse_without_norms,
    peft_type="LN_TUNING",
)
