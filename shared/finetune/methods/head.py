"""Frozen base: only the new head is trained, on features that stay as pretraining left them (a linear probe).

The baseline that any other method has to beat: what it reaches, the base already knew.
"""

from __future__ import annotations

from typing import Any, Literal

from shared.finetune.methods import Method, PeftSection
from shared.finetune.methods.support.heads import head_modules, in_head


class HeadOnlySection(PeftSection):
    """``peft:`` for a frozen base with a trained head."""

    method: Literal["head"]


def refuse_without_head(section: HeadOnlySection, model: Any, task_type: str) -> tuple[str, str] | None:
    """Why there is nothing to train here, and the fix; None where there is."""
    if head_modules(model):
        return None
    return (
        "a language model has no new head, so nothing would be trained",
        "score the base as it is: peft-labs evaluate",
    )


def train_head(section: HeadOnlySection, model: Any, task_type: str) -> None:
    """Freeze all but the head.

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
    no_quantized="a linear probe of a quantised base is not built; its features differ from the base's",
)
