"""After a training: did the loss fall, is the end token predicted, what did it take; and the warnings before it."""

from __future__ import annotations

import json

import pytest
import random_models as world

from shared.finetune import train
from shared.finetune.config import load_config
from shared.finetune.models import load_base
from shared.finetune.training.health import TrainingHealth, look
from shared.finetune.training.training_run import _rows, _trainer
from shared.finetune.training.warnings import warnings_of
from shared.finetune.validation.expected_warnings import expected_warnings
from shared.finetune.validation.local_inputs import LocalInputs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")
    return folder


def configured(place, out, peft=None, model="model", **training):
    values = world.config_dict(place / model, place / "rows.jsonl", out, **training)
    values["peft"] |= peft or {}
    return world.write_config(out.parent / "c.yaml", values)


def test_the_metrics_say_what_it_took_and_whether_it_learnt(place, tmp_path, capsys):
    out = tmp_path / "out"
    assert train.main(["--config", str(configured(place, out, max_steps=60))]) == 0
    found, said = json.loads((out / "metrics.json").read_text()), capsys.readouterr()
    assert found["steps"] == 60 and found["train_seconds"] == found["seconds"] > 0
    assert found["tokens_per_second"] == pytest.approx(found["tokens_seen"] / found["seconds"], rel=0.05)
    assert 100 < found["peak_memory_mib"] < 20_000
    assert found["training_precision"] == "fp32" and found["training_precision_reason"] == "training.bf16 is false"
    assert found["rows"] == 64 and found["rows_response_cut_off"] == 0 and found["longest_prompt_tokens"] == 9
    assert found["loss_after"] < found["loss_before"] and found["warnings"] == []
    assert found["end_token_rows"] == 60 * 4 / 8, "an eighth of the rows trained on"
    assert found["end_token_share"] > 0.6 and "warning" not in said.err
    assert f"end token predicted on {found['end_token_share']:.0%} of 30" in said.out


def test_tokens_are_counted_without_padding_and_over_a_resumption(place, tmp_path):
    config = load_config(configured(place, tmp_path / "out", max_steps=6, save_strategy="steps", save_steps=3))
    whole = train.run(config, tmp_path / "whole", 0, score=False)
    rows = whole.trainer.train_dataset
    assert whole.metrics["tokens_seen"] <= 6 * 4 * max(len(row["input_ids"]) for row in rows)
    again = train.run(config, tmp_path / "whole", 0, tmp_path / "whole" / "checkpoint-3", score=False)
    assert again.metrics["tokens_seen"] == whole.metrics["tokens_seen"], "of all steps"
    assert again.metrics["loss_before"] == whole.metrics["loss_before"], "kept by the checkpoint"
    assert again.metrics["loss_after"] == pytest.approx(whole.metrics["loss_after"], abs=1e-4)


def test_a_loss_that_ends_above_its_start_is_said_with_the_likely_cause(place, tmp_path, capsys):
    out = tmp_path / "out"
    assert train.main(["--config", str(configured(place, out, max_steps=12, learning_rate=50.0)), "--no_score"]) == 0
    found = json.loads((out / "metrics.json").read_text())
    (warning,) = found["warnings"]
    assert "the learning rate of 50 is 250,000 times what is usual for lora -> write learning_rate: 0.0002" in warning
    assert f"({found['loss_before']:.3g} before it)" in warning and warning in capsys.readouterr().out


@pytest.mark.parametrize(("method", "task"), [("bitfit", "SEQ_CLS"), ("prompt-tuning", "CAUSAL_LM"),
                                              ("prefix-tuning", "SEQ_2_SEQ_LM"), ("lora", "TOKEN_CLS"),
                                              ("ia3", "QUESTION_ANS")])  # fmt: skip
def test_every_task_is_looked_at(bases, tmp_path, method, task):
    kind = {"CAUSAL_LM": "gpt2", "SEQ_2_SEQ_LM": "t5"}.get(task, "bert")
    values = world.task_config(bases / kind, bases / f"{task}.jsonl", task, {"method": method}, max_steps=2)
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    found = train.run(config, tmp_path / "checkpoints", 0, score=False).metrics
    assert 0 < found["loss_after"] < 20 and found["tokens_seen"] > 0 and found["rows"] > 0
    assert ("end_token_share" in found) == (task in ("CAUSAL_LM", "SEQ_2_SEQ_LM"))
    assert found.get("end_token_rows", 1) > 0


