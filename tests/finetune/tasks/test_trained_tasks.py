"""What a trained task leaves: merged models, reloaded adapters, answers written to files, resumed training runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import random_models as world
import torch

from shared.errors import ModelError
from shared.finetune import merge_adapter, train
from shared.finetune.config import Config
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base, load_tuned, storage


@pytest.fixture(scope="module")
def place(bases):
    return bases


def configured(place, task, kind, peft, **training) -> Config:
    return Config.model_validate(world.task_config(place / kind, place / f"{task}.jsonl", task, peft, **training))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.no_merge and name != "full"])
def test_methods_without_a_merge_say_why(place, tmp_path, method):
    config = configured(place, "SEQ_CLS", "bert", {"method": method})
    model, _ = load_base(config)
    storage.store(METHODS[method].apply(model, config.peft, "SEQ_CLS"), tmp_path / "adapter", config)
    with pytest.raises(ModelError) as caught:
        merge_adapter.merge(config, tmp_path / "adapter", tmp_path / "merged")
    assert METHODS[method].no_merge in str(caught.value) and "ship" in caught.value.fix
    assert not (tmp_path / "merged").exists()


def test_a_reload_needs_neither_the_data_nor_the_right_order_of_classes(place, tmp_path):
    """The classes stand beside the weights: no training rows are read for a reload."""
    rows = [{"text": f"w{n} w{n + 1}", "label": "pos" if n % 2 else "neg"} for n in range(30)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = world.task_config(place / "bert", file, "SEQ_CLS", {"method": "bitfit"})
    config = Config.model_validate(values)
    result = train.run(config, tmp_path / "c", 0)
    assert {one["answer"] for one in result.notes} <= {"neg", "pos"} and result.metrics["main_metric"] == "accuracy"
    storage.store(result.trainer.model, tmp_path / "adapter", config)
    file.unlink()
    model, _ = load_tuned(config, tmp_path / "adapter")
    assert model.config.id2label == {0: "neg", 1: "pos"}
    with pytest.raises(ModelError, match="trained for SEQ_CLS"):
        other = {**values, "task_type": "TOKEN_CLS"}
        load_tuned(Config.model_validate(other), tmp_path / "adapter")
    (tmp_path / "adapter" / "delta.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="delta.safetensors is damaged"):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        load_tuned(config, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("task", "kind", "good", "bad"),
    [
        ("SEQ_CLS", "bert", {"sentence1": "w1 w2", "sentence2": "w3"}, {"sentence1": "w1"}),
        ("TOKEN_CLS", "bert", {"tokens": ["w1", "w2"]}, {"words_": ["w1"]}),
        ("QUESTION_ANS", "bert", {"question": "w1", "context": "w1 w2"}, {"question": "w1"}),
        ("SEQ_2_SEQ_LM", "t5", {"question": "w1 w2 w3"}, {"query": "w1"}),
    ],
)
def test_inference_answers_a_file_of_each_task(place, tmp_path, task, kind, good, bad, capsys):
    from shared.finetune import inference

    config = configured(place, task, kind, {"method": "full"})
    file, out = world.write_config(tmp_path / "c.yaml", config.given()), tmp_path / "out.jsonl"
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in (good, bad, good)))
    call = ["--config", str(file), "--input_file", str(tmp_path / "in.jsonl"), "--output_file", str(out)]
    assert inference.main(call) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3] and "error" in rows[1] and rows[0]["answer"] == rows[2]["answer"]
    assert "in.jsonl:2: the input has no column" in capsys.readouterr().err or task == "SEQ_2_SEQ_LM"
    wanted = {"SEQ_CLS": str, "TOKEN_CLS": list, "QUESTION_ANS": str, "SEQ_2_SEQ_LM": str}[task]
    assert isinstance(rows[0]["answer"], wanted)


def answered(tmp_path: Path, file: Path, rows: list[dict], *more: str) -> list[dict]:
    from shared.finetune import inference

    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    out = tmp_path / "out.jsonl"
    call = ["--config", str(file), "--input_file", str(tmp_path / "in.jsonl"), "--output_file", str(out), *more]
    assert inference.main(call) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_classification_gives_label_and_probabilities(place, tmp_path, capsys):
    """The probabilities are the softmax of the model's own logits; ids, gaps and mixed types lose no row."""
    from shared.finetune import inference

    config = configured(place, "SEQ_CLS", "bert", {"method": "full"})
    file = world.write_config(tmp_path / "c.yaml", config.given())
    pairs = [("w1 w2", "w3"), ("w4", 5), (None, "w6")]
    rows = [
        {"id": k or "none", "sentence1": a, "sentence2": b, "meta": {"k": k or "x"}} for k, (a, b) in enumerate(pairs)
    ]
    found = answered(tmp_path, file, rows)
    assert [row["id"] for row in found] == ["none", 1, 2] and found[1]["sentence2"] == 5
    for row in found:
        chances = row["probabilities"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-4) and max(chances, key=chances.get) == row["answer"]
    weights = tmp_path / "run"
    assert train.main(["--config", str(file), "--no_score", f"training.output_dir={weights}"]) == 0
    capsys.readouterr()
    (one,) = answered(tmp_path, file, rows[:1], "--model_path", str(weights))
    model, tokenizer = load_tuned(config, weights)
    with torch.no_grad():
        want = model(**tokenizer("w1 w2", "w3", return_tensors="pt")).logits.softmax(-1)[0].tolist()
    assert list(one["probabilities"].values()) == pytest.approx(want, abs=1e-5)
    assert list(one["probabilities"]) == list(model.config.id2label.values())
    single = ["--config", str(file), "--model_path", str(weights), "--input_text", "w1 w2"]
    assert inference.main(single) == 1 and "no column 'sentence1'" in capsys.readouterr().err


