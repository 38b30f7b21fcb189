"""Which parameters the study of Lab 06 trains: BitFit, its variants, and random subsets as a control."""

from __future__ import annotations

from typing import Any

import torch

from shared.finetune.methods.bitfit import is_bias
from shared.finetune.methods.support.heads import head_modules, in_head


def split_names(model: Any) -> tuple[list[str], list[str]]:
    """The names of the bias terms, and of all other parameters outside the head."""
    heads = head_modules(model)
    names = [name for name, _ in model.named_parameters() if not in_head(name, heads)]
    biases = [name for name in names if is_bias(name)]
    return biases, [name for name in names if name not in biases]


def train_masked(model: Any, masks: dict[str, torch.Tensor]) -> int:
    """Train single entries only, by setting the other entries' gradients to zero; return how many are trained.

    Without weight decay, Adam leaves an entry whose gradient is always zero where it is.
    """
    for name, mask in masks.items():
        parameter = model.get_parameter(name).requires_grad_(True)
        placed = mask.to(parameter.device)
        parameter.register_hook(lambda gradient, placed=placed: gradient * placed)
    return sum(int(mask.sum()) for mask in masks.values())


def random_entries(model: Any, names: list[str], number: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Masks that choose `number` entries of the named parameters, all with the same probability."""
    sizes = [model.get_parameter(name).numel() for name in names]
    flat = torch.zeros(sum(sizes), dtype=torch.bool)
    flat[torch.randperm(sum(sizes), generator=generator)[:number]] = True
    parts = flat.split(sizes)
    return {name: part.view(model.get_parameter(name).shape) for name, part in zip(names, parts, strict=True)}


def rows_and_columns(model: Any, biases: list[str], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """For each bias, as many entries of its module's weight: a column, rows of that size, or all of a LayerNorm's.

    This is ``rand_row_col`` of the authors' code, which leaves the embeddings' LayerNorm out.
    """
    masks = {}
    for name in biases:
        weight = model.get_parameter(name.removesuffix("bias") + "weight")
        mask = torch.zeros(weight.shape, dtype=torch.bool)
        rows = weight.shape[0] // weight.shape[-1]
        if weight.dim() == 1:
            mask[:] = True
        elif rows == 0 or torch.randint(2, (), generator=generator):
            mask[:, torch.randint(weight.shape[1], (), generator=generator)] = True
        else:
            mask[torch.randperm(weight.shape[0], generator=generator)[:rows]] = True
        masks[name.removesuffix("bias") + "weight"] = mask
    return masks


def mark(model: Any, method: str, seed: int) -> int:
    """Make a base the model to train; return how many entries outside the head are trained."""
    heads, (biases, others) = head_modules(model), split_names(model)
    generator = torch.Generator().manual_seed(1000 + seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method == "full" or in_head(name, heads))
    half = [name for name in biases if name.endswith(("query.bias", "intermediate.dense.bias"))]
    sizes = {name: model.get_parameter(name).numel() for name in biases}
    if method == "random half":
        return train_masked(model, random_entries(model, biases, sum(sizes[n] for n in half), generator))
    if method == "random entries":
        return train_masked(model, random_entries(model, others, sum(sizes.values()), generator))
    if method == "random rows and columns":
        return train_masked(model, rows_and_columns(model, biases, generator))
    chosen = {
        "head": [], "full": biases + others, "bitfit": biases, "half": half,
        "without key and value": [n for n in biases if not n.endswith(("key.bias", "value.bias"))],
        "with LayerNorm weights": biases + [n for n in others if "LayerNorm" in n],
    }[method]  # fmt: skip
    for name in chosen:
        model.get_parameter(name).requires_grad_(True)
    return sum(model.get_parameter(name).numel() for name in chosen)
