"""The generated tasks, with the columns of the public data sets that they represent.

Every module of this package but ``task`` holds ``TASKS``; adding a task is adding it there.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from shared.errors import DataError
from shared.tiny.tasks.task import LEVELS, SIZES, Task


def _discover() -> dict[str, Task]:
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "task")
    found = [importlib.import_module(f"{__name__}.{name}").TASKS for name in modules]
    return {task.name: task for tasks in found for task in tasks}


TASKS = _discover()


def load_task(name: str, split: str, seed: int = 0, difficulty: str = "normal"):
    """Generate one split of a task.

    Args:
        name: Name of the task, see ``TASKS``.
        split: "train", "validation" or "test".
        seed: Another seed draws other stories; splits stay disjoint across seeds too.
        difficulty: "easy", "normal" or "hard".

    Returns:
        A ``datasets.Dataset`` of distinct rows, the same each time.

    Raises:
        DataError: If the task, split or difficulty is unknown.
    """
    for what, value, known in (("task", name, TASKS), ("split", split, SIZES), ("difficulty", difficulty, LEVELS)):
        if value not in known:
            raise DataError(
                f"unknown {what} {value!r} of the generated tasks", fix=f"choose one of: {', '.join(known)}"
            )
    from datasets import Dataset

    task = TASKS[name]
    rows = [row for row, _ in distinct(name, split, seed, difficulty)]
    return Dataset.from_list(rows, features=_features(Dataset.from_list(rows[:1]).features, task))


@lru_cache(maxsize=32)
def distinct(name: str, split: str, seed: int, difficulty: str) -> list[tuple[dict, object]]:
    """The rows of a split, each with its event (which must not be in two splits)."""
    task, seen = TASKS[name], {}
    for row, event in task.rows(split, seed, difficulty):
        said = repr({key: value for key, value in row.items() if key != "id"})  # a number makes no row another one
        seen.setdefault(said, (row, event))
        if len(seen) == task.sizes[split]:
            pairs = list(seen.values())
            if "idx" in task.columns:
                pairs = [({**row, "idx": number}, event) for number, (row, event) in enumerate(pairs)]
            return pairs
    raise AssertionError("rows are endless")


def _features(plain, task: Task):
    """The columns' types, a label column's with the names of its classes."""
    from datasets import ClassLabel, List

    if not task.label_names:
        return plain
    labels = ClassLabel(names=list(task.label_names))
    plain[task.label_column] = List(labels) if isinstance(plain[task.label_column], List) else labels
    return plain


__all__ = ["SIZES", "TASKS", "Task", "distinct", "load_task"]
