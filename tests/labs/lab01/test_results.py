"""What Lab-01's notebooks handed over, and that the command line gives the same numbers; runs after the notebooks."""

import pytest
from results_contract import assert_the_yaml_twin_agrees

LAB = "Lab-01-LoRA"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "lora", "exact_match", "format")


def test_the_adapter_beats_its_baselines_and_the_rank_matters(run):
    metrics = run.read("02-Train").json("metrics.json")
    bar = max(metrics["majority"], metrics["base"]["exact_match"])
    assert all(metrics[name]["exact_match"] > bar + 0.3 for name in ("lora", "qlora", "full"))
    by_rank = {}
    for one in metrics["sweep"]:
        by_rank.setdefault(one["r"], []).append(one["exact_match"])
    assert len(by_rank) >= 3 and all(len(scores) >= 3 for scores in by_rank.values())
    means = {r: sum(scores) / len(scores) for r, scores in by_rank.items()}
    assert means[max(means)] > means[min(means)], means


def test_the_merge_is_exact_and_every_way_to_deploy_was_measured(run):
    stage = run.read("04-Merge_and_Deploy")
    differences = stage.json("merge_error.json")["max_logit_difference"]
    assert differences["merged, float32"] < 1e-3 < min(v for name, v in differences.items() if name.endswith("bf16"))
    forms = {row["form"]: row for row in stage.json("deployment.json")["rows"]}
    assert {"attached", "merged", "int8", "NF4", "served"} <= set(forms)
    assert all(row["disk [MB]"] > 0 for row in forms.values())
