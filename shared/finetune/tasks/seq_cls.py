"""SEQ_CLS: one class, or one number (regression), for a text or a pair of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.finetune.data.values import row_numbers
from shared.finetune.metrics import compute
from shared.finetune.tasks import Task
from shared.finetune.tasks.batches import longest, outputs
from shared.finetune.tasks.glue import glue_task
from shared.finetune.tasks.labels import (
    check_gaps,
    class_names,
    find_column,
    known_labels,
    model_labels,
    needed,
    number_of,
    probabilities,
)
from shared.finetune.tasks.regression import NAME as VALUE
from shared.finetune.tasks.regression import is_regression, regression_targets

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

# Columns of public datasets, GLUE's first; the first entry whose columns all exist is taken
KNOWN = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("sentence",),
    ("text",),
)
LABELS = ("label", "labels")


def text_columns(rows: Dataset, config: Config) -> list[str]:
    """The one or two columns that are classified."""
    name = config.dataset.name
    if config.dataset.text_columns:
        return [find_column(rows, one, (), "text_columns", name) for one in config.dataset.text_columns]
    for columns in KNOWN:
        if all(column in rows.column_names for column in columns):
            return list(columns)
    return [find_column(rows, None, [column for columns in KNOWN for column in columns], "text_columns", name)]


def _label_column(rows: Dataset, config: Config) -> str:
    return find_column(rows, config.dataset.label_column, LABELS, "label_column", config.dataset.name)


def labels(config: Config) -> list[str]:
    """The classes of the training rows; regression has one output and no classes."""
    from shared.finetune.data import load_rows

    if is_regression(config):
        return [VALUE]
    rows = load_rows(config.dataset, "train")
    column = _label_column(rows, config)
    check_gaps(rows[column], column, config.dataset.name, row_numbers(rows))
    return known_labels(config, rows, column, rows[column])


def inputs(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    """The texts as token numbers."""
    from shared.finetune.data import cut_words

    data, numbers = config.dataset, row_numbers(rows)
    columns = [
        [cut_words(text, one, data, number) for number, text in zip(numbers, rows[one], strict=True)]
        for one in text_columns(rows, config)
    ]
    coded = tokenizer(*columns, truncation=True, max_length=longest(config, model))
    return [dict(zip(coded.keys(), values, strict=True)) for values in zip(*coded.values(), strict=True)]


def references(rows: Dataset, config: Config, names: list[str]) -> list[int] | list[float]:
    """Each row's class as a number, or its target value."""
    column = _label_column(rows, config)
    if is_regression(config):
        return regression_targets(rows, column, config.dataset.name)
    check_gaps(rows[column], column, config.dataset.name, row_numbers(rows))
    declared = class_names(rows, column) is not None
    return [number_of(value, names, column, config.dataset.name, declared) for value in rows[column]]


def features(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    """Texts as token numbers, with ``labels``."""
    numbers = references(rows, config, model_labels(model))
    coded = inputs(rows, tokenizer, config, model)
    return [{**one, "labels": number} for one, number in zip(coded, numbers, strict=True)]


def input_row(row: dict[str, Any], config: Config) -> dict[str, Any]:
    """The texts of an input that are classified."""
    known = next((list(columns) for columns in KNOWN if all(column in row for column in columns)), ["text"])
    glue = glue_task(config)  # a single text must not be taken for a pair
    found = needed(row, config.dataset.text_columns or (list(glue.columns) if glue else known))
    return {column: "" if value is None else str(value) for column, value in found.items()}


def answers(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[dict[str, Any]]:
    """Each row's likeliest class, with the probability of every class; or its predicted value."""
    coded, names = inputs(rows, tokenizer, config, model), model_labels(model)
    found = outputs(model, tokenizer, coded, config.evaluation.batch_size, progress=progress)
    if is_regression(config):
        return [{"answer": round(float(logits[0]), 6)} for (logits,) in found]
    shares = [probabilities(logits).tolist() for (logits,) in found]
    return [
        {"answer": names[int(logits.argmax())], "probabilities": dict(zip(names, row, strict=True))}
        for (logits,), row in zip(found, shares, strict=True)
    ]


def predict(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[str] | list[float]:
    """The name of each row's likeliest class, or its predicted value."""
    return [one["answer"] for one in answers(model, tokenizer, rows, config, progress)]


def score(found: list[Any], rows: Dataset, config: Config, model: Any) -> tuple[dict[str, float], list[Any]]:
    """Accuracy, Matthews' correlation; F1, precision, recall: of the second class where there are two, else the mean
    over all classes. Regression: Pearson's and Spearman's correlation."""
    names = model_labels(model)
    right = references(rows, config, names)
    if is_regression(config):
        return compute("correlation", found, right), right
    average = "binary" if len(names) == 2 else "macro"
    scores = compute("classification", [names.index(one) for one in found], right, average=average)
    return scores, [names[number] for number in right]


TASK = Task(
    name="SEQ_CLS",
    auto_class="AutoModelForSequenceClassification",
    main_metric="accuracy",
    metrics=("accuracy", "f1", "precision", "recall", "matthews"),
    columns=text_columns,
    labels=labels,
    references=references,
    features=features,
    predict=predict,
    answers=answers,
    score=score,
    input_row=input_row,
)