def test_tags_have_probabilities(place, tmp_path):
    file = world.write_config(tmp_path / "c.yaml", configured(place, "TOKEN_CLS", "bert", {"method": "full"}).given())
    rows = answered(tmp_path, file, [{"tokens": ["w1", "w2", "w3"]}, {"tokens": [1, 2]}, {"tokens": []}])
    assert len(rows[0]["answer"]) == len(rows[0]["probabilities"]) == 3
    assert all(0 < chance <= 1 for chance in rows[0]["probabilities"])
    assert all("holds no words" in row["error"] for row in rows[1:])


@pytest.mark.parametrize(
    ("task", "kind", "peft"),
    [
        ("SEQ_CLS", "bert", {"method": "bitfit"}),
        ("SEQ_CLS", "bert", {"method": "adapter", "bottleneck": 4}),
        ("SEQ_CLS", "bert", {"method": "p-tuning", "num_virtual_tokens": 3}),
        ("SEQ_CLS", "bert", {"method": "lora"}),
        ("SEQ_CLS", "bert", {"method": "adalora", "init_r": 4, "target_r": 1, "tinit": 1, "tfinal": 1, "deltaT": 1}),
        ("CAUSAL_LM", "gpt2", {"method": "prefix-tuning", "encoder_hidden_size": 8, "num_virtual_tokens": 3}),
    ],
    ids=lambda value: value["method"] if isinstance(value, dict) else value,
)
def test_going_on_from_a_checkpoint_gives_the_uninterrupted_weights(place, tmp_path, task, kind, peft):
    training = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-2}
    config = configured(place, task, kind, peft, **training)
    whole = train.run(config, tmp_path, 0, score=False).trainer.model
    again = train.run(config, tmp_path, 0, resume=tmp_path / "checkpoint-2", score=False).trainer.model
    trained = {name: one for name, one in whole.named_parameters() if one.requires_grad}
    assert trained and all(torch.equal(again.get_parameter(name), one) for name, one in trained.items())


def test_the_command_trains_scores_and_reports(place, tmp_path, capsys):
    from shared.finetune import evaluate

    config = configured(place, "SEQ_CLS", "bert", {"method": "bitfit"}, output_dir=str(tmp_path / "out"))
    file = world.write_config(tmp_path / "c.yaml", config.given())
    assert train.main(["--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "exact match" not in shown
    wanted = {"adapter", "config.yaml", "metrics.json", "history.json", "run.json", "answers.jsonl"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["main_metric"] == "accuracy" and metrics["n"] == 4
    call = ["--config", str(tmp_path / "out" / "config.yaml"), "--model_path", str(tmp_path / "out")]
    assert evaluate.main([*call, "--output_file", str(tmp_path / "e.json")]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["accuracy"] == metrics["accuracy"]


@pytest.mark.parametrize(("method", "rate"), [("full", 3e-3), ("lora", 2e-2), ("p-tuning-v2", 3e-2)])
def test_it_learns(place, tmp_path, method, rate):
    """The first two words are a name: a random BERT learns that much in a second."""
    training = {"max_steps": 60, "group_by_length": True, "eval_strategy": "steps", "eval_steps": 30}
    config = configured(place, "TOKEN_CLS", "bert", {"method": method}, learning_rate=rate, **training)
    result = train.run(config, tmp_path, 0)
    losses = [step["eval_loss"] for step in result.history if "eval_loss" in step]
    assert losses[1] < losses[0] and result.metrics["f1"] > 0.9, (losses, result.metrics)


def test_a_head_on_a_quantised_base_trains_in_full_precision(place, tmp_path):
    pytest.importorskip("bitsandbytes")
    config = configured(place, "SEQ_CLS", "bert", {"method": "lora"}, max_steps=2)
    config = config.changed(model={"quantization": {"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"}})
    result = train.run(config, tmp_path / "c", 0, score=False)
    model = result.trainer.model
    heads = {name: one for name, one in model.named_parameters() if "modules_to_save" in name}
    assert len(heads) == 4 and all(one.dtype == torch.float32 and one.requires_grad for one in heads.values())
    assert any(one.dtype == torch.uint8 for one in model.parameters())
    storage.store(model, tmp_path / "adapter", config)
    again, tokenizer = load_tuned(config, tmp_path / "adapter")
    one = tokenizer("w1 w2 w3", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(again(**one).logits, model.eval()(**one).logits, rtol=1e-4, atol=1e-5)
