"""Print a sample: ``python -m shared.tiny.show guanaco`` (a task), ``corpus`` (pretraining text)."""

from __future__ import annotations

import argparse
from itertools import islice

from shared.tiny import TASKS, load_task


def sample(name: str, count: int = 5, difficulty: str = "normal") -> str:
    """Return a printable sample.

    Args:
        name: A task, or "corpus" for pretraining text.
        count: Rows or documents.
        difficulty: Difficulty of the task.

    Returns:
        The sample, one block a row.
    """
    if name == "corpus":
        from shared.tiny.corpus import documents
        from shared.tiny.stories import unmark

        return "\n\n".join(unmark(text)[0].strip() for text in islice(documents(0), count))
    task = TASKS[name]
    head = f"{task.name}: {task.description}\nstands for {task.stands_for}; rows {task.sizes}; {task.licence}"
    rows = load_task(name, "train", difficulty=difficulty).select(range(count))
    return "\n\n".join([head, *("\n".join(f"{key}: {value}" for key, value in row.items()) for row in rows)])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*TASKS, "corpus"])
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--difficulty", default="normal", choices=["easy", "normal", "hard"])
    args = parser.parse_args()
    print(sample(args.name, args.count, args.difficulty))


if __name__ == "__main__":
    main()
