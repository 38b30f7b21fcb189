"""What holds for the hand-over of every lab's 02-Train."""

from pathlib import Path

import pytest

from shared.finetune.config import load_config
from shared.paths import lab_folder
from shared.runs import RunFolder


def assert_the_yaml_twin_agrees(run: RunFolder, place: Path, method: str, *scores: str) -> None:
    """Train with the lab's ``tiny.yaml`` as the command line does, and compare with what the notebook handed over.

    Args:
        run: The lab's run folder.
        place: An empty folder for checkpoints.
        method: The lab's method in ``metrics.json``.
        scores: The metrics to compare, to 1e-4, as are all logged losses.
    """
    from shared.finetune import train

    result = train.run(load_config(lab_folder(run.lab) / "configs" / "tiny.yaml"), place, seed=0)
    stage = run.read("02-Train")
    metrics = stage.json("metrics.json")
    assert result.metrics["trainable"] == metrics["trainable"]
    for name in scores:
        assert result.metrics[name] == pytest.approx(metrics[method][name], abs=1e-4), name
    theirs = [entry["loss"] for entry in stage.json("history.json") if "loss" in entry]
    ours = [entry["loss"] for entry in result.history if "loss" in entry]
    assert ours and ours == pytest.approx(theirs, abs=1e-4)
