"""What Lab-01's notebooks saved, and that the command line gives the same numbers; runs after the notebooks."""

import statistics

import pytest
from results_contract import assert_the_yaml_twin_agrees

LAB = "Lab-01-LoRA"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "lora", "exact_match", "format")


def test_lora_exceeds_every_baseline_without_fine_tuning(run):
    metrics = run.read("02-Train").json("metrics.json")
    baselines = run.read("01-Setup").json("baseline.json")["baselines"]
    assert {"majority", "zero-shot", "few-shot", "bag of words", "linear probe"} == set(baselines)
    strongest = max(baselines, key=lambda name: baselines[name]["exact_match"])
    assert metrics["strongest"] == strongest and metrics["verdict"] == "LEARNED"
    assert statistics.fmean(metrics["seeds"]["lora"]) > 100 * baselines[strongest]["exact_match"] + 10


def test_every_method_is_compared_over_three_seeds(run):
    metrics = run.read("02-Train").json("metrics.json")
    assert {method: len(scores) for method, scores in metrics["seeds"].items()} == {"lora": 3, "qlora": 3, "full": 3}
    costs = metrics["costs"]
    assert costs["qlora"]["weights [MiB]"] < costs["full"]["weights [MiB]"] < costs["lora"]["weights [MiB]"]
    assert costs["lora"]["Adam [MiB]"] < costs["full"]["Adam [MiB]"] / 5, "optimizer states of the adapter only"


def test_the_served_model_and_the_forms_answer_the_same_rows(run):
    rows = {row["form"]: row for row in run.read("04-Merge_and_Deploy").json("deployment.json")["rows"]}
    assert rows["served"]["exact match"] == pytest.approx(rows["merged"]["exact match"], abs=0.051)


def test_the_merge_is_exact_and_every_way_to_deploy_was_measured(run):
    stage = run.read("04-Merge_and_Deploy")
    differences = stage.json("merge_error.json")["max_logit_difference"]
    assert differences["merged, float32"] < 1e-3 < min(v for name, v in differences.items() if name.endswith("bf16"))
    forms = {row["form"]: row for row in stage.json("deployment.json")["rows"]}
    assert {"attached", "merged", "int8", "NF4", "served"} <= set(forms)
    assert all(row["disk [MB]"] > 0 for row in forms.values())
