"""Random inputs for one module, and its outputs for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.pytorch_utils import Conv1D

from shared.finetune.merging.plan import Plan, WholeModelOnly

ROWS = 8  # random inputs of a check


def trained_tokens(plan: Plan, path: str) -> list[int]:
    """The tokens that ``trainable_token_indices`` names, which a check has to look at."""
    indices = getattr(plan.settings, "trainable_token_indices", None) or []
    if isinstance(indices, dict):
        return [token for key, tokens in indices.items() if path.endswith(key) for token in tokens]
    return list(indices)


def random_inputs(module: torch.nn.Module, tokens: list[int]) -> torch.Tensor | None:
    """Random inputs of a module; None for one whose forward is the model's own, such as experts or a router."""
    draw = torch.Generator().manual_seed(0)
    if isinstance(module, torch.nn.Embedding):
        ids = torch.randint(module.num_embeddings, (ROWS * 8,), generator=draw)
        return torch.cat([ids, torch.tensor(tokens, dtype=ids.dtype)])
    weights = dict(module.named_parameters())
    if isinstance(module, torch.nn.Linear):
        width = module.in_features
    elif isinstance(module, Conv1D):
        width = module.weight.shape[0]
    elif "weight" in weights and all(one.ndim == 1 for one in weights.values()):  # a normalisation layer
        width = weights["weight"].shape[0]
    else:
        return None
    return torch.randn(ROWS, width, generator=draw)


def refuse_uncheckable(layer: Any, inputs: torch.Tensor | None) -> None:
    """Refuse a module that can be looked at neither by its outputs nor by its parameters.

    Raises:
        WholeModelOnly: With its type.
    """
    if inputs is None and isinstance(layer, BaseTunerLayer) and not isinstance(layer, ParamWrapper):
        raise WholeModelOnly(f"no check for a single {type(layer.get_base_layer()).__name__}")


def outputs(layer: Any, inputs: torch.Tensor | None) -> torch.Tensor:
    """A module's outputs; without inputs its parameters times random numbers."""
    if inputs is not None:
        return layer(inputs)
    with _active_parameters(layer) as module:
        draw = torch.Generator().manual_seed(0)
        found = []
        for name in sorted(module._parameters.keys() | getattr(module, "parametrizations", {}).keys()):
            one = getattr(module, name)
            if one is not None and one.ndim > 1:
                found.append((one @ torch.randn(one.shape[-1], 2, generator=draw)).flatten())
        return torch.cat(found)


@contextmanager
def _active_parameters(layer: Any) -> Iterator[Any]:
    """The innermost module while peft's wrappers around it change its parameters, as in their forward."""
    if not isinstance(layer, ParamWrapper):
        yield layer
        return
    with layer._activate_lora(layer.active_adapters), _active_parameters(layer.base_layer) as module:
        yield module


def square(difference: torch.Tensor) -> float:
    return float(difference.double().square().sum())
