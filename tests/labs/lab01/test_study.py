"""The stored study of Lab 01: complete, over three seeds, and the configuration uses what it chose."""

import json
import statistics
from collections import defaultdict

import pytest

from shared.finetune.config import load_config
from shared.paths import lab_folder

FOLDER = lab_folder("Lab-01-LoRA")
SEEDS = {0, 1, 2}


@pytest.fixture(scope="module")
def study():
    return json.loads((FOLDER / "study" / "tiny.json").read_text(encoding="utf8"))


def by_setting(runs):
    """(method, rank, α, learning rate) -> the runs of its seeds."""
    found = defaultdict(list)
    for one in runs:
        found[one["method"], one["r"], one["alpha"], one["learning rate"]].append(one)
    return found


def test_every_setting_was_tried_with_every_seed(study):
    settings = by_setting(study["runs"])
    assert settings and all({one["seed"] for one in runs} == SEEDS for runs in settings.values())
    assert all(len(runs) == len(SEEDS) for runs in settings.values()), "a run is stored twice"


def test_choosing_and_reporting_use_different_validation_rows(study):
    assert study["rows chosen on"] >= 300 and study["rows reported"] >= 300
    for one in study["runs"]:
        assert one["chosen on"]["n"] == study["rows chosen on"] and one["reported"]["n"] == study["rows reported"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_configuration_uses_the_chosen_learning_rate(study, method):
    config = load_config(FOLDER / "configs" / "tiny.yaml")
    r, alpha = (None, None) if method == "full" else (config.peft.lora_r, config.peft.lora_alpha)
    settings = {key[3]: runs for key, runs in by_setting(study["runs"]).items() if key[:3] == (method, r, alpha)}
    assert len(settings) >= 3
    means = {rate: statistics.fmean(one["chosen on"]["exact_match"] for one in runs) for rate, runs in settings.items()}
    used = config.lab.learning_rates.get(method, config.training.learning_rate)
    assert max(means, key=means.get) == pytest.approx(used)


def test_the_ranks_share_one_grid(study):
    grids = defaultdict(set)
    for method, r, alpha, rate in by_setting(study["runs"]):
        if method == "lora":
            grids[r].add((alpha, rate))
    assert set(grids) == {1, 4, 16} and len(set.intersection(*grids.values())) >= 3


def test_the_five_ways_were_measured_for_lora_and_qlora(study):
    found = {(one["method"], one["seed"]) for one in study["merges"]}
    assert found == {(method, seed) for method in ("lora", "qlora") for seed in SEEDS}
    for one in study["merges"]:
        ways = one["ways"]
        assert ways["c"]["rms to (c)"] == 0 and ways["a"]["rms to (a)"] == 0
        assert ways["c"]["rms to (c)"] < ways["d"]["rms to (c)"] < ways["b"]["rms to (c)"]
        assert ways["e"]["rms to (a)"] < min(ways["b"]["rms to (a)"], ways["c"]["rms to (a)"])
