"""What Lab-06's notebooks saved, and that the command line gives the same numbers; runs after the notebooks."""

import json

import pytest
from results_contract import assert_the_yaml_twin_agrees
from safetensors import safe_open

from shared.finetune.config import load_config
from shared.paths import lab_folder

LAB = "Lab-06-BitFit"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "bitfit", "accuracy", "f1")


def test_bitfit_beats_the_trained_head_and_the_verdict_names_the_strongest_baseline(run):
    baseline = run.read("01-Setup").json("baseline.json")
    metrics = run.read("02-Train").json("metrics.json")
    verdict, bitfit = metrics["verdict"], metrics["bitfit"]["accuracy"]
    probes = {name for name in baseline["accuracy"] if name.startswith("linear probe")}
    assert len(probes) == 2 and set(baseline["answers"]) == {"bag of words", *probes}
    assert set(verdict) == {*baseline["accuracy"], "frozen base + trained head", "full fine-tuning"}
    assert bitfit > verdict["frozen base + trained head"]["accuracy"] + 0.1
    others = {name: one["accuracy"] for name, one in verdict.items() if name != "full fine-tuning"}
    assert metrics["strongest"] == max(others, key=others.get)
    for name, one in verdict.items():
        assert one["difference"] == pytest.approx(bitfit - one["accuracy"]), name
    assert bitfit < verdict["full fine-tuning"]["accuracy"] < bitfit + 0.1


def test_a_small_learning_rate_leaves_the_biases_where_they_were(run):
    short = {float(rate): one for rate, one in run.read("02-Train").json("metrics.json")["short"].items()}
    assert short[min(short)]["moved"] < 1e-3 < 0.1 * short[max(short)]["moved"]
    assert short[min(short)]["accuracy"] < short[max(short)]["accuracy"] - 0.1


def test_key_biases_have_no_effect(run):
    kinds = run.read("02-Train").json("metrics.json")["kinds"]
    key = kinds["attention.self.key"]
    assert key["largest gradient"] < 1e-6 and key["lost"] == pytest.approx(0)
    assert max(one["lost"] for one in kinds.values()) > 1


def test_the_notebooks_run_agrees_with_the_stored_study(run):
    """The study's first seed is the notebook's; another number of threads may flip single rows."""
    stored = json.loads((lab_folder(LAB) / "study" / "tiny.json").read_text(encoding="utf8"))
    config, metrics = load_config(lab_folder(LAB) / "configs" / "tiny.yaml"), run.read("02-Train").json("metrics.json")
    assert stored["chosen"]["bitfit"] == config.training.learning_rate
    assert {name: stored["chosen"][name] for name in ("head", "full")} == config.lab.learning_rates
    same = {"part": "rates", "method": "bitfit", "learning_rate": config.training.learning_rate, "seed": 0}
    one = next(one for one in stored["runs"] if all(one.get(key) == value for key, value in same.items()))
    assert metrics["bitfit"]["accuracy"] == pytest.approx(one["test"], abs=0.02)
    assert metrics["validation"] == pytest.approx(one["validation"], abs=0.02)


def test_the_delta_is_exact_and_small_and_holds_its_checksums(run):
    stage = run.read("04-Merge_and_Deploy")
    deployment, error = stage.json("deployment.json"), stage.json("merge_error.json")
    assert deployment["delta_bytes"] < 50_000
    assert error["max_logit_difference"]["float32"] < 1e-4 < error["max_logit_difference"]["NF4"]
    assert max(error["lost"]["exclusive or"].values()) == 0 < min(error["lost"]["add and subtract"].values())
    assert set(deployment["mixed"]) == {"one task", "mixed batch", "two batches"}
    assert error["survived"]["NF4"] == 1 > error["survived"]["bfloat16"]
    checksums = []
    for name in ("task1.xor.safetensors", "task2.xor.safetensors"):
        with safe_open(stage.file(name), "pt") as file:
            checksums.append(file.metadata())
    assert checksums[0]["before"] == checksums[1]["before"] and checksums[0]["after"] != checksums[1]["after"]


def test_every_form_of_deployment_is_measured_and_a_shift_of_the_answers_is_seen(run):
    deployment = run.read("04-Merge_and_Deploy").json("deployment.json")
    forms = {row["form"]: row for row in deployment["rows"]}
    timed = {"base, untuned", "base + delta", "ONNX Runtime", "bfloat16 base + delta", "NF4 base + delta"}
    assert timed | {"standalone folder"} <= set(forms)
    for name in timed | ({"compiled"} & set(forms)):
        assert 0 < forms[name]["p50 [ms]"] <= forms[name]["p95 [ms]"] and forms[name]["requests/s"] > 0, name
    assert forms["ONNX Runtime"]["process [MB]"] < forms["standalone folder"]["process [MB]"]
    usual, shifted = deployment["monitor"]
    assert usual["drift"] < 4 < shifted["drift"]
