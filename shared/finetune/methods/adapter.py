"""Bottleneck adapters (Houlsby et al., 2019, arXiv:1902.00751; Pfeiffer et al., 2021, arXiv:2005.00247; parallel: He
et al., 2022, arXiv:2110.04366), through the ``adapters`` library: h + W_up·φ(W_down·h)."""

from __future__ import annotations

import logging
from typing import Any, Literal

from pydantic import Field

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.ln_tuning import norm_modules
from shared.finetune.methods.support.heads import head_modules, in_head

NAME = "task"  # the adapter's name inside the model


class AdapterSection(PeftSection):
    """``peft:`` for bottleneck adapters."""

    method: Literal["adapter"]
    kind: Literal["houlsby", "pfeiffer", "parallel"] = Field(
        "pfeiffer",
        description="houlsby: two per layer, after attention and after the feed-forward part; pfeiffer: one, after the "
        "feed-forward part; parallel: one, parallel to it.",
    )
    reduction_factor: float = Field(16, gt=0, description="The bottleneck is the hidden size divided by this.")
    bottleneck: int | None = Field(None, ge=1, description="Size m of the bottleneck, instead of reduction_factor.")
    non_linearity: Literal["relu", "gelu", "swish", "tanh", "leakyrelu"] | None = Field(
        None, description="φ; null: the library's default (houlsby swish, else relu). Houlsby's own code uses gelu."
    )
    train_layer_norm: bool | None = Field(
        None, description="Also train the LayerNorms, as Houlsby et al. do; null: for houlsby only."
    )


def adapter_config(section: AdapterSection, hidden_size: int) -> Any:
    """The ``adapters`` library's configuration of this section.

    Args:
        section: ``config.peft``.
        hidden_size: The model's d, for ``bottleneck``.
    """
    from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig

    kind = {"houlsby": DoubleSeqBnConfig, "pfeiffer": SeqBnConfig, "parallel": ParBnConfig}[section.kind]
    # the library rounds d // factor down; half a unit more gives exactly m even if m does not divide d
    factor = section.reduction_factor if section.bottleneck is None else hidden_size / (section.bottleneck + 0.5)
    given = {"non_linearity": section.non_linearity} if section.non_linearity else {}
    return kind(reduction_factor=factor, **given)


def add_adapter(section: AdapterSection, model: Any, task_type: str) -> None:
    """Insert adapters into the model and freeze everything except them, the head and, if set, the LayerNorms.

    Args:
        section: ``config.peft``.
        model: The base; changed in place.
        task_type: ``config.task_type``.
    """
    import adapters

    heads, norms = head_modules(model), set()
    for name in norm_modules(model):
        norms.update(model.get_submodule(name).parameters(recurse=False))
    adapters.init(model)
    notices = logging.getLogger("adapters.model_mixin")
    level = notices.level
    notices.setLevel(logging.ERROR)  # while it makes the adapter active, the library notes that none is active yet
    model.add_adapter(NAME, config=adapter_config(section, model.config.hidden_size))
    model.train_adapter(NAME)
    notices.setLevel(level)
    train_norms = section.kind == "houlsby" if section.train_layer_norm is None else section.train_layer_norm
    for name, parameter in model.named_parameters():
        if in_head(name, heads) or (train_norms and parameter in norms):
            parameter.requires_grad_(True)


METHOD = Method(
    "adapter",
    AdapterSection,
    learning_rate=3e-4,
    change=add_adapter,
    no_merge="its non-linearity can't be merged into a weight matrix",
    no_quantized="the adapters library does not support bitsandbytes' layers",
)
