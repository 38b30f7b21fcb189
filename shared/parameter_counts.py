"""Count the parameters of a model, and list its linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Counts:
    """Parameters of a model.

    Attributes:
        trainable: Those with ``requires_grad``.
        total: All, adapters included.
    """

    trainable: int
    total: int

    @property
    def frozen(self) -> int:
        """Those that do not move."""
        return self.total - self.trainable

    @property
    def percent(self) -> float:
        """100 x trainable / total [%]."""
        return 100 * self.trainable / self.total if self.total else 0.0

    @property
    def percent_of_base(self) -> float:
        """100 x trainable / frozen [%]: the papers' way, where nothing of the base is trained."""
        return 100 * self.trainable / self.frozen if self.frozen else math.inf

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters are trained ({self.percent:.4g} %)"


def numel(parameter: torch.Tensor) -> int:
    """Number of values of a parameter; bitsandbytes' 4-bit weights pack two into a byte (or more into a float)."""
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    if shape is not None:
        return math.prod(shape)
    if type(parameter).__name__ == "Params4bit" and parameter.dtype.itemsize and parameter.shape[-1:] == (1,):
        return parameter.numel() * 2 * parameter.dtype.itemsize
    return parameter.numel()


def count(model: torch.nn.Module) -> Counts:
    """Count a model's parameters; tied ones once, packed 4-bit weights at their unpacked number."""
    trainable = sum(numel(p) for p in model.parameters() if p.requires_grad)
    return Counts(trainable, sum(numel(p) for p in model.parameters()))


def linear_shapes(model: torch.nn.Module, targets: str | Sequence[str] = "all-linear") -> dict[str, tuple[int, int]]:
    """The linear layers that an adapter would sit on, with their shapes.

    Args:
        model: Any transformers model; GPT-2's Conv1D and bitsandbytes' layers count as linear.
        targets: Suffixes of module names as peft's ``target_modules`` takes them (``["q_proj", "v_proj"]``), or
            ``"all-linear"`` for all but the output layer.

    Returns:
        Module name -> (out features, in features).

    Raises:
        ModelError: If no layer matches; the message lists the suffixes that there are.
    """
    linear = {name: shape for name, module in model.named_modules() if (shape := _linear_shape(module))}
    output = getattr(model, "get_output_embeddings", lambda: None)()
    if targets == "all-linear":
        return {name: shape for name, shape in linear.items() if model.get_submodule(name) is not output}
    wanted = [targets] if isinstance(targets, str) else list(targets)
    found = {n: shape for n, shape in linear.items() if any(n == t or n.endswith("." + t) for t in wanted)}
    missing = [t for t in wanted if not any(n == t or n.endswith("." + t) for n in found)]
    if missing:
        endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise ModelError(
            f"no linear layer of {type(model).__name__} ends in {', '.join(missing)}",
            fix=f"target_modules of this architecture: {', '.join(endings)}",
        )
    return found


def _linear_shape(module: torch.nn.Module) -> tuple[int, int] | None:
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):  # GPT-2 keeps its weight transposed: (in, out)
        return module.weight.shape[1], module.weight.shape[0]
    return None
