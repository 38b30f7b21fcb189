"""What Lab-02's notebooks stored, and that the command line gives the same numbers; runs after the notebooks."""

import pytest
from results_contract import assert_the_yaml_twin_agrees

LAB = "Lab-02-AdapterLayers"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "adapter", "accuracy", "f1")


def test_every_method_is_better_than_the_trained_head_on_the_frozen_base(run):
    metrics = run.read("02-Train").json("metrics.json")
    bound = max(metrics["majority"], metrics["baseline"]["head"]["accuracy"])
    assert all(metrics[name]["accuracy"] > bound + 0.05 for name in ("adapter", "pfeiffer", "lora", "full"))
    assert metrics["second task"]["accuracy"] > 0.7


def test_the_verdict_is_about_the_strongest_baseline_and_about_every_other_one(run):
    setup, metrics = run.read("01-Setup").json("baseline.json"), run.read("02-Train").json("metrics.json")
    shares = {name: sum(right) / len(right) for name, right in setup["right"].items()}
    assert metrics["strongest"] == max(shares, key=shares.get) == "linear probe"
    assert shares["linear probe"] == pytest.approx(setup["probe"]["accuracy"])
    assert set(metrics["against"]) == {*shares, "Pfeiffer", "LoRA", "full fine-tuning"}
    difference, margin = metrics["against"]["linear probe"]
    assert difference == pytest.approx(100 * (metrics["adapter"]["accuracy"] - shares["linear probe"]))
    assert 0 < margin < 5


def test_fusion_is_compared_with_as_much_training_without_it(run):
    fused = run.read("02-Train").json("metrics.json")["fused"]
    assert min(fused["accuracy"], fused["alone"], fused["control"]) > 0.8


def test_a_start_far_from_the_identity_does_not_learn(run):
    starts = run.read("02-Train").json("metrics.json")["starts"]
    ends = {float(std): sum(losses[-20:]) / 20 for std, (_, losses) in starts.items()}
    assert ends[0.001] < ends[1.0] - 0.05


def test_random_dropping_keeps_more_without_the_lower_adapters(run):
    plain, robust = run.read("02-Train").json("metrics.json")["adapter_drop"].values()
    lower = [key for key in plain if key not in ("0", max(plain))]
    assert sum(robust[key] for key in lower) > sum(plain[key] for key in lower)


def test_the_reload_is_exact_and_each_missing_part_shows(run):
    reload = run.read("03-Inference").json("quality.json")["reload"]
    whole = reload.pop("complete")
    assert whole < 1e-4 < min(reload.values()) and len(reload) == 3


def test_there_is_no_merge_and_the_bundles_are_complete(run):
    found = run.read("04-Merge_and_Deploy").json("merge_error.json")
    differences = found["max_logit_difference"]
    assert "non-linearity" in found["refusal"]
    assert found["additivity"]["lora"] < 1e-3 < max(found["additivity"]["bottlenecks"].values())
    for task in ("first", "first-pfeiffer", "second"):
        assert differences[f"bundle {task}"] < 1e-3 < differences["best affine approximation"]
    assert differences["reloaded by the library"] > 1e-3  # it does not save the LayerNorms


def test_every_form_of_deployment_was_measured(run):
    deployed = run.read("04-Merge_and_Deploy").json("deployment.json")
    rows = {row["form"]: row for row in deployed["rows"]}
    assert len(rows) >= 6 and all(row["disk [MB]"] > 0 and row["p50 [ms]"] > 0 for row in rows.values())
    assert rows["ONNX Runtime"]["difference of a logit"] < 1e-3 < rows["ONNX Runtime, 8 bits"]["difference of a logit"]
    assert rows["ONNX Runtime, 8 bits"]["disk [MB]"] < rows["ONNX Runtime"]["disk [MB]"]
    assert rows.get("torch.compile", rows["ONNX Runtime"])["difference of a logit"] < 1e-3
    assert 0 < deployed["http"]["p50 [ms]"] <= deployed["http"]["p95 [ms]"] and deployed["http"]["RAM [MiB]"] > 100
    assert deployed["disk"]["bundle first"] < 0.1 * deployed["disk"]["base, once"]
