"""LoRA (Hu et al., 2022, arXiv:2106.09685): h = W0 x + (alpha/r) B A x with W0 frozen.

With a 4-bit base (``model.quantization``) the same section is QLoRA (Dettmers et al., 2023, arXiv:2305.14314).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import LoraConfig


class LoraSection(PeftSection):
    """``peft:`` for LoRA and QLoRA."""

    method: Literal["lora"]
    lora_r: int = Field(
        8,
        ge=1,
        description="Rank r of the update B·A. The number of parameters is r·(d_in + d_out) per adapted matrix.",
    )
    lora_alpha: int | float = Field(
        16,
        gt=0,
        description="The update is scaled by alpha/r (alpha/√r with use_rslora). Doubling alpha doubles the update, "
        "similar to a higher learning rate.",
    )
    lora_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the adapter's inputs that is set to zero during training [0–1]; reduces "
        "overfitting on small data.",
    )
    target_modules: list[str] | str = Field(
        "all-linear",
        description="Names of the linear layers that get an adapter; 'all-linear' is every linear layer except the "
        "output head. Adapting all layers matters more than a higher rank (QLoRA).",
    )
    bias: Literal["none", "all", "lora_only"] = Field("none", description="Which biases are also trained.")
    use_rslora: bool = Field(
        False,
        description="Scale by alpha/√r instead of alpha/r, so that the update does not shrink with a large "
        "rank (rsLoRA, arXiv:2312.03732).",
    )
    use_dora: bool = Field(
        False,
        description="Train magnitude and direction of the weights separately (DoRA, arXiv:2402.09353); slower "
        "per step.",
    )
    modules_to_save: list[str] | None = Field(
        None, description="Modules that are fully trained and stored with the adapter, for example a new head."
    )
    trainable_token_indices: list[int] | dict[str, list[int]] | None = Field(
        None,
        description="Train the rows of these tokens too [token numbers], of tokens that were added for example: a list "
        "for the input embedding (and the output head that shares its weights), or {embed_tokens: […], lm_head: […]}.",
    )
    layers_to_transform: list[int] | None = Field(None, description="Only these layers get adapters [numbers, from 0].")
    rank_pattern: dict[str, int] = Field(
        default_factory=dict, description="Other ranks for single layers, by name or regular expression."
    )
    alpha_pattern: dict[str, int | float] = Field(
        default_factory=dict, description="Other alphas for single layers, by name or regular expression."
    )
    init_lora_weights: bool | Literal["gaussian", "pissa", "olora"] = Field(
        True, description="true: A is random (Kaiming uniform) and B zero, so that training starts from the base model."
    )


def lora_config(section: LoraSection, model: Any = None, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft`` of a LoRA configuration.
        model: The base; its head is fully trained and saved. Not needed for a language model.
        task_type: ``config.task_type``.
    """
    from peft import LoraConfig

    from shared.finetune.methods.support.peft_wrapper import fused_layers, saved_modules

    values = {name: getattr(section, name) for name in LoraSection.model_fields if name not in ("method", "lora_r")}
    values["modules_to_save"] = saved_modules(model, section.modules_to_save)
    return LoraConfig(task_type=task_type, r=section.lora_r, fan_in_fan_out=fused_layers(model), **values)


METHOD = Method("lora", LoraSection, learning_rate=2e-4, peft_config=lora_config, peft_type="LORA")
