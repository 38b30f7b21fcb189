"""The stored study of Lab 01: complete, over three seeds; the configuration uses what it chose."""

import json
from collections import defaultdict

import pytest

from shared.finetune.config import load_config
from shared.paths import lab_folder

FOLDER = lab_folder("Lab-01-LoRA")
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def study():
    return json.loads((FOLDER / "study" / "tiny.json").read_text(encoding="utf8"))


def by_size(study):
    """(method, rank) -> the runs."""
    found = defaultdict(list)
    for one in study["runs"]:
        found[one["method"], one["r"]].append(one)
    return found


def chosen(runs):
    """The learning rate that is best for the first seed, on the rows to choose on."""
    return max((one for one in runs if one["seed"] == 0), key=lambda one: one["chosen on"]["exact_match"])[
        "learning rate"
    ]


def test_each_method_and_rank_tries_the_same_number_of_learning_rates_and_repeats_the_best(study):
    sizes = by_size(study)
    assert set(sizes) == {("lora", 1), ("lora", 4), ("lora", 16), ("full", None)}
    for runs in sizes.values():
        assert len({one["learning rate"] for one in runs if one["seed"] == 0}) == 3
        assert sorted(one["seed"] for one in runs if one["learning rate"] == chosen(runs)) == SEEDS


def test_choosing_and_reporting_use_different_validation_rows(study):
    assert study["rows chosen on"] >= 300 and study["rows reported"] >= 300
    for one in study["runs"]:
        assert one["chosen on"]["n"] == study["rows chosen on"] and one["reported"]["n"] == study["rows reported"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_configuration_uses_the_chosen_learning_rate(study, method):
    config = load_config(FOLDER / "configs" / "tiny.yaml")
    used = config.lab.learning_rates.get(method, config.training.learning_rate)
    assert chosen(by_size(study)[method, None if method == "full" else config.peft.lora_r]) == pytest.approx(used)


def test_the_five_ways_were_measured_for_lora_and_qlora(study):
    found = {(one["method"], one["seed"]) for one in study["merges"]}
    assert found == {(method, seed) for method in ("lora", "qlora") for seed in SEEDS}
    for one in study["merges"]:
        ways = one["ways"]
        assert ways["c"]["rms to (c)"] == 0 and ways["a"]["rms to (a)"] == 0
        assert ways["c"]["rms to (c)"] < ways["d"]["rms to (c)"] < ways["b"]["rms to (c)"]
        assert ways["e"]["rms to (a)"] < min(ways["b"]["rms to (a)"], ways["c"]["rms to (a)"])
