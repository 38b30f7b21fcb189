"""Whole labs, once more: with other parameters, and in the wrong order. These run last and take longest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nbformat
import pytest

from shared.notebooks import NotebookFailed, labs_with_notebooks, run_labs, summary
from shared.runs import RunFolder

pytestmark = [pytest.mark.labs, pytest.mark.timeout(1200)]
LAB = "Lab-01-LoRA"


def test_a_lab_takes_other_parameters_seed_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LABS_RUNS", str(tmp_path))
    copies = run_labs([LAB], profile="tiny", seed=3, run_name="other")[LAB]
    for copy in copies:
        injected = [c for c in nbformat.read(copy, 4).cells if "injected-parameters" in c.metadata.get("tags", [])]
        assert 'SEED = 3\nRUN_NAME = "other"' in injected[0].source, copy.name
    run = RunFolder(LAB, "tiny", "other")
    trained = run.read("02-Train")
    assert 3 in trained.manifest["seeds"], "02-Train does not use SEED"
    assert [path.name for path in (tmp_path / LAB / "tiny").iterdir()] == ["other"], "something ignores RUN_NAME"
    text = summary(LAB, "tiny", "other")
    metrics = trained.json("metrics.json")
    for part in (f"{metrics['lora']['exact_match']:.1%}", f"{metrics['trainable']:,}", "merge", "deployment"):
        assert part in text
    other_seed_is_another_adapter(trained.path)


def other_seed_is_another_adapter(trained: Path) -> None:
    """Where the default run was executed before (as `make test` does), its adapter differs from this one."""
    runs = Path(__file__).resolve().parents[2] / "build" / "test-runs"
    before = runs / LAB / "tiny" / "default" / "02-Train" / "adapter" / "adapter_model.safetensors"
    if before.is_file():
        hashes = {
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (before, trained / before.relative_to(before.parents[1]))
        }
        assert len(hashes) == 2, "SEED changes nothing"


@pytest.mark.parametrize("lab", labs_with_notebooks())
def test_inference_before_training_names_the_notebook_to_run(
    lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEFT_LABS_RUNS", str(tmp_path))
    with pytest.raises(NotebookFailed, match="RunError(.|\n)*02-Train"):
        run_labs([lab], stages=["03"])
