"""P-tuning v2 (Liu et al., 2022, arXiv:2110.07602): prompts in every layer, and a new head.

peft has no class of that name: it is prefix-tuning without the MLP, with a trained task head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.prefix_tuning import NO_CHECKPOINTING, NO_MERGE, refuse_prefix

if TYPE_CHECKING:
    from peft import PrefixTuningConfig


class PTuningV2Section(PeftSection):
    """``peft:`` for P-tuning v2."""

    method: Literal["p-tuning-v2"]
    num_virtual_tokens: int = Field(
        20,
        ge=1,
        description="Length p of the prompts [tokens]; 2·p·L·d parameters. The paper: under 20 for simple "
        "classification, about 100 for sequence tagging.",
    )
    init_weights: Literal["random", "zero"] = Field(
        "random", description="zero: keys and values start at zero, which changes a small model less."
    )


def p_tuning_v2_config(section: PTuningV2Section, model: Any, task_type: str) -> PrefixTuningConfig:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import PrefixTuningConfig

    from shared.finetune.methods.support.peft_wrapper import saved_modules

    return PrefixTuningConfig(
        task_type=task_type,
        num_virtual_tokens=section.num_virtual_tokens,
        prefix_projection=False,
        init_weights="zero" if section.init_weights == "zero" else None,
        modules_to_save=saved_modules(model),
    )


METHOD = Method(
    "p-tuning-v2",
    PTuningV2Section,
    learning_rate=7e-3,
    peft_config=p_tuning_v2_config,
    refuse=refuse_prefix,
    no_merge=NO_MERGE,
    peft_type="PREFIX_TUNING",
    no_checkpointing=NO_CHECKPOINTING,
)
