"""The values of single cells: what can be used as text, what is missing, and which row of the file it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.data.local_files import kind_of, shown

if TYPE_CHECKING:
    from datasets import Dataset

REMOVE = "remove the row; there is nothing to learn from it"


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: null, or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def check_text(value: Any, where: str, column: str) -> None:
    """Refuse what has no text of its own.

    Args:
        value: The cell; a text, a number, true or false, or a gap.
        where: The data set and the row, for the message.
        column: The column, for the message.

    Raises:
        DataError: For lists and objects, whose form in Python would otherwise be trained on.
    """
    if isinstance(value, (list, dict)):
        raise DataError(
            f"{where}, column {column!r}: {kind_of(value)} ({shown(value)}) where a text is needed",
            fix="write a text, or a column for each part; chats are a column of messages (dataset.messages_field)",
        )


def row_numbers(rows: Dataset) -> list[int]:
    """Each row's number in the data set as it was read, from 1, also after shuffling and selecting."""
    chosen = rows._indices  # the only record that datasets keeps of it
    return list(range(1, len(rows) + 1)) if chosen is None else [one + 1 for one in chosen.column(0).to_pylist()]
