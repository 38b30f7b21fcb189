"""One reference score: train a method on a generated task with ``shared.finetune``, or take a baseline, and score."""

from __future__ import annotations

import tempfile
from typing import Any

from shared.tiny.recipes import config_for, methods
from shared.tiny.tasks import TASKS

BASELINES = ("majority", "words", "base", "plain")


def cells(task: str) -> list[str]:
    """What is measured on a task: its baselines, then its methods."""
    kind = TASKS[task].task_type
    skipped = {"words"} if kind != "SEQ_CLS" else set()
    if "head" in methods(task):
        skipped.add("base")  # a model with a new head cannot answer before the head is trained
    if TASKS[task].plain is None:
        skipped.add("plain")
    return [name for name in (*BASELINES, *methods(task)) if name not in skipped]


def measure(task: str, name: str, seed: int, **changes: Any) -> dict[str, Any]:
    """Train one method on one task and score it, or score a baseline.

    Args:
        task: Name of the task.
        name: One of ``cells(task)``.
        seed: Seed of the random initial values and of the order of rows.
        changes: What :func:`shared.tiny.recipes.config_for` takes.

    Returns:
        ``task``, ``method``, ``seed``, ``score`` (the task's metric, a share), all metrics, ``seconds`` of training and
        ``trained`` parameters.
    """
    from shared.finetune import train

    if name in BASELINES:
        metrics = {"majority": _majority, "words": _words, "base": _base, "plain": _plain}[name](task, **changes)
        seconds = trained = 0
    else:
        with tempfile.TemporaryDirectory() as folder:
            metrics = train.run(config_for(task, name, **changes), folder, seed=seed).metrics
        seconds, trained = metrics["seconds"], metrics["trainable"]
    metrics = {key: value for key, value in metrics.items() if isinstance(value, float) and key != "seconds"}
    score = metrics[TASKS[task].metric]
    return {"task": task, "method": name, "seed": seed, "score": score, "metrics": metrics,
            "seconds": seconds, "trained": trained}  # fmt: skip


def _any_config(task: str, **changes: Any):
    return config_for(task, "full", **changes)


def _base(task: str, **changes: Any) -> dict[str, float]:
    """The base model without training."""
    from shared.finetune.evaluation import evaluate_rows
    from shared.finetune.models import load_base

    config = _any_config(task, **changes)
    return evaluate_rows(*load_base(config), config)


def _plain(task: str, **changes: Any) -> dict[str, float]:
    """The base model without training, asked in the format of its pretraining text."""
    from shared.finetune.evaluation import generate_answers, scored_rows
    from shared.finetune.metrics.answers import correct_answers
    from shared.finetune.models import load_base

    config, plain = _any_config(task, **changes), TASKS[task].plain
    rows = scored_rows(config, "test").to_list()
    how = {"max_new_tokens": config.evaluation.max_new_tokens, "batch_size": config.evaluation.batch_size}
    replies = generate_answers(*load_base(config), [plain.ask(row) for row in rows], stop=plain.stop, **how)
    pairs = [plain.read(row, one.text) for row, one in zip(rows, replies, strict=True)]
    marks = correct_answers(config.evaluation.metric, [answer for answer, _ in pairs], [right for _, right in pairs])
    return {TASKS[task].metric: sum(marks) / len(marks)}


def _rows(task: str, **changes: Any) -> tuple[list[dict], list[dict]]:
    from shared.finetune.data import load_rows

    config = _any_config(task, **changes)
    train, test = (load_rows(config.dataset, split) for split in ("train", "test"))
    return train.to_list(), test.select(range(config.evaluation.rows)).to_list()


def _majority(task: str, **changes: Any) -> dict[str, float]:
    """Always the most frequent class, tag or answer of the training rows."""
    from shared.finetune.evaluation.baselines import majority

    return majority(_any_config(task, **changes))


def _words(task: str, **changes: Any) -> dict[str, float]:
    """Logistic regression on a bag of words: what can be predicted without word order."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from shared.finetune.metrics import compute

    column = TASKS[task].label_column
    train, test = _rows(task, **changes)

    def texts(rows: list[dict]) -> list[str]:
        return [" ".join(value for value in row.values() if isinstance(value, str)) for row in rows]

    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    found = model.fit(texts(train), [row[column] for row in train]).predict(texts(test))
    return compute("classification", found.tolist(), [row[column] for row in test], average="binary")
