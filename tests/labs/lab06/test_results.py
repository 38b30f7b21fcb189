"""What Lab-06's notebooks handed over, and that the command line gives the same numbers; runs after the notebooks."""

import pytest
from results_contract import assert_the_yaml_twin_agrees
from safetensors import safe_open

from shared.finetune.config import load_config
from shared.paths import lab_folder

LAB = "Lab-06-BitFit"
pytestmark = pytest.mark.labs


def test_the_yaml_twin_gives_the_notebooks_numbers(run, tmp_path):
    assert_the_yaml_twin_agrees(run, tmp_path / "checkpoints", "bitfit", "accuracy", "f1")


def test_the_biases_beat_every_baseline_and_come_near_full_fine_tuning(run):
    baseline = run.read("01-Setup").json("baseline.json")["accuracy"]
    metrics = run.read("02-Train").json("metrics.json")
    bitfit = metrics["bitfit"]["accuracy"]
    assert {"majority class", "bag of words", "frozen base + best head"} == set(baseline)
    assert bitfit > max(*baseline.values(), metrics["head"]["accuracy"]) + 0.02
    assert bitfit < metrics["full"]["accuracy"] < bitfit + 0.1


def test_the_rate_of_full_fine_tuning_teaches_the_biases_nothing(run):
    metrics = run.read("02-Train").json("metrics.json")
    rates = {float(rate): one for rate, one in metrics["rates"].items()}
    best = max(one["accuracy"] for one in rates.values())
    assert rates[min(rates)]["accuracy"] < best - 0.1
    assert rates[min(rates)]["mean change"] < 1e-3


def _sizes() -> set[int]:
    """Every size that the configuration asks for: the sweep's, the rows of a short run, and those of the training."""
    config = load_config(lab_folder(LAB) / "configs" / "tiny.yaml")
    short = config.lab.sweep_steps * config.training.per_device_train_batch_size
    return {*config.lab.sweeps["dataset.max_train_rows"], short, config.dataset.max_train_rows}


def test_key_biases_are_decoration_and_small_data_was_compared(run):
    metrics = run.read("02-Train").json("metrics.json")
    key = metrics["kinds"]["attention.self.key"]
    assert key["largest gradient"] < 1e-6 and key["put back"] == pytest.approx(100 * metrics["bitfit"]["accuracy"])
    bitfit, full = ({int(n): scores for n, scores in metrics["data"][name].items()} for name in ("BitFit", "full"))
    assert bitfit.keys() == full.keys() == _sizes() and len(bitfit[min(bitfit)]) >= 2
    ahead = {n: sum(bitfit[n]) / len(bitfit[n]) - sum(full[n]) / len(full[n]) for n in bitfit}
    assert ahead[min(ahead)] > 0 > ahead[max(ahead)], "few rows favour biases, many rows full fine-tuning"
    assert ahead[min(ahead)] > ahead[max(ahead)] + 0.03


def test_the_delta_is_exact_small_and_sealed(run):
    stage = run.read("04-Merge_and_Deploy")
    deployment, error = stage.json("deployment.json"), stage.json("merge_error.json")
    assert deployment["delta_bytes"] < 50_000
    assert error["max_logit_difference"]["float32"] < 1e-4 < error["max_logit_difference"]["NF4"]
    assert max(error["lost"]["exclusive or"].values()) == 0 < min(error["lost"]["add and subtract"].values())
    assert set(deployment["mixed"]) == {"one task", "mixed batch", "two batches"}
    assert error["survived"]["NF4"] == 1 > error["survived"]["bfloat16"]
    seals = []
    for name in ("task1.xor.safetensors", "task2.xor.safetensors"):
        with safe_open(stage.file(name), "pt") as file:
            seals.append(file.metadata())
    assert seals[0]["before"] == seals[1]["before"] and seals[0]["after"] != seals[1]["after"]
