"""Prefix-tuning (Li and Liang, 2021, arXiv:2101.00190): trained keys and values before those of every layer.

During training an MLP produces them from a small matrix; only its output is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import PrefixTuningConfig

NO_MERGE = "its prefix is a part of the key/value cache and changes no weight"
NO_CHECKPOINTING = "the prefix is a key/value cache, which gradient checkpointing disables"


class PrefixTuningSection(PeftSection):
    """``peft:`` for prefix-tuning."""

    method: Literal["prefix-tuning"]
    num_virtual_tokens: int = Field(
        20, ge=1, description="Length p of the prefix [tokens]; 2·p·L·d numbers are stored."
    )
    prefix_projection: bool = Field(
        True,
        description="Produce the prefix with an MLP during training, as in the paper: more stable, more parameters.",
    )
    encoder_hidden_size: int = Field(512, ge=1, description="Hidden size of that MLP; the paper: 512 or 800.")
    init_weights: Literal["random", "zero"] = Field(
        "random", description="zero: keys and values start at zero, which changes a small model less."
    )


def refuse_prefix(section: Any, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why this model can't take a prefix, and the fix; None otherwise."""
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        why = "this transformers computes its positions from the cache's length and fails with a prefix (TypeError)"
        return why, "use a BERT, or another method"
    if getattr(model.config, "is_encoder_decoder", False) and task_type != "SEQ_2_SEQ_LM":
        return (
            "for an encoder-decoder, peft's prefix supports text-to-text tasks only",
            "use SEQ_2_SEQ_LM, or an encoder such as BERT",
        )
    return None


def prefix_tuning_config(section: PrefixTuningSection, model: Any, task_type: str) -> PrefixTuningConfig:
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
        prefix_projection=section.prefix_projection,
        encoder_hidden_size=section.encoder_hidden_size,
        init_weights="zero" if section.init_weights == "zero" else None,
        modules_to_save=saved_modules(model),
    )


METHOD = Method(
    "prefix-tuning",
    PrefixTuningSection,
    learning_rate=1e-3,
    peft_config=prefix_tuning_config,
    refuse=refuse_prefix,
    no_merge=NO_MERGE,
    peft_type="PREFIX_TUNING",
    no_checkpointing=NO_CHECKPOINTING,
)
