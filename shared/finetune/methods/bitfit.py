"""BitFit (Ben-Zaken et al., 2022, arXiv:2106.10199): only the bias terms and the head are trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.support.heads import head_modules, in_head

# The paper's subset of half the size: the query's bias, and that of the feed-forward part's first layer
SUBSET = (".query.bias", ".intermediate.dense.bias")


class BitFitSection(PeftSection):
    """``peft:`` for BitFit."""

    method: Literal["bitfit"]
    biases: Literal["all", "query+intermediate"] = Field(
        "all",
        description="Which biases: all, including those of LayerNorm, or those of the query and of the feed-forward "
        "part's first layer, which are half as many; the paper finds them nearly as good.",
    )


def chosen_biases(section: BitFitSection, model: Any) -> list[str]:
    """The names of the trained bias parameters, without the head's."""
    heads = head_modules(model)
    names = [name for name, _ in model.named_parameters() if name.endswith("bias") and not in_head(name, heads)]
    # T5 has no bias, but a table named relative_attention_bias, whose parameter ends in "weight"
    return [name for name in names if section.biases == "all" or name.endswith(SUBSET)]


def refuse_without_biases(section: BitFitSection, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why no parameter would be trained, and the fix; None otherwise."""
    if chosen_biases(section, model):
        return None
    if section.biases != "all" and chosen_biases(BitFitSection(method="bitfit"), model):
        return "its query has no bias of its own (GPT-2 fuses query, key and value)", "set peft.biases: all"
    why = "this architecture has no bias terms (as Llama, Mistral and T5 have none), so nothing would be trained"
    return why, "use a BERT, RoBERTa or GPT-2, or method: lora or ia3"


def train_biases(section: BitFitSection, model: Any, task_type: str) -> None:
    """Freeze everything except the biases and the head.

    Args:
        section: ``config.peft``.
        model: The base; changed in place.
        task_type: ``config.task_type``.
    """
    heads, biases = head_modules(model), set(chosen_biases(section, model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in biases or in_head(name, heads))


METHOD = Method(
    "bitfit",
    BitFitSection,
    learning_rate=1e-3,
    change=train_biases,
    refuse=refuse_without_biases,
    no_quantized="bitsandbytes' layers keep their biases frozen, in 16 bits",
)
