"""AdaLoRA (Zhang et al., 2023, arXiv:2303.10512): P·Λ·Q instead of B·A; unimportant singular values are pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import AdaLoraConfig


class AdaLoraSection(PeftSection):
    """``peft:`` for AdaLoRA."""

    method: Literal["adalora"]
    init_r: int = Field(12, ge=1, description="Rank of each update at the start.")
    target_r: int = Field(8, ge=1, description="Mean rank at the end, after pruning.")
    lora_alpha: int | float = Field(16, gt=0, description="The update is scaled by alpha / current rank.")
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inputs that is set to zero during training [0–1]."
    )
    target_modules: list[str] | str = Field("all-linear", description="Linear layers that get an update.")
    tinit: int | None = Field(
        None, ge=0, description="Steps before pruning begins [steps]; null: a tenth of all steps."
    )
    tfinal: int | None = Field(
        None, ge=0, description="Steps after pruning has ended [steps]; null: three tenths of all steps."
    )
    deltaT: int = Field(10, ge=1, description="Interval between prunings [steps].")
    orth_reg_weight: float = Field(0.5, ge=0, description="Weight of the penalty that keeps P and Q orthogonal.")


def adalora_config(section: AdaLoraSection, model: Any, task_type: str) -> AdaLoraConfig:
    """peft's configuration of this section; the number of steps is set when training begins.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import AdaLoraConfig

    from shared.finetune.methods.support.peft_wrapper import fused_layers, saved_modules

    names = ("init_r", "target_r", "lora_alpha", "lora_dropout", "target_modules", "deltaT", "orth_reg_weight")
    tinit, tfinal = section.tinit or 0, section.tfinal or 0
    return AdaLoraConfig(
        task_type=task_type,
        total_step=tinit + tfinal + 1,
        tinit=tinit,
        tfinal=tfinal,
        fan_in_fan_out=fused_layers(model),
        modules_to_save=saved_modules(model),
        **{name: getattr(section, name) for name in names},
    )


def schedule(section: AdaLoraSection) -> Any:
    """The Trainer callback that lets AdaLoRA prune."""
    from shared.finetune.methods.support.adalora_schedule import AdaLoraSchedule

    return AdaLoraSchedule(section.tinit, section.tfinal)


METHOD = Method(
    "adalora",
    AdaLoraSection,
    learning_rate=1e-3,
    peft_config=adalora_config,
    callback=schedule,
    peft_type="ADALORA",
)
