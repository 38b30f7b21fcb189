"""What holds for the results of every lab's 02-Train."""

from pathlib import Path

import pytest
from transformers import TrainerCallback

from shared.finetune.config import load_config
from shared.paths import lab_folder
from shared.runs import RunFolder


class StopAfter(TrainerCallback):
    """Ends a run early; learning rates and the order of the rows are those of the whole run."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.steps


def assert_the_yaml_twin_agrees(run: RunFolder, place: Path, method: str, *scores: str) -> None:
    """The command line with the lab's ``tiny.yaml`` gives the numbers of the notebook.

    The first quarter of the training is repeated: the same losses mean the same base, rows, order, schedule and
    optimizer. The weights that the notebook stored are loaded and scored as the command line does.

    Args:
        run: The lab's run folder.
        place: An empty folder for checkpoints.
        method: The lab's method in ``metrics.json``.
        scores: The metrics to compare, to 1e-4, as are the logged losses.
    """
    from shared.finetune import train
    from shared.finetune.evaluation import evaluate_rows
    from shared.finetune.models import load_tuned

    stage = run.read("02-Train")
    metrics = stage.json("metrics.json")
    theirs = {entry["step"]: entry["loss"] for entry in stage.json("history.json") if "loss" in entry}
    config = load_config(lab_folder(run.lab) / "configs" / "tiny.yaml")
    quarter = StopAfter(max(theirs) // 4)
    result = train.run(config, place, seed=0, callbacks=[quarter], score=False)
    assert result.metrics["trainable"] == metrics["trainable"]
    ours = {entry["step"]: entry["loss"] for entry in result.history if "loss" in entry}
    assert len(ours) >= 2 and ours == pytest.approx({step: theirs[step] for step in ours}, abs=1e-4)
    found = evaluate_rows(*load_tuned(config, stage.file("adapter")), config)
    for name in scores:
        assert found[name] == pytest.approx(metrics[method][name], abs=1e-4), name
