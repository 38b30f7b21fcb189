"""(IA)³ (Liu et al., 2022, arXiv:2205.05638): trained vectors, initially 1, that rescale keys, values and the FFN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection

if TYPE_CHECKING:
    from peft import IA3Config

# The paper's three vectors, as (all targets, those of the feed-forward part, whose input is rescaled).
# peft's own defaults also rescale BERT's attention output. GPT-2's fused c_attn includes the query.
PAPER = {
    "bert": (r".*\.(key|value|layer\.\d+\.output\.dense)", r".*\.layer\.\d+\.output\.dense"),
    "roberta": (r".*\.(key|value|layer\.\d+\.output\.dense)", r".*\.layer\.\d+\.output\.dense"),
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "t5": (["k", "v", "wo"], ["wo"]),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"), (["k_proj", "v_proj", "down_proj"], ["down_proj"])
    ),
}


class IA3Section(PeftSection):
    """``peft:`` for (IA)³."""

    method: Literal["ia3"]
    target_modules: list[str] | str | None = Field(
        None, description="Layers that are rescaled; null: keys, values and the feed-forward part, as in the paper."
    )
    feedforward_modules: list[str] | str | None = Field(
        None, description="The ones whose input is rescaled instead of the output; null: the feed-forward part's."
    )


def refuse_unknown(section: IA3Section, model: Any, task_type: str) -> tuple[str, str] | None:
    """Architectures whose layer names are unknown need ``target_modules``."""
    if model.config.model_type in PAPER or section.target_modules is not None:
        return None
    return f"the layer names of {model.config.model_type} are unknown", "set target_modules and feedforward_modules"


def ia3_config(section: IA3Section, model: Any, task_type: str) -> IA3Config:
    """peft's configuration of this section.

    Args:
        section: ``config.peft``.
        model: The base.
        task_type: ``config.task_type``.
    """
    from peft import IA3Config

    from shared.finetune.methods.support.peft_wrapper import fused_layers, saved_modules

    targets, feedforward = PAPER.get(model.config.model_type, (None, None))
    if section.target_modules is not None:
        targets, feedforward = section.target_modules, section.feedforward_modules or []
    return IA3Config(
        task_type=task_type,
        target_modules=targets,
        feedforward_modules=feedforward,
        fan_in_fan_out=fused_layers(model),
        modules_to_save=saved_modules(model),
    )


METHOD = Method("ia3", IA3Section, learning_rate=3e-3, peft_config=ia3_config, refuse=refuse_unknown, peft_type="IA3")
