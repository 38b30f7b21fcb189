"""What all tests share: no network, a run folder of their own, the order in which they run, and which stay together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from shared.runs import RunFolder

pytest.register_assert_rewrite("exercise_contract", "handed_over")

# Set before anything is imported, because huggingface_hub and torch read them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PEFT_LABS_PROFILE", "tiny")

LAB_TIMEOUT = 1200  # [s] one notebook on a slow machine


def pytest_configure(config: pytest.Config) -> None:
    """Give the notebooks an empty run folder, away from the user's own: 03 must not pass on an older 02's results."""
    if "PEFT_LABS_RUNS" not in os.environ:  # pytest-xdist's workers have it from the process that starts them
        runs = config.rootpath / "build" / "test-runs"
        shutil.rmtree(runs, ignore_errors=True)
        os.environ["PEFT_LABS_RUNS"] = str(runs)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The notebooks in lab order and what needs them, lab by lab, since these take longest; then the other tests.

    With pytest-xdist a group stays in one process, in this order: a lab with the tests of what it has handed over, or
    a file of tests, whose fixtures would be made twice otherwise.
    """
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("labs")
            item.add_marker(pytest.mark.timeout(LAB_TIMEOUT))
        item.add_marker(pytest.mark.xdist_group(_lab(item) or item.path.name))
    items.sort(key=lambda item: (not _lab(item), _lab(item), item.path.suffix != ".ipynb"))


def _lab(item: pytest.Item) -> str:
    """The lab whose notebooks an item is, or needs; "" for the other tests."""
    if item.path.suffix == ".ipynb":
        return item.path.parent.name
    return item.module.LAB if item.get_closest_marker("labs") else ""


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random base of each architecture and a file of rows for each task."""
    import finetune_world as world

    folder = tmp_path_factory.mktemp("bases")
    for kind in ("bert", "gpt2", "t5", "llama", "roberta"):
        world.make_base(folder / kind, kind)
    for task in ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM", "CAUSAL_LM"):
        world.make_task(folder / f"{task}.jsonl", task)
    world.freeze_imports()
    return folder


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> RunFolder:
    """The run folder of the module's ``LAB``, as the notebooks of this session left it."""
    from shared.runs import RunFolder

    folder = RunFolder(request.module.LAB, "tiny", "default")
    if not (folder.path / "02-Train").is_dir():
        pytest.fail("02-Train has handed nothing over: this test needs the lab's notebooks in this session (make test)")
    return folder
