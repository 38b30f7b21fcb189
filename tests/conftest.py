"""What all tests share: no network, a run folder of their own, the order in which they run, and which stay together."""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from shared.runs import RunFolder

pytest.register_assert_rewrite("exercise_contract", "results_contract")

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
    """The notebooks in lab order and what needs them, lab by lab, since these take longest; then the other tests."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("labs")
            item.add_marker(pytest.mark.timeout(LAB_TIMEOUT))

    def place(item: pytest.Item) -> tuple[bool, str, bool]:
        lab = group_of(item.path) if item.get_closest_marker("labs") else ""
        return not lab, lab, item.path.suffix != ".ipynb"

    items.sort(key=place)


@cache
def group_of(file: Path) -> str:
    """What has to stay together: a lab's notebooks and the tests of what they hand over, or else a file's tests."""
    if file.suffix == ".ipynb":
        return file.parent.name
    text = file.read_text(encoding="utf8")
    lab = re.search(r'^LAB = "(.+)"', text, re.MULTILINE)
    return lab[1] if lab and "pytest.mark.labs" in text else file.name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give each group to one process, in order (xdist_group does nothing with pytest-xdist 3.8 and pytest 9.2)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / nodeid.split("::")[0])

    return ByGroup(config, log)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random base of each architecture and a file of rows for each task."""
    import random_models as world

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
