"""Regression: labels are numbers on a scale instead of classes, as in GLUE's STS-B (similarity from 0 to 5).

The model has one output and is trained with the mean squared error, as in transformers with ``num_labels=1``. It is
scored by the correlation with the labels.
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

NAME = "value"  # of the only output
SCORES = ("pearson", "spearman")


def is_regression(config: Config) -> bool:
    """Whether the task is a regression: as ``dataset.regression`` says, else as the GLUE task has it."""
    if config.task_type != "SEQ_CLS" or config.dataset.regression is not None:
        return config.task_type == "SEQ_CLS" and bool(config.dataset.regression)
    glue = glue_task(config)
    return glue is not None and glue.regression


def regression_targets(rows: Dataset, column: str, name: str) -> list[float]:
    """Each row's target value.

    Args:
        rows: The rows.
        column: The column with the labels.
        name: The data set's name, for the message.

    Raises:
        DataError: If a label is not a number, or all are equal, as in public test sets with hidden labels (-1).
    """
    values = rows[column]
    check_gaps(values, column, name, row_numbers(rows))
    wrong = [one for one in values if isinstance(one, bool) or not isinstance(one, (int, float))]
    if wrong:
        raise DataError(
            f"{name}: {column} holds {wrong[0]!r}, which is not a number",
            fix="write numbers, or remove dataset.regression",
        )
    if len(values) > 1 and len(set(values)) == 1:
        raise DataError(
            f"{name}: {column} holds only the value {values[0]}, so no correlation can be computed", fix=HIDDEN
        )
    return [float(one) for one in values]
