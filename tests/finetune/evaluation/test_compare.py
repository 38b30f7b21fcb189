"""`peft-labs compare`: each method with one budget, resumable, with baselines and reasons."""

from __future__ import annotations

import json

import pytest

from shared.errors import ConfigError, ModelError
from shared.finetune import compare
from shared.finetune.config import load_config
from shared.finetune.evaluation import comparison_report
from shared.finetune.evaluation.baselines import majority
from shared.finetune.methods import METHODS
from shared.paths import repo_root
from shared.plotting.pareto import pareto_front

TWIN = repo_root() / "shared/finetune/configs/tiny/glue_mrpc.yaml"
SHORT = ["training.max_steps=4", "training.use_cpu=true", "training.eval_strategy=no", "training.save_strategy=no",
         "evaluation.rows=40", "dataset.max_train_rows=64"]  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return load_config(TWIN, SHORT)


def test_two_methods_and_two_seeds_make_a_table_a_plot_and_json(tmp_path, capsys):
    out = tmp_path / "found"
    words = ["--config", str(TWIN), "--methods", "lora", "bitfit", "--seeds", "0", "1", *SHORT, "--output", str(out)]
    assert compare.main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    report = json.loads((out / "comparison.json").read_text())
    assert [(one["method"], one["seed"]) for one in report["results"]] == [
        ("lora", 0), ("lora", 1), ("bitfit", 0), ("bitfit", 1)
    ]  # fmt: skip
    for one in report["results"]:
        assert one["steps"] == 4 and one["n"] == 40 and one["score"] == one["accuracy"]
    rates = {one["method"]: one["learning_rate"] for one in report["results"]}
    assert rates == {"lora": 4e-3, "bitfit": METHODS["bitfit"].learning_rate}, "its own, and the other's default"
    assert report["budget"]["max_steps"] == 4 and report["seeds"] == [0, 1]
    assert report["baselines"]["majority"]["accuracy"] > 0.4
    page = (out / "comparison.md").read_text()
    for text in ("| lora |", "| bitfit |", "| majority |", " ± "):
        assert text in page
    assert "majority" in said and (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "checkpoints").exists()


def test_what_is_finished_is_not_computed_again(tmp_path, config, monkeypatch):
    from shared.finetune.training import training_run

    trained, real = [], training_run.run

    def counted(config, *args, **settings):
        trained.append((config.peft.method, settings["seed"]))
        return real(config, *args, **settings)

    monkeypatch.setattr(training_run, "run", counted)
    one = compare.compare(config, [0], tmp_path, ["head"], say=lambda line: None)
    again = compare.compare(config, [0], tmp_path, ["head"], say=lambda line: None)
    assert trained == [("head", 0)] and again["results"] == one["results"]
    # a half-written file and another budget count for nothing
    (file,) = (tmp_path / "runs").iterdir()
    file.write_text(file.read_text()[:-20])
    compare.compare(config, [0], tmp_path, ["head"], say=lambda line: None)
    compare.compare(config.changed(training={"max_steps": 2}), [0], tmp_path, ["head"], say=lambda line: None)
    compare.compare(config.changed(evaluation={"rows": 20}), [0], tmp_path, ["head"], say=lambda line: None)
    assert trained == [("head", 0)] * 4


def test_every_method_is_planned_or_left_out_with_a_reason(config):
    planned = compare.plan(config)
    assert set(planned.configs) | set(planned.refused) == set(METHODS) and not planned.configs.keys() & planned.refused
    assert planned.configs["lora"] == config, "the configuration's own method keeps its settings"
    for name, one in planned.configs.items():
        assert one.dataset == config.dataset and one.training.max_steps == 4
        assert name == "lora" or one.training.learning_rate == METHODS[name].learning_rate
        assert name in ("lora", "head") or one.head.learning_rate == config.training.learning_rate


def test_what_the_model_cannot_take_is_left_out(tmp_path):
    causal = load_config(TWIN.with_name("gsm8k.yaml"), ["training.use_cpu=true"])
    planned = compare.plan(causal)
    assert planned.refused["head"], "a language model has no new head"
    assert "packing" in planned.refused["prompt-tuning"], "configurations that contradict themselves are left out too"
    assert {"lora", "full", "ia3"} <= set(planned.configs)
    report = {"task": "t", "model": "m", "dataset": "d", "metric": "final_number", "seeds": [0], "budget": {},
              "results": [], "baselines": {}, "refused": planned.refused}  # fmt: skip
    page = comparison_report.markdown(report)
    assert f"- head was left out: {planned.refused['head']}" in page


def test_rates_come_from_the_command_line_before_the_methods_own(config):
    planned = compare.plan(config, ["lora", "bitfit"], {"lora": 1e-4, "bitfit": 0.5})
    assert {name: one.training.learning_rate for name, one in planned.configs.items()} == {"lora": 1e-4, "bitfit": 0.5}
    assert planned.configs["lora"].peft == config.peft


def test_wrong_calls_are_told(config, capsys):
    with pytest.raises(ConfigError, match="no method 'lorra'"):
        compare.plan(config, ["lorra"])
    wrong = {
        "is not a seed": ["--seeds", "one"],
        "not a method with a learning rate": ["--learning_rates", "lora=fast"],
    }
    for text, words in wrong.items():
        assert compare.main(["--config", str(TWIN), *words]) == 1
        assert text in capsys.readouterr().err
    with pytest.raises(ModelError):
        compare.plan(config.changed(model={"name_or_path": "/nowhere/model"}))


def test_the_front_holds_what_nothing_beats():
    points = {"a": (10, 0.5), "b": (100, 0.9), "c": (100, 0.7), "d": (1000, 0.9), "e": (5000, 0.95), "f": (10, 0.5)}
    assert pareto_front(points) == ["a", "b", "e"]


def test_the_majority_answers_each_kind_of_task(config):
    found = majority(config)
    rows = config.evaluation.rows
    from shared.finetune.data import load_rows

    labels = load_rows(config.dataset, "test")["label"][:rows]
    names = ["not_equivalent", "equivalent"]
    assert found["accuracy"] == pytest.approx(labels.count(names.index(found["answer"])) / rows)
    sums = load_config(TWIN.with_name("gsm8k.yaml"), ["evaluation.rows=20"])
    assert 0 <= majority(sums)["final_number"] <= 0.5 and majority(sums)["answer"].isdecimal()
