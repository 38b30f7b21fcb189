"""Lab-07's stored comparisons: complete, chosen on validation rows, and measured with the notebook's own code."""

import importlib.util
import json
import statistics

import pytest

from shared.paths import lab_folder

FOLDER = lab_folder("Lab-07-P_Tuning")


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("lab07_study", FOLDER / "study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored():
    return json.loads((FOLDER / "study" / "tiny.json").read_text(encoding="utf8"))


def test_every_part_is_complete_over_its_seeds(study, stored):
    for part, names in study.parts().items():
        for name in names:
            seeds = [one["seed"] for one in stored["results"] if (one["part"], one["name"]) == (part, name)]
            assert seeds == list(study.seeds_of(part)) and len(seeds) >= 3, (part, name)


def test_learning_rates_are_chosen_by_the_validation_rows_alone(study):
    low, high = ({"kind": "templated", "learning_rate": rate} for rate in (1.0, 2.0))
    runs = {study.key_of(low, seed): {"validation": 0.9, "test": 0.1} for seed in range(3)}
    assert study.chosen("length", "x", [low, high], runs) == [], "a candidate is missing"
    runs |= {study.key_of(high, seed): {"validation": 0.8, "test": 1.0} for seed in range(3)}
    assert {one["learning_rate"] for one in study.chosen("length", "x", [low, high], runs)} == {1.0}


def test_the_stored_results_are_those_of_the_stored_runs(study, stored):
    results = [one for part, names in study.parts().items() for name, settings in names.items()
               for one in study.chosen(part, name, settings, stored["runs"])]  # fmt: skip
    assert results == stored["results"]


def test_the_notebook_code_is_found_and_a_missing_name_is_an_error(study):
    code = study.notebook_code("02-Train", "PromptEncoder", "batches")
    assert code["PromptEncoder"](3, 4, 2, "lstm")().shape == (3, 4)
    with pytest.raises(KeyError):
        study.notebook_code("02-Train", "PromptEncoder", "no_such_name")


def test_each_seed_draws_its_own_few_rows(study):
    rows = list(range(1000))
    drawn = [study.drawn(rows, 32, seed) for seed in range(5)]
    assert all(len(set(one)) == 32 for one in drawn)
    assert all(len(set(a) & set(b)) < 8 for a in drawn for b in drawn if a is not b)


def test_what_the_texts_say_holds_in_the_stored_results(stored):
    def mean(part, name):
        return statistics.fmean(one["test"] for one in stored["results"] if (one["part"], one["name"]) == (part, name))

    part = "position and batches"
    for method in ("P-tuning", "prompt tuning"):
        for position in ("position 0", "[CLS]"):
            name = f"{method}, {position}"
            assert mean(part, f"{name}, random batches") > mean(part, f"{name}, group_by_length"), name
    assert mean(part, "P-tuning, position 0, random batches") > mean(part, "P-tuning, [CLS], random batches") + 0.05
