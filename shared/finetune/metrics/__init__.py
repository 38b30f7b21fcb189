"""The tasks' metrics as small modules of the ``evaluate`` library, loaded from this folder, since its own need the Hub.

``evaluate.load`` copies a module into its cache and imports it from there; that takes some milliseconds.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

NAMES = ("classification", "correlation", "tagging", "squad", "rouge", "final_number", "pass_at_1")


@cache
def load(name: str) -> Any:
    """One of :data:`NAMES` as an ``evaluate.Metric``, for ``compute`` and ``evaluate.combine``."""
    import evaluate

    return evaluate.load(str(Path(__file__).parent / name), keep_in_memory=True)


def compute(name: str, predictions: list[Any], references: list[Any], **settings: Any) -> dict[str, Any]:
    """A metric's scores.

    Args:
        name: One of :data:`NAMES`.
        predictions: One per row.
        references: The references, in the same order.
        settings: The metric's own.

    Returns:
        Name -> share [0–1]; final_number and pass_at_1 add ``right``: which of the predictions are correct.
    """
    return load(name).compute(predictions=predictions, references=references, **settings)
