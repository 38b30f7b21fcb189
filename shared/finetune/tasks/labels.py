"""The classes of a dataset: how many there are, their names, and each row's class as a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.data.values import is_missing

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config


# the fix for labels that are hidden
HIDDEN = (
    "hidden labels (-1) are usual in public test sets: set dataset.test_split: validation, and take dataset.eval_split "
    "from the training rows"
)


def find_column(rows: Dataset, asked: str | None, known: Sequence[str], key: str, name: str) -> str:
    """The column that is asked for, or the first known one that is there.

    Args:
        rows: The rows.
        asked: The configuration's value, or None.
        known: Names in public datasets.
        key: The configuration's key, for the message.
        name: The dataset's name, for the message.

    Raises:
        DataError: If it is not there.
    """
    wanted = [asked] if asked else list(known)
    found = next((column for column in wanted if column in rows.column_names), None)
    if found is None:
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, wanted))}; it has {', '.join(rows.column_names)}",
            fix=f"set dataset.{key}",
        )
    return found


def needed(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """The columns that a task needs of an input.

    Args:
        row: The input; a bare text is ``{"text": …}``, and does for a task that needs one column.
        columns: The task's columns.

    Raises:
        DataError: If one is missing.
    """
    if set(row) == {"text"} and len(columns) == 1:
        return {columns[0]: row["text"]}
    missing = [column for column in columns if column not in row]
    if missing:
        raise DataError(
            f"the input has no column {missing[0]!r}; it has {', '.join(map(str, row))}",
            fix=f"give a csv or jsonl file with the columns {', '.join(columns)}",
        )
    return {column: row[column] for column in columns}


def class_names(rows: Dataset, column: str) -> list[str] | None:
    """The names that the dataset itself declares for a column (ClassLabel, or a list of them); None without."""
    feature = rows.features[column]
    feature = getattr(feature, "feature", feature)
    return list(feature.names) if hasattr(feature, "names") else None


def names_in(values: Sequence[Any], column: str, name: str) -> list[str]:
    """The names of the classes that occur in the training data, in order.

    Args:
        values: Each row's class, as text or whole number.
        column: Their column, for the message.
        name: The dataset's name, for the message.

    Raises:
        DataError: If they are not classes, or there is only one.
    """
    check_gaps(values, column, name)
    kinds = set(values)
    if any(isinstance(one, float) for one in kinds):
        raise DataError(
            f"{name}: {column} holds fractions, so this is a regression and not a classification (as GLUE's STS-B)",
            fix="SEQ_CLS: set dataset.regression: true",
        )
    if len(kinds) < 2:
        found = "nothing but " + repr(next(iter(kinds))) if kinds else "no labels"
        raise DataError(
            f"{name}: {column} holds {found}: there is nothing to tell apart", fix="check dataset.label_column"
        )
    return [str(one) for one in sorted(kinds)]


def check_gaps(values: Sequence[Any], column: str, name: str, numbers: Sequence[int] = ()) -> None:
    """Refuse rows without a label.

    Args:
        values: Each row's label.
        column: Their column, for the message.
        name: The data set's name, for the message.
        numbers: The rows' numbers in the data set; none: they are counted.

    Raises:
        DataError: Naming the first such row.
    """
    for place, value in enumerate(values):
        if is_missing(value) or (isinstance(value, str) and value.strip().lower() in ("", "nan")):
            row = f", row {numbers[place]}" if numbers else ""
            found = f"{name}{row}, column {column!r}: the label is missing ({value!r})"
            raise DataError(found, fix="write the label, or remove the row")


def number_of(value: Any, names: Sequence[str], column: str, name: str, declared: bool) -> int:
    """A row's class as a number.

    Args:
        value: The value in the row.
        names: The classes.
        column: Its column, for the message.
        name: The dataset's name, for the message.
        declared: Whether numbers in the rows count through ``names`` (ClassLabel) instead of being names.

    Raises:
        DataError: If it is none of the classes, as in public test sets with hidden labels (-1).
    """
    if declared and isinstance(value, int) and 0 <= value < len(names):
        return value
    if not declared and str(value) in names:
        return names.index(str(value))
    raise DataError(
        f"{name}: {column} holds {value!r}, which is none of the classes {', '.join(names)}",
        fix=HIDDEN,
    )


def known_labels(config: Config, rows: Dataset, column: str, values: Sequence[Any]) -> list[str]:
    """The classes of the training rows: as declared, else as they occur."""
    return class_names(rows, column) or names_in(values, column, config.dataset.name)


def probabilities(logits: Any) -> Any:
    """Softmax over the last axis, rounded to six digits: probabilities [0–1] that are printed and written.

    Args:
        logits: An array of shape (…, classes).
    """
    import torch

    return torch.from_numpy(logits).softmax(-1).numpy().round(6)


def model_labels(model: Any) -> list[str]:
    """The classes of a loaded model, by number."""
    return [model.config.id2label[number] for number in range(len(model.config.id2label))]
