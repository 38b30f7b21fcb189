"""Linear probe: the base is frozen and only the new head is trained, on the features from pretraining.

It is a baseline for every other method: its score needs no change of the base.
"""

from __future__ import annotations

from typing import Any, Literal

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.support.heads import head_modules, in_head


class HeadOnlySection(PeftSection):
    """``peft:`` for a linear probe (frozen base with a trained head)."""

    method: Literal["head"]


def refuse_without_head(section: HeadOnlySection, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why no parameter would be trained, and the fix; None otherwise."""
    if head_modules(model):
        return None
    return (
        "a language model has no new head, so nothing would be trained",
        "score the untuned base: peft-labs evaluate",
    )


def train_head(section: HeadOnlySection, model: Any, task_type: str) -> None:
    """Freeze everything except the head.

    Args:
        section: ``config.peft``.
        model: The base; changed in place.
        task_type: ``config.task_type``.
    """
    heads = head_modules(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(in_head(name, heads))


METHOD = Method(
    "head",
    HeadOnlySection,
    learning_rate=1e-3,
    change=train_head,
    refuse=refuse_without_head,
    no_quantized="the features of a quantised base differ from those of the base, so it would be another baseline",
)
