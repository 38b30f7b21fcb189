"""The metrics of generated answers (CAUSAL_LM): what an answer is compared with, and which answers are correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.metrics import compute
from shared.finetune.metrics.numbers import check_numbers

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

NAMES = ("exact_match", "final_number", "pass_at_1")


def references_for(rows: Dataset, references: Sequence[str], config: Config) -> list[str]:
    """The references that ``evaluation.metric`` compares the answers with.

    Args:
        rows: The raw rows.
        references: Their reference answers.
        config: The configuration.

    Returns:
        The reference answers, or for pass_at_1 the tests.

    Raises:
        DataError: If the rows lack what the metric needs.
        HardwareError: If programs can't be run on this machine.
    """
    if config.evaluation.metric == "pass_at_1":
        from shared.finetune.metrics.code_execution import check_code_execution

        check_code_execution()
        return tests_of(rows, config)
    if config.evaluation.metric == "final_number":
        check_numbers(references, config.dataset.name)
    return list(references)


def tests_of(rows: Dataset, config: Config) -> list[str]:
    """Each row's tests as Python; lists of lines (as in MBPP) are joined.

    Raises:
        DataError: If there is no column of tests, or a row has none, since any program would pass.
    """
    field, name = config.evaluation.tests_field, config.dataset.name
    if field not in rows.column_names:
        raise DataError(
            f"{name}: evaluation.metric is pass_at_1, but there is no column {field!r} with tests; the columns are "
            f"{', '.join(rows.column_names)}",
            fix=f"set evaluation.tests_field: {did_you_mean(field, rows.column_names)}",
        )
    tests = [_joined(value) for value in rows[field]]
    for number, text in enumerate(tests, 1):
        if not text.strip():
            raise DataError(f"{name}, row {number}: {field} holds no tests", fix="remove the row")
    return tests


def correct_answers(metric: str, answers: Sequence[str], right: Sequence[str]) -> list[bool]:
    """Which answers are correct.

    Args:
        metric: One of :data:`NAMES`.
        answers: The answers.
        right: As :func:`references_for` gives them, in the same order.
    """
    if metric == "exact_match":
        return [one.strip() == other.strip() for one, other in zip(answers, right, strict=True)]
    return compute(metric, list(answers), list(right))["right"]


def _joined(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")
