"""Full fine-tuning: every weight of the model is trained; nothing is added."""

from __future__ import annotations

from typing import Literal

from shared.finetune.methods import Method, PeftSection


class FullSection(PeftSection):
    """``peft:`` for full fine-tuning."""

    method: Literal["full"]


METHOD = Method("full", FullSection, peft_config=lambda section: None, mergeable=False, trains_base=True)
