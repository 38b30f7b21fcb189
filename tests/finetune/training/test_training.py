"""What `training:` promises: schedule, checkpointing, 8-bit optimizer, early stopping, loggers, progress, memory."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace

import pytest
import random_models as world
import torch
from safetensors.torch import load_file
from training_processes import weights
from training_runs import assert_same, configured, hide, logged, resumed, run

from shared.errors import ConfigError, HardwareError
from shared.finetune import train
from shared.finetune.config.loading import InvalidConfig, find_problems, load_config
from shared.finetune.training.progress_bar import TrainingBar


@pytest.fixture(autouse=True, scope="module")
def _frozen():
    world.freeze_imports()


# -- schedule, checkpointing, precision, optimizer --------------------------------------------------------------------


def test_cosine_with_warm_up(tmp_path):
    from math import cos, pi

    rates = logged(run(tmp_path, max_steps=10, learning_rate=1.0, warmup_ratio=0.2), "learning_rate")
    expected = [0.0, 0.5, *((1 + cos(pi * step / 8)) / 2 for step in range(8))]  # the rate that each step was made with
    assert rates == pytest.approx(expected) or rates == pytest.approx([*expected[1:], 0.0])


@pytest.mark.parametrize("task", ["SEQ_CLS", "CAUSAL_LM"])
@pytest.mark.parametrize("reentrant", [None, True])
def test_gradient_checkpointing_changes_no_gradient(tmp_path, task, reentrant):
    """Reentrant checkpointing, transformers' default, leaves the first block of a frozen base untrained."""
    extra = {"gradient_checkpointing_kwargs": {"use_reentrant": True}} if reentrant else {}
    still = {"peft": {"lora_dropout": 0.0}}
    plain = run(tmp_path / "plain", task, more=still)
    saving = run(tmp_path / "saving", task, more=still, gradient_checkpointing=True, **extra)
    # Adam's first steps are signs of gradients, so rounding moves single weights by a whole step
    assert logged(plain, "loss") == pytest.approx(logged(saving, "loss"), abs=5e-3)
    moved = {name: one for name, one in saving.trainer.model.named_parameters() if "lora_B" in name}
    assert all(one.any() for one in moved.values()), "an adapter got no gradient"
    for name, one in plain.trainer.model.named_parameters():
        assert (saving.trainer.model.get_parameter(name) - one).abs().mean() < 1e-4, name


def test_the_paged_8_bit_optimizer_trains_and_resumes_without_a_gpu(tmp_path, capsys):
    pytest.importorskip("bitsandbytes")
    given = {"optim": "paged_adamw_8bit", "save_strategy": "steps", "save_steps": 2, "use_cpu": True}
    whole = run(tmp_path, more={"peft": {"lora_r": 32}}, **given)  # small tensors are kept in 32 bits
    assert type(whole.trainer.optimizer.optimizer).__name__ == "AdamW" and "8bit" in whole.trainer.args.optim
    states = [one for state in whole.trainer.optimizer.state.values() for one in state.values() if torch.is_tensor(one)]
    assert any(one.dtype == torch.uint8 for one in states), "no state is kept in 8 bits"
    assert "nothing is paged" in capsys.readouterr().out
    config = load_config(tmp_path / "config.yaml")
    again = resumed(tmp_path, config, 2)
    assert_same(again, whole)


def test_without_bitsandbytes_the_8_bit_optimizer_is_refused(tmp_path, monkeypatch):
    hide(monkeypatch, "bitsandbytes")
    with pytest.raises(HardwareError, match=r"paged_adamw_8bit needs bitsandbytes[\s\S]*adamw_torch"):
        train.task_arguments(load_config(configured(tmp_path, optim="paged_adamw_8bit")), tmp_path)


# -- early stopping, best checkpoint ----------------------------------------------------------------------------------

BEST = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
BEST |= {"load_best_model_at_end": True, "max_steps": 40, "lr_scheduler_type": "constant", "warmup_ratio": 0.0}
SPOILT = {"learning_rate": 0.3}  # a rate at which the loss soon only rises


def best_step(history: list[dict]) -> int:
    losses = {step["step"]: step["eval_loss"] for step in history if "eval_loss" in step}
    return min(losses, key=losses.get)


def test_it_stops_early_and_keeps_the_best_weights(tmp_path):
    file = configured(tmp_path, more={"early_stopping": {"patience": 2}}, **BEST, **SPOILT)
    assert train.main(["--config", str(file), "--no_score"]) == 0
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    steps, best = json.loads((tmp_path / "out" / "metrics.json").read_text())["steps"], best_step(history)
    assert steps < 40 and steps == best + 2 * 2, "two evaluations without improvement"
    until_best = configured(tmp_path / "short", **{**BEST, **SPOILT, "max_steps": best})
    assert train.main(["--config", str(until_best), "--no_score"]) == 0
    expected, found = weights(tmp_path / "short" / "out"), weights(tmp_path / "out")
    assert all(torch.equal(found[name], one) for name, one in expected.items())


def test_early_stopping_goes_on_counting_after_a_kill(tmp_path):
    more = {"early_stopping": {"patience": 2}}
    config = load_config(configured(tmp_path, more=more, **{**BEST, "save_total_limit": None}, **SPOILT))
    whole = train.run(config, tmp_path / "checkpoints", 0, score=False)
    steps, best = whole.metrics["steps"], best_step(whole.history)
    for last in (best + 2, steps):  # counted 1 of 2; and stopped already
        again = resumed(tmp_path, config, last)
        assert again.metrics["steps"] == steps
        assert_same(again, whole)


