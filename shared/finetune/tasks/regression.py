"""Labels that are degrees on a scale instead of classes, as GLUE's STS-B has them (0–5: how alike two sentences are).

A model has one output for them, is trained on the squared error, as transformers does with a single label, and is
judged by the correlation with the labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import DataError
from shared.finetune.data.values import row_numbers
from shared.finetune.tasks.glue import glue_task
from shared.finetune.tasks.labels import HIDDEN, check_gaps

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

NAME = "degree"  # of the one output
SCORES = ("pearson", "spearman")


def has_degrees(config: Config) -> bool:
    """Whether the labels are degrees: as ``dataset.degrees`` says, else as the GLUE task has it."""
    if config.task_type != "SEQ_CLS" or config.dataset.degrees is not None:
        return config.task_type == "SEQ_CLS" and bool(config.dataset.degrees)
    glue = glue_task(config)
    return glue is not None and glue.degrees


def degrees_of(rows: Dataset, column: str, name: str) -> list[float]:
    """Each row's degree.

    Args:
        rows: The rows.
        column: Their column with the labels.
        name: The data set's name, for the message.

    Raises:
        DataError: If one is no number, or all are the same, as in public test sets, whose labels are hidden (-1).
    """
    values = rows[column]
    check_gaps(values, column, name, row_numbers(rows))
    wrong = [one for one in values if isinstance(one, bool) or not isinstance(one, (int, float))]
    if wrong:
        raise DataError(
            f"{name}: {column} holds {wrong[0]!r}, which is no number", fix="write degrees as numbers, or leave it out"
        )
    if len(values) > 1 and len(set(values)) == 1:
        raise DataError(f"{name}: {column} holds nothing but {values[0]}: there is nothing to correlate", fix=HIDDEN)
    return [float(one) for one in values]