def test_the_look_is_the_trainers_loss_and_leaves_no_trace(place, tmp_path):
    """The rows in one batch: the same number as the Trainer's evaluation; nothing of a training depends on it."""
    config = load_config(configured(place, tmp_path / "out", max_steps=4, per_device_eval_batch_size=64))
    model, tokenizer = load_base(config)
    rows = _rows(config, tokenizer)
    trainer, _ = _trainer(config, model, tokenizer, rows, tmp_path / "c", 0, [])
    assert look(trainer, "CAUSAL_LM").loss == pytest.approx(
        trainer.evaluate(trainer.train_dataset.select(range(8)))["eval_loss"], rel=1e-4
    )
    with_look = train.run(config, tmp_path / "a", 0, score=False)
    trainer.train()
    losses = [
        [step["loss"] for step in one if "loss" in step] for one in (with_look.history, trainer.state.log_history)
    ]
    assert losses[0] == losses[1]


# -- an end token that was added --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def added(request, tmp_path_factory):
    """A base whose tokenizer has got another end token than the model was made with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("added")
    world.make_model(folder / "model", tied=request.param)
    world.make_rows(folder / "rows.jsonl")
    tokenizer, model = (one.from_pretrained(folder / "model") for one in (AutoTokenizer, AutoModelForCausalLM))
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder, tokenizer.eos_token_id, request.param


def warned(config) -> list[str]:
    """The warnings, which have to be the same before anything is loaded and with the real model."""
    model, tokenizer = load_base(config)
    rows = _rows(config, tokenizer)
    trainer, _ = _trainer(config, model, tokenizer, rows, "unused", 0, [])
    found = list(warnings_of(config, trainer.model, tokenizer, rows.lengths))
    assert expected_warnings(LocalInputs(config)) == found
    return found


def test_an_end_token_that_is_not_trained_is_warned_of_before_the_training(added, tmp_path):
    place, token, tied = added
    (warning,) = warned(load_config(configured(place, tmp_path / "out")))
    where = f"[{token}]" if tied else f"{{embed_tokens: [{token}], lm_head: [{token}]}}"
    assert "'<end>'" in warning and "is not trained" in warning
    assert f"write peft.trainable_token_indices: {where}, or peft.modules_to_save: [embed_tokens, lm_head]" in warning


@pytest.mark.parametrize("how", ["tokens", "modules", "full"])
def test_what_the_warning_offers_ends_it_and_teaches_the_end(added, tmp_path, how):
    place, token, tied = added
    tokens = [token] if tied else {"embed_tokens": [token], "lm_head": [token]}
    peft = {"tokens": {"trainable_token_indices": tokens}, "modules": {"modules_to_save": ["embed_tokens", "lm_head"]},
            "full": {}}[how]  # fmt: skip
    config = load_config(configured(place, tmp_path / "out", peft, max_steps=60))
    config = config.changed(peft={"method": "full"}) if how == "full" else config
    assert not warned(config)
    found = train.run(config, tmp_path / "checkpoints", 0, score=False).metrics
    assert found["end_token_share"] > 0.5 and found["warnings"] == []


def test_only_one_of_two_rows_is_not_enough(added, tmp_path):
    place, token, tied = added
    if not tied:
        found = warned(load_config(configured(place, tmp_path / "out", {"trainable_token_indices": [token]})))
        assert "row in lm_head is not trained" in found[0]


def test_an_adapter_with_a_trained_token_is_reloaded(added, tmp_path):
    import torch

    from shared.finetune.models import load_tuned

    place, token, tied = added
    tokens = [token] if tied else {"embed_tokens": [token], "lm_head": [token]}
    file = configured(place, tmp_path / "out", {"trainable_token_indices": tokens}, max_steps=4)
    config = load_config(file)
    result = train.run(config, tmp_path / "checkpoints", 0, score=False)
    train.save(result, config, tmp_path / "run")
    ids = torch.tensor([[7, 9, token, 12]])
    with torch.no_grad():
        again = load_tuned(config, tmp_path / "run")[0](ids).logits
        assert torch.equal(result.trainer.model.eval()(ids).logits, again)


def test_a_rank_above_what_a_layer_can_have_is_warned_of(place, tmp_path):
    (warning,) = warned(load_config(configured(place, tmp_path / "out", {"lora_r": 999})))
    assert (
        "peft.lora_r: 999" in warning and "min(d_in, d_out) is 32 for k_proj (64 x 32) -> write lora_r: 32" in warning
    )
    assert not warned(load_config(configured(place, tmp_path / "out", {"lora_r": 32})))


def test_a_finished_training_survives_a_look_that_does_not_fit(place, tmp_path, monkeypatch):
    import torch

    from shared.finetune.training import health

    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(health, "look", full)
    config = load_config(configured(place, tmp_path / "out", max_steps=2))
    found = train.run(config, tmp_path / "c", 0, score=False).metrics
    assert found["steps"] == 2 and "loss_after" not in found
    assert TrainingHealth().start is None
