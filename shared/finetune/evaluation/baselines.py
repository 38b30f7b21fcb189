"""The majority baseline: the most frequent answer of the training rows, given to every test row."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from shared.finetune.tasks import TASKS
from shared.finetune.tasks.regression import is_regression

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config.loading import Config


def majority(config: Config) -> dict[str, Any]:
    """The scores of the most frequent class, tag or answer.

    Args:
        config: The configuration.

    Returns:
        The metrics of the task, as :func:`shared.finetune.evaluate.evaluate_rows` names them, and ``answer``: the
        constant answer; for regression the mean.

    Raises:
        DataError: If rows are missing or can't be scored.
    """
    from shared.finetune.data.loading import load_rows
    from shared.finetune.evaluation.scoring import scored_rows

    train, test = load_rows(config.dataset, "train"), scored_rows(config, "test")
    if is_regression(config):
        return _mean(train, test, config)
    find = _answer if config.task_type == "CAUSAL_LM" else _labelled if TASKS[config.task_type].labels else _text
    return find(train, test, config)


def _mean(train: Dataset, test: Dataset, config: Config) -> dict[str, Any]:
    """The mean target value; a constant has no correlation with anything."""
    task = TASKS[config.task_type]
    values = task.references(train, config, [])
    mean = sum(values) / len(values)
    named = SimpleNamespace(config=SimpleNamespace(id2label={}))
    return {**task.score([mean] * len(test), test, config, named)[0], "answer": mean}


def _labelled(train: Dataset, test: Dataset, config: Config) -> dict[str, Any]:
    """The most frequent class, or for each word the most frequent tag."""
    task = TASKS[config.task_type]
    names = task.labels(config)
    each, right = (task.references(rows, config, names) for rows in (train, test))
    tagged = isinstance(each[0], list)
    seen = Counter(tag for tags in each for tag in tags) if tagged else Counter(each)
    common = names[seen.most_common(1)[0][0]]
    found = [[common] * len(tags) for tags in right] if tagged else [common] * len(right)
    # of a model, the scores need the names of its classes only
    named = SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(names))))
    return {**task.score(found, test, config, named)[0], "answer": common}


def _text(train: Dataset, test: Dataset, config: Config) -> dict[str, Any]:
    """The most frequent answer to a question, or the most frequent target text."""
    from shared.finetune.data.prompts import response_of

    if config.task_type == "QUESTION_ANS":
        texts = [one["text"][0] for one in train["answers"]]
    else:
        texts = [response_of(row, config.dataset) for row in train]
    common = Counter(texts).most_common(1)[0][0]
    return {**TASKS[config.task_type].score([common] * len(test), test, config, None)[0], "answer": common}


def _answer(train: Dataset, test: Dataset, config: Config) -> dict[str, Any]:
    """The most frequent answer of a causal language model's rows, scored by ``evaluation.metric``."""
    from shared.finetune.data.prompts import response_of
    from shared.finetune.metrics.answers import correct_answers, references_for
    from shared.finetune.metrics.numbers import final_number

    metric = config.evaluation.metric
    answers, right = ([response_of(row, config.dataset) for row in rows] for rows in (train, test))
    if metric == "final_number":  # only the number counts, not the steps to it
        answers = [str(final_number(answer)) for answer in answers]
    common = Counter(answers).most_common(1)[0][0]
    correct = correct_answers(metric, [common] * len(right), references_for(test, right, config))
    return {metric: sum(correct) / len(correct), "format": 1.0, "answer": common}
