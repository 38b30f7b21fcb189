"""Print samples: ``python -m shared.tiny.show mrpc`` (a task) or ``bert`` (the pretraining text of a model)."""

from __future__ import annotations

import argparse
import importlib

from shared.tiny import MODELS, TASKS, load_task


def sample(name: str, count: int = 5, difficulty: str = "normal") -> str:
    """Return a printable sample.

    Args:
        name: A task, or a micro-model for the text that it was pretrained on.
        count: Rows or documents.
        difficulty: Difficulty of the task.

    Returns:
        The sample, one block a row.
    """
    if name in MODELS:
        return "\n\n".join(importlib.import_module(f"shared.tiny.pretrain.{name}").sample(count))
    task = TASKS[name]
    head = [
        f"{task.name}: {task.description}",
        f"represents {task.stands_for}; model tiny:{task.model}; {task.task_type}, {task.metric}",
        f"rows {task.sizes}; difficulty {difficulty} of {', '.join(task.difficulties)}",
        task.licence,
    ]
    if task.label_names:
        head.append(f"{task.label_column}: " + ", ".join(f"{n} {label}" for n, label in enumerate(task.label_names)))
    rows = load_task(name, "train", difficulty=difficulty).select(range(count))
    return "\n\n".join(["\n".join(head), *("\n".join(f"{key}: {value}" for key, value in row.items()) for row in rows)])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m shared.tiny.show", description=__doc__)
    parser.add_argument("name", choices=[*TASKS, *MODELS])
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--difficulty", default="normal", choices=["easy", "normal", "hard"])
    args = parser.parse_args()
    print(sample(args.name, args.count, args.difficulty))


if __name__ == "__main__":
    main()
