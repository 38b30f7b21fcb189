"""Regression: training, scores, baseline, reload, merge and inference."""

from __future__ import annotations

import json

import pytest
import random_models as world
import torch

from shared.errors import DataError
from shared.finetune import inference, merge_adapter, train
from shared.finetune.config import Config, load_config
from shared.finetune.evaluation import baselines
from shared.finetune.metrics import compute
from shared.finetune.models import load_tuned
from shared.finetune.schema.problems import InvalidConfig
from shared.finetune.tasks.regression import is_regression
from shared.finetune.validate_config import validate


def rows_of(number: int) -> list[dict]:
    """Pairs whose label is five times the share of common words."""
    made = []
    for n in range(number):
        first = [f"w{1 + (n * 5 + k * 3) % 30}" for k in range(4)]
        common = n % 5
        second = first[:common] + [f"w{31 + (n + k) % 8}" for k in range(4 - common)]
        made.append({"sentence1": " ".join(first), "sentence2": " ".join(second), "score": 5 * common / 4, "id": n})
    return made


@pytest.fixture(scope="module")
def place(bases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(200)))
    return folder


def config_file(bases, place, peft=None, **dataset):
    values = world.task_config(bases / "bert", place / "rows.jsonl", "SEQ_CLS", peft or {"method": "lora", "lora_r": 4})
    values["dataset"] |= {"label_column": "score", "regression": True, **dataset}
    values["training"] |= {"max_steps": 40, "learning_rate": 1e-2, "output_dir": str(place / "out")}
    return world.write_config(place / f"{'-'.join(['c', *dataset])}.yaml", values)


def test_correlations_are_those_of_their_definitions():
    found, right = [1.0, 2.0, 3.0, 10.0], [0.0, 1.0, 3.0, 4.0]
    scores = compute("correlation", found, right)
    assert scores["spearman"] == pytest.approx(1.0)
    mean = (sum(found) / 4, sum(right) / 4)
    parts = [(a - mean[0], b - mean[1]) for a, b in zip(found, right, strict=True)]
    want = sum(a * b for a, b in parts) / (sum(a * a for a, _ in parts) * sum(b * b for _, b in parts)) ** 0.5
    assert scores["pearson"] == pytest.approx(want)
    assert compute("correlation", [1.0, 1.0], [0.0, 5.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_it_trains_reloads_merges_and_answers_with_numbers(bases, place, tmp_path, capsys):
    file = config_file(bases, place)
    config = load_config(file)
    assert train.main(["--config", str(file)]) == 0
    said = capsys.readouterr().out
    metrics = json.loads((place / "out" / "metrics.json").read_text())
    assert "pearson" in said and metrics["main_metric"] == "pearson" and metrics["pearson"] > 0.5
    assert baselines.majority(config)["pearson"] == 0 and baselines.majority(config)["answer"] == pytest.approx(
        2.5, abs=0.2
    )
    answers = [json.loads(line) for line in (place / "out" / "answers.jsonl").read_text().splitlines()]
    assert all(isinstance(one["answer"], float) and one["right"] is None for one in answers)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(5)))
    call = ["--config", str(file), "--model_path", str(place / "out"), "--input_file", str(tmp_path / "in.jsonl")]
    assert inference.main([*call, "--output_file", str(tmp_path / "out.jsonl")]) == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    model, tokenizer = load_tuned(config, place / "out")
    batch = tokenizer(found[3]["sentence1"], found[3]["sentence2"], return_tensors="pt")
    with torch.no_grad():
        want = model(**batch).logits
    assert want.shape == (1, 1) and found[3]["answer"] == pytest.approx(want.item(), abs=1e-4)
    assert all("probabilities" not in row for row in found)
    report = merge_adapter.merge(config, place / "out", tmp_path / "merged")
    assert report.verified and report.relative_error < 1e-4


def test_bfloat16_weights_train_too(bases, place, tmp_path):
    config = load_config(config_file(bases, place)).changed(
        model={"dtype": "bfloat16"}, training={"bf16": False, "max_steps": 2}
    )
    result = train.run(config, tmp_path, seed=0)
    assert -1 <= result.metrics["pearson"] <= 1


@pytest.mark.parametrize(("label", "why"), [("high", "'high', which is not a number"), (None, "the label is missing")])
def test_labels_that_are_not_numbers_are_refused(bases, tmp_path, label, why):
    rows = rows_of(30)
    for row in rows:
        row["score"] = label
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=why):
        train.run(load_config(config_file(bases, tmp_path)), tmp_path / "c")


def test_validate_config_names_the_missing_key(bases, place):
    config, problems = validate(config_file(bases, place, regression=None))
    assert config is None and any("dataset.regression: true" in problem.fix for problem in problems)


def test_the_older_name_of_the_key_still_works(bases, place):
    """``dataset.degrees`` was the key's name before; a file with it means the same and is written with the new name."""
    values = load_config(config_file(bases, place)).given()
    values["dataset"]["degrees"] = values["dataset"].pop("regression")
    old = world.write_config(place / "old.yaml", values)
    assert load_config(old) == load_config(config_file(bases, place)) and validate(old)[1] == []
    assert is_regression(load_config(old)) and "regression: true" in load_config(old).to_yaml()
    assert not is_regression(load_config(old, ["dataset.degrees=false"]))


def test_regression_belongs_to_seq_cls(bases):
    values = world.task_config(bases / "bert", bases / "TOKEN_CLS.jsonl", "TOKEN_CLS", {"method": "full"})
    for key in ("regression", "degrees"):
        wrong = {**values, "dataset": {**values["dataset"], key: True}}
        with pytest.raises(InvalidConfig, match="regression"):
            Config.model_validate(wrong).changed()
