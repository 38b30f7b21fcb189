"""How one method is trained on a micro-model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """The values of a configuration in which methods differ.

    Attributes:
        peft: The ``peft:`` section.
        rate: ``training.learning_rate``.
        head_rate: ``head.learning_rate``; None: the same.
        quantized: The ``model.quantization`` section, or None.
    """

    peft: dict[str, Any]
    rate: float
    head_rate: float | None = None
    quantized: dict[str, Any] | None = None


@dataclass(frozen=True)
class Budget:
    """What all methods of a micro-model have in common.

    Attributes:
        steps: Optimizer steps.
        batch: Rows of a step.
        rows: Training rows.
        scored: Test rows that are scored.
        by_length: Put rows of like length into a batch, which saves padding.
        optim: ``training.optim``.
    """

    steps: int
    batch: int
    rows: int
    scored: int
    by_length: bool = True
    optim: str = "adamw_torch"
