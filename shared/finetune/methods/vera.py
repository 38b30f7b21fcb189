"""VeRA (Kopiczko et al., 2024, arXiv:2310.11454): LoRA with shared, frozen, random A and B; two vectors are trained.

h = W0 x + Λ_b B Λ_d A x. All adapted layers use the same A and B, so a layer adds r + d_out trainable parameters only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import VeraConfig


class VeraSection(PeftSection):
    """``peft:`` for VeRA."""

    method: Literal["vera"]
    vera_r: int = Field(
        256,
        ge=1,
        description="Rank r of the frozen matrices A and B. It costs r + d_out trainable parameters per adapted "
        "matrix, so much higher ranks than LoRA's are usual.",
    )
    d_initial: float = Field(0.1, gt=0, description="Initial value of the trained vector Λ_d; Λ_b starts at zero.")
    vera_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inputs that is set to zero during training [0–1]."
    )
    target_modules: list[str] | str = Field(
        "all-linear",
        description="Names of the linear layers that get an adapter; 'all-linear' is every linear layer except the "
        "output head.",
    )
    projection_prng_key: int = Field(0, ge=0, description="Seed of the random matrices A and B.")


def vera_config(section: VeraSection, model: Any, task_type: str) -> VeraConfig:
    """peft's configuration of this section; A and B are stored with the adapter.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import VeraConfig

    from shared.finetune.methods.support.peft_wrapper import fused_layers, saved_modules

    names = ("d_initial", "vera_dropout", "target_modules", "projection_prng_key")
    return VeraConfig(
        task_type=task_type,
        r=section.vera_r,
        fan_in_fan_out=fused_layers(model),
        modules_to_save=saved_modules(model),
        **{name: getattr(section, name) for name in names},
    )


METHOD = Method("vera", VeraSection, learning_rate=1e-2, peft_config=vera_config, peft_type="VERA")
