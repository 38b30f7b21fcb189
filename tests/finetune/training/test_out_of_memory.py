"""Out of memory: what the message advises, and the search for a batch that fits."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import random_models as world
import torch
from training_processes import weights
from training_runs import assert_same, configured, resumed, run

from shared.errors import HardwareError
from shared.finetune import train
from shared.finetune.config.loading import load_config
from shared.finetune.training.out_of_memory import Batch


@pytest.fixture(autouse=True, scope="module")
def _frozen():
    world.freeze_imports()


@pytest.fixture
def small_memory(monkeypatch):
    """A GPU on which a step with more than two rows fails, as torch says it; ``small_memory.steps`` counts them all."""
    from shared.finetune.training.task_trainer import TaskTrainer

    seen, kept = SimpleNamespace(rows=[], first=0), TaskTrainer.training_step

    def step(self, model, inputs, *args, **kwargs):
        rows = len(inputs["input_ids"])
        seen.rows.append(rows)
        if rows > 2 and self.state.global_step >= seen.first:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return kept(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(TaskTrainer, "training_step", step)
    return seen


def test_out_of_memory_names_what_to_change(tmp_path, small_memory, capsys):
    assert train.main(["--config", str(configured(tmp_path))]) == 1
    said = capsys.readouterr().err
    assert "out of memory while training: CUDA out of memory" in said
    for fix in (
        "per_device_train_batch_size: 4 (now 8)",
        "gradient_accumulation_steps: 2 (now 1)",
        "auto_find_batch_size: true",
        "gradient_checkpointing: true (now false)",
        "dataset.max_length: 256",
        "paged_adamw_8bit (now adamw_torch",
        "load_in_4bit: true",
        "model.dtype: bfloat16 (now float32)",
        "(now tiny:bert)",
    ):
        assert fix in said, fix
    assert "Traceback" not in said and not (tmp_path / "out").exists()


def test_on_request_the_batch_is_halved_and_the_accumulation_doubled(tmp_path, small_memory, capsys):
    file = configured(tmp_path, auto_find_batch_size=True, more={"peft": {"lora_dropout": 0.0}})
    assert train.main(["--config", str(file), "--no_score"]) == 0
    assert small_memory.rows[:2] == [8, 4] and set(small_memory.rows[2:]) == {2} and len(small_memory.rows) == 2 + 4 * 4
    said = capsys.readouterr().out
    assert "8 x 1 (rows x accumulation): going on with 4 x 2" in said and "going on with 2 x 4" in said
    record = json.loads((tmp_path / "out" / "batches.json").read_text())
    assert [one["to"] for one in record] == [{"size": 4, "accumulation": 2}, {"size": 2, "accumulation": 4}]
    used = load_config(tmp_path / "out" / "config.yaml").training
    assert (used.per_device_train_batch_size, used.gradient_accumulation_steps) == (2, 4)
    small = configured(tmp_path / "b", per_device_train_batch_size=2, gradient_accumulation_steps=4,
                       more={"peft": {"lora_dropout": 0.0}})  # fmt: skip
    assert train.main(["--config", str(small), "--no_score"]) == 0
    expected, found = weights(tmp_path / "b" / "out"), weights(tmp_path / "out")
    assert all(torch.equal(found[name], one) for name, one in expected.items()), "not a fresh start"


def test_memory_that_ends_later_goes_on_from_the_checkpoint(tmp_path, small_memory):
    small_memory.first = 3
    config = load_config(configured(tmp_path, auto_find_batch_size=True, save_strategy="steps", save_steps=2))
    result = train.run(config, tmp_path / "checkpoints", 0, score=False)
    assert [one["to"]["size"] for one in result.batches] == [4, 2] and result.metrics["steps"] == 4
    assert small_memory.rows == [8, 8, 8, 8, 4, 4, 4, *[2] * 8]  # steps 1-4 fail at the 4th, then step 3 and 4 anew


def test_a_resumed_training_begins_with_the_batch_that_was_found(tmp_path, small_memory):
    config = load_config(configured(tmp_path, auto_find_batch_size=True, save_strategy="steps", save_steps=2))
    whole = train.run(config, tmp_path / "checkpoints", 0, score=False)
    small_memory.rows.clear()
    again = resumed(tmp_path, config, 2)
    assert set(small_memory.rows) == {2} and again.batches == whole.batches
    assert_same(again, whole)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    from shared.finetune.training.task_trainer import TaskTrainer

    def step(*args, **kwargs):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TaskTrainer, "training_step", step)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(tmp_path, auto_find_batch_size=True)


@pytest.mark.parametrize(("before", "after"), [((8, 1), (4, 2)), ((6, 2), (3, 4)), ((9, 1), (3, 3)), ((1, 16), None)])
def test_the_smaller_batch_has_the_same_effect(before, after):
    smaller = Batch(*before).smaller()
    assert smaller == (after and Batch(*after))
    assert after is None or smaller.size * smaller.accumulation == before[0] * before[1]


def test_memory_that_lacks_while_scoring_is_another_problem(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("shared.finetune.evaluation.scoring.evaluate_rows", full)
    with pytest.raises(HardwareError, match=r"while scoring[\s\S]*evaluation.batch_size: 32 \(now 64\)"):
        train.run(load_config(configured(tmp_path, max_steps=1)), tmp_path / "checkpoints", 0)
