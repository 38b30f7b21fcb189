"""The results of Lab-07's notebooks, and that the command line gives the same numbers; runs after the notebooks."""

import pytest
from results_contract import assert_the_yaml_twin_agrees

LAB = "Lab-07-P_Tuning"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "p-tuning", "accuracy", "f1")


def test_both_set_ups_learn_and_the_verdict_names_the_strongest_baseline(run):
    baselines = run.read("01-Setup").json("baseline.json")["baselines"]
    metrics = run.read("02-Train").json("metrics.json")
    strongest = max(baselines, key=baselines.get)
    assert metrics["strongest_baseline"] == {"name": strongest, "accuracy": baselines[strongest]}
    assert {"majority class", "best hand-written prompt", "linear probe, mean of all tokens"} <= set(baselines)
    assert metrics["verdict"] == "ABOVE THE STRONGEST BASELINE"
    assert metrics["p-tuning"]["accuracy"] > baselines[strongest] + 0.02
    assert metrics["paper, LM frozen"]["accuracy"] > baselines["frozen base, trained head"] + 0.1
    assert metrics["full"]["accuracy"] > baselines[strongest]
    assert len(metrics["over_seeds"]) >= 3


def test_the_label_words_decide_and_the_best_prompt_was_chosen_on_training_rows(run):
    baseline = run.read("01-Setup").json("baseline.json")
    shares, best = baseline["hand_written"], baseline["best_prompt"]
    assert max(shares.values()) - min(shares.values()) > 0.3
    assert all(share < 0.6 for name, share in shares.items() if "no/fine" in name)
    assert all(share > 0.7 for name, share in shares.items() if "no/fine" not in name)
    assert (
        best["train"] == max(shares.values()) and baseline["baselines"]["best hand-written prompt"] == best["accuracy"]
    )


def test_a_longer_prompt_saves_more_for_the_backward_pass(run):
    kept = run.read("01-Setup").json("baseline.json")["saved_for_backward_mib"]
    assert kept["head only"] < 0.1 * kept["P-tuning, p = 10"] < 0.1 * kept["P-tuning, p = 30"]
    assert kept["P-tuning, p = 10"] < kept["full fine-tuning"] < kept["P-tuning, p = 30"]


def test_the_encoder_was_dropped_without_a_change_and_the_checkpoint_is_equal(run):
    stage = run.read("04-Merge_and_Deploy")
    found = stage.json("merge_error.json")
    differences = found["max_logit_difference"]
    for name in ("encoder dropped, float32", "standard checkpoint", "standalone process, probabilities"):
        assert differences[name] < 1e-4, name
    assert found["positions_not_moved"] > 0.01
    deployment = stage.json("deployment.json")
    forms = {row["form"]: row for row in deployment["rows"]}
    quantised = {"ONNX, int8, linear layers", "ONNX, int8, all weights"}
    assert {"attached (peft)", "standard checkpoint", "ONNX, float32", *quantised} <= set(forms)
    assert all(row["disk [MB]"] > 0 and row["p50 [ms]"] <= row["p95 [ms]"] for row in forms.values())
    assert forms["ONNX, float32"]["RSS [MiB]"] < forms["attached (peft)"]["RSS [MiB]"]
    assert [row["clients"] for row in deployment["monitoring"]] == [1, 2, 4]


def test_the_adapter_file_has_p_times_d_parameters_and_the_head(run):
    from safetensors.torch import load_file

    stage = run.read("02-Train")
    tensors = load_file(stage.file("adapter/adapter_model.safetensors"))
    assert tuple(tensors["prompt_embeddings"].shape) == (10, 128)
    assert sum(one.numel() for one in tensors.values()) == 10 * 128 + 2 * 128 + 2
