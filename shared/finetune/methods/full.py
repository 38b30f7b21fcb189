"""Full fine-tuning: every weight of the model is trained."""

from __future__ import annotations

from typing import Literal

from shared.finetune.methods import Method, PeftSection


class FullSection(PeftSection):
    """``peft:`` for full fine-tuning."""

    method: Literal["full"]


METHOD = Method(
    "full",
    FullSection,
    learning_rate=2e-5,
    no_merge="full fine-tuning changed the weights themselves: its model/ folder is the merged model already",
    no_quantized="integer weights have no gradient",
    trains_base=True,
)
