"""The task types, one small file each: the model class, how rows become tensors, what is predicted, how it is scored.

A task's module holds a module-level ``TASK``; every module of this package that has one is registered.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.finetune.common.processes import split_over_processes
from shared.finetune.tasks.glue import glue_task
from shared.finetune.tasks.regression import SCORES as REGRESSION_SCORES
from shared.finetune.tasks.regression import is_regression

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config


@dataclass(frozen=True)
class Task:
    """One task type.

    Attributes:
        name: As written in ``task_type``.
        auto_class: The class of transformers that loads its models.
        main_metric: The one of :attr:`metrics` that is reported first.
        metrics: Names of its scores, as shares [0–1]; Matthews' correlation ranges from -1 to 1. Regression has others
            (:data:`shared.finetune.tasks.regression.SCORES`).
        columns: (rows, config) -> the columns with the texts; None for tasks whose columns are fixed, or in a template.
        labels: config -> the names of the classes; None for tasks without classes.
        references: (rows, config, names of the classes) -> each row's class, or classes, by number; raises DataError
            for unknown classes. None for tasks without classes.
        features: (rows, tokenizer, config, model) -> what the model is trained on: one dict of lists per example.
            None, as the other functions, for CAUSAL_LM, which TRL trains.
        label_names: The keys of those dicts that hold the labels.
        predict: (model, tokenizer, rows, config, progress) -> one prediction per row.
        answers: As ``predict``, with one dict per row: ``answer``, the prediction, and ``probabilities``; None for
            tasks without classes.
        input_row: (row, config) -> the columns that ``predict`` needs, for inference; raises DataError.
        score: (predictions, rows, config, model) -> (metrics, references as text or label, one per row).
    """

    name: str
    auto_class: str
    main_metric: str
    metrics: tuple[str, ...]
    predict: Callable[..., list[Any]] | None = None
    score: Callable[..., tuple[dict[str, float], list[Any]]] | None = None
    answers: Callable[..., list[dict[str, Any]]] | None = None
    input_row: Callable[[dict[str, Any], Config], dict[str, Any]] | None = None
    columns: Callable[..., list[str]] | None = None
    labels: Callable[[Config], list[str]] | None = None
    references: Callable[..., list[Any]] | None = None
    features: Callable[..., list[dict[str, Any]]] | None = None
    label_names: tuple[str, ...] = field(default=("labels",))

    @property
    def has_head(self) -> bool:
        """Whether the model gets new layers that start at random."""
        return self.auto_class not in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")

    def evaluate(
        self, model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None
    ) -> dict[str, Any]:
        """Predict rows and score the predictions.

        Args:
            model: The model; left in the mode it was in.
            tokenizer: Its tokenizer.
            rows: Raw rows with their references.
            config: The configuration.
            progress: Called with the number of newly finished rows.

        Returns:
            The metrics, ``n`` (the number of rows) and ``answers``: one dict per row with answer, reference, right.
        """
        was_training = model.training
        model.eval()
        try:
            found = split_over_processes(
                len(rows), lambda places: self.predict(model, tokenizer, rows.select(places), config, progress)
            )
        finally:
            model.train(was_training)
        scores, references = self.score(found, rows, config, model)
        answers = [
            {"answer": one, "reference": reference, "right": _is_right(one, reference)}
            for one, reference in zip(found, references, strict=True)
        ]
        return {**scores, "n": len(found), "answers": answers}


def _is_right(answer: Any, reference: Any) -> bool | None:
    """Whether an answer is the reference, or one of several (SQuAD has several per question); None for regression."""
    if isinstance(answer, float):
        return None
    return answer in reference if isinstance(reference, list) and isinstance(answer, str) else answer == reference


def _discover() -> dict[str, Task]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    tasks = [module.TASK for module in modules if hasattr(module, "TASK")]
    return {task.name: task for task in tasks}


TASKS: dict[str, Task] = _discover()


def main_metric(config: Config) -> str:
    """The main metric of a configuration: its task's, the GLUE task's, for CAUSAL_LM ``evaluation.metric``."""
    if config.task_type == "CAUSAL_LM":
        return config.evaluation.metric
    if is_regression(config):
        return REGRESSION_SCORES[0]
    glue = glue_task(config)
    return glue.metric if glue else TASKS[config.task_type].main_metric


def score_names(config: Config) -> tuple[str, ...]:
    """The names of a configuration's scores."""
    asked = ("perplexity",) if config.evaluation.perplexity else ()
    own = REGRESSION_SCORES if is_regression(config) else TASKS[config.task_type].metrics
    return tuple(dict.fromkeys((*own, main_metric(config), *asked)))
