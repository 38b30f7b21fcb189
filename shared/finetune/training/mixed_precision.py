"""What 16 bits lose of a LoRA training: the adapter's weights and the sum with the base's output stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def float32_adapters(model: Any) -> None:
    """Keep what is trained on a quantised base in float32, as peft does for other bases (``autocast_adapter_dtype``).

    TRL casts it to bfloat16, whose 8 bits of precision lose small optimizer steps.

    Args:
        model: The model with its adapter; changed in place. Those on other bases are left as they are.
    """
    if not (getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)):
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@contextmanager
def float32_sums(model: Any) -> Iterator[None]:
    """Let LoRA's layers add their update to the base's output in float32 while the block lasts.

    Under autocast the base's output is a 16-bit number, and peft rounds the sum to 16 bits again: an update that is
    smaller than half of that number's last place, as all are at first, changes nothing.

    Args:
        model: The model to train.
    """
    from peft.tuners.lora import LoraLayer

    layers = [one.base_layer for one in model.modules() if isinstance(one, LoraLayer)]
    hooks = [layer.register_forward_hook(lambda module, inputs, output: output.float()) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
