"""What Lab-07's notebooks handed over, and that the command line gives the same numbers; runs after the notebooks."""

import pytest
from results_contract import assert_the_yaml_twin_agrees

LAB = "Lab-07-P_Tuning"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "p-tuning", "accuracy", "f1")


def test_both_set_ups_beat_the_majority_and_the_frozen_base(run):
    metrics = run.read("02-Train").json("metrics.json")
    bar = max(metrics["majority"], metrics["base"]["accuracy"])
    assert metrics["p-tuning"]["accuracy"] > bar + 0.05
    assert metrics["paper, LM frozen"]["accuracy"] > bar + 0.1
    assert (
        max(found["accuracy"] for name, found in metrics.items() if name.startswith("p-tuning, pool: first"))
        > bar + 0.1
    )
    assert metrics["full"]["accuracy"] > bar + 0.2


def test_the_prompt_by_hand_depends_on_its_words(run):
    shares = run.read("01-Setup").json("baseline.json")["hand_written"].values()
    assert max(shares) - min(shares) > 0.3


def test_lengths_starts_and_encoders_were_tried_over_seeds(run):
    sweep = run.read("02-Train").json("metrics.json")["sweep"]
    by = {}
    for one in sweep:
        by.setdefault((one["kind"], one["p"]), set()).add(one["seed"])
    assert all(len(seeds) >= 3 for seeds in by.values())
    assert len({p for kind, p in by if kind == "mlp"}) >= 4
    assert {kind for kind, _ in by} == {"mlp", "lstm", "plain from words", "plain from N(0, 1)"}


def test_the_encoder_was_dropped_without_a_change_and_the_checkpoint_is_equal(run):
    stage = run.read("04-Merge_and_Deploy")
    found = stage.json("merge_error.json")
    differences = found["max_logit_difference"]
    for name in ("encoder dropped, float32", "standard checkpoint", "standalone process, probabilities"):
        assert differences[name] < 1e-4, name
    assert found["positions_not_moved"] > 0.01
    forms = {row["form"]: row for row in stage.json("deployment.json")["rows"]}
    assert {"attached (peft)", "standard checkpoint", "ONNX Runtime, float32", "ONNX Runtime, int8"} <= set(forms)
    assert all(row["disk [MB]"] > 0 for row in forms.values())


def test_the_adapter_file_holds_p_times_d_numbers_and_the_head(run):
    from safetensors.torch import load_file

    stage = run.read("02-Train")
    tensors = load_file(stage.file("adapter/adapter_model.safetensors"))
    assert tuple(tensors["prompt_embeddings"].shape) == (10, 128)
    assert sum(one.numel() for one in tensors.values()) == 10 * 128 + 2 * 128 + 2
