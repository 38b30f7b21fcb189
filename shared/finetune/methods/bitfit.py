"""BitFit (Ben-Zaken et al., 2022, arXiv:2106.10199): only the bias terms and the head are trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.support.heads import head_modules, in_head

# The paper's half-size choice, in the names of the architectures: the bias of the query ...
QUERY = (".query.bias", ".query_proj.bias", ".q_proj.bias", ".q_lin.bias", ".q_bias")
# ... and that of the feed-forward part's first layer
INTERMEDIATE = (".intermediate.dense.bias", ".lin1.bias", ".fc1.bias", ".ffn.bias")


class BitFitSection(PeftSection):
    """``peft:`` for BitFit."""

    method: Literal["bitfit"]
    biases: Literal["all", "query+intermediate"] = Field(
        "all",
        description="Which biases: all, including those of LayerNorm, or those of the query and of the feed-forward "
        "part's first layer, which are half as many; the paper finds them nearly as good.",
    )


def is_bias(name: str) -> bool:
    """Whether a parameter is a bias term: what a module adds to its result.

    The last part of the name decides. It is ``bias`` in most modules, ``q_bias`` in DeBERTa, ``in_proj_bias`` in
    torch's MultiheadAttention and ``bias_ih_l0`` in its recurrent layers. A learned table of relative positions
    (``relative_attention_bias``) is no bias term.
    """
    last = name.rpartition(".")[2]
    added = last == "bias" or last.endswith("_bias") or last.startswith(("bias_ih_", "bias_hh_"))
    return added and not last.startswith("rel")


def chosen_biases(section: BitFitSection, model: Any) -> list[str]:
    """The names of the trained bias parameters, without the head's."""
    heads = head_modules(model)
    names = [name for name, _ in model.named_parameters() if is_bias(name) and not in_head(name, heads)]
    if section.biases == "all":
        return names
    halves = [[name for name in names if f".{name}".endswith(endings)] for endings in (QUERY, INTERMEDIATE)]
    return sorted(sum(halves, []), key=names.index) if all(halves) else []


def refuse_without_biases(section: BitFitSection, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why no parameter would be trained, and the fix; None otherwise."""
    if chosen_biases(section, model):
        return None
    if section.biases != "all" and chosen_biases(BitFitSection(method="bitfit"), model):
        why = "it has no bias of the query alone and of the feed-forward part's first layer (GPT-2 fuses query, key "
        return why + "and value)", "set peft.biases: all"
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
