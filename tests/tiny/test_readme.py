"""The README of the micro-models lists what the code has."""

from pathlib import Path

import pytest

from shared import tiny
from shared.tiny import MODELS, TASKS
from shared.tiny.tasks import SIZES

HERE = Path(tiny.__file__).parent
TEXT = (HERE / "README.md").read_text(encoding="utf8")


def row(name):
    task = TASKS[name]
    return f"| `{name}` | {', '.join(task.columns)} | {task.stands_for} | `{task.model}` | {task.metric} |"


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_listed_as_it_is(name):
    assert row(name) in TEXT
    assert TASKS[name].sizes == SIZES


def test_sizes_are_listed():
    assert ", ".join(f"{split} {size:,}" for split, size in SIZES.items()) in TEXT


def test_modules_and_models_are_there():
    listed = TEXT.split("## Modules")[1]
    modules = {path.name for path in HERE.glob("*.py")} - {
        "__init__.py",
        "card.py",
        "show.py",
        "gates.py",
        "reference_scores_report.py",
    }
    assert not [name for name in modules if f"`{name}`" not in listed]
    assert all(f"models/{name}" in TEXT for name in MODELS)