def test_an_ended_training_is_not_trained_further(tmp_path):
    """In the middle of an epoch the Trainer would do one more step before it looks whether to stop."""
    config = load_config(configured(tmp_path, save_strategy="steps", save_steps=2))
    whole = train.run(config, tmp_path / "checkpoints", 0, score=False)
    again = resumed(tmp_path, config, 4)
    assert again.metrics["steps"] == 4 and logged(again, "loss") == logged(whole, "loss")
    assert_same(again, whole)


@pytest.mark.parametrize(("task", "metric"), [("SEQ_CLS", "accuracy"), ("CAUSAL_LM", "exact_match")])
def test_the_best_checkpoint_may_be_chosen_by_the_tasks_own_score(tmp_path, task, metric):
    given = {**BEST, "max_steps": 4, "save_total_limit": None, "metric_for_best_model": metric}
    result = run(tmp_path, task, **given)
    scores = logged(result, f"eval_{metric}")
    assert len(scores) == 2 and all(0 <= one <= 1 for one in scores)
    assert result.trainer.state.best_metric == max(scores)


def test_the_best_weights_are_saved_between_the_saves(tmp_path):
    given = {**BEST, "eval_steps": 1, "save_steps": 4, "max_steps": 4, "save_total_limit": None}
    result = run(tmp_path, **given, **SPOILT)
    best = best_step(result.history)
    stored = load_file(tmp_path / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors")
    current = {name.replace(".default", ""): one for name, one in result.trainer.model.named_parameters()}
    assert all(torch.equal(current[name], one) for name, one in stored.items() if "lora" in name)


def test_problems_of_early_stopping_and_of_the_best_metric(tmp_path):
    (problem,) = find_problems(configured(tmp_path / "a", more={"early_stopping": {"patience": 2}}))
    assert problem.key == "early_stopping.patience" and "load_best_model_at_end: true" in problem.fix
    file = configured(tmp_path / "b", **{**BEST, "metric_for_best_model": "acuracy"})
    (problem,) = find_problems(file)
    assert problem.key == "training.metric_for_best_model" and "accuracy" in problem.fix
    with pytest.raises(InvalidConfig):
        load_config(configured(tmp_path / "c", more={"early_stopping": {"patience": 0}}))


# -- loggers and progress ---------------------------------------------------------------------------------------------


def test_tensorboard_gets_the_losses(tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = configured(tmp_path, report_to="tensorboard", eval_strategy="steps", eval_steps=2)
    assert train.main(["--config", str(file), "--no_score"]) == 0
    assert re.search(r"tensorboard --logdir \S+", capsys.readouterr().out)
    events = EventAccumulator(str(tmp_path / "out" / "logs")).Reload()
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    for tag, name in (("train/loss", "loss"), ("eval/loss", "eval_loss")):
        expected = [(step["step"], step[name]) for step in history if name in step]
        assert [(one.step, pytest.approx(one.value, abs=1e-6)) for one in events.Scalars(tag)] == expected


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_logger_that_is_not_installed_is_named_with_the_fix(tmp_path, name, monkeypatch, capsys):
    hide(monkeypatch, name)
    file = configured(tmp_path, report_to=name)
    assert train.main(["--config", str(file)]) == 1
    said = capsys.readouterr().err
    assert f"training.report_to = '{name}': {name} can't be used" in said
    assert re.search(rf"pip install .*\b{name}\b", said)


def test_an_unknown_logger_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="tensorboard"):
        train.task_arguments(load_config(configured(tmp_path, report_to="tensorbord")), tmp_path)


def test_loggers_get_the_runs_name_and_never_make_a_space_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "shared.finetune.training.reporting._check", lambda name: None
    )  # none of them is installed here
    monkeypatch.setenv("WANDB_MODE", "")  # noted, so that what the code sets ends with this test
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    args = train.task_arguments(load_config(configured(tmp_path, report_to=["trackio", "wandb"])), tmp_path, seed=3)
    assert args.report_to == ["trackio", "wandb"] and args.trackio_space_id is None
    assert (args.project, args.run_name) == ("short", "short-lora-seed3")
    assert (os.environ["WANDB_MODE"], os.environ["WANDB_PROJECT"]) == ("offline", "mine")


def test_progress_shows_loss_speed_and_time_left(tmp_path, capsys):
    assert train.main(["--config", str(configured(tmp_path)), "--no_score"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    form = r"step {}/4: loss [\d.]+ lr [\d.e-]+; [\d.]+ steps/s, \d:\d\d:\d\d left"
    assert len(lines) == 4
    assert all(re.fullmatch(form.format(number), line) for number, line in enumerate(lines, 1)), lines


def test_the_bar_on_a_terminal_holds_loss_speed_and_time_left(capsys):
    bar, state = TrainingBar(watched=True), SimpleNamespace(is_world_process_zero=True, global_step=2, max_steps=10)
    bar.on_train_begin(None, state, None)  # a resumed run begins at 2
    state.global_step = 4
    bar.on_step_end(None, state, None)
    bar.on_log(None, state, None, logs={"loss": 1.25, "learning_rate": 0.001})
    bar.training_bar.refresh()
    bar.on_train_end(None, state, None)
    said = capsys.readouterr().err
    assert "4/10" in said and "loss=1.25" in said and "it/s" in said and re.search(r"\d\d:\d\d<", said)
