"""Lab-02's comparisons over several seeds: how a learning rate is chosen, and what the stored results must hold."""

import importlib.util
import json

import pytest
import yaml

from shared.paths import lab_folder

FOLDER = lab_folder("Lab-02-AdapterLayers")
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("lab02_study", FOLDER / "study.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def stored():
    return json.loads((FOLDER / "study" / "tiny.json").read_text(encoding="utf8"))


def chosen_runs(stored, method):
    rate = stored["chosen"][method]
    return [one for one in stored["runs"] if (one["method"], one["learning_rate"]) == (method, rate)]


def test_the_learning_rate_is_chosen_on_validation_rows_by_the_mean_over_seeds(module, tmp_path):
    study = module.Study("tiny", tmp_path)
    study.runs = [
        {"method": "LoRA", "learning_rate": rate, "seed": seed, "validation": validation, "test": test}
        for rate, seed, validation, test in (
            (1e-3, 0, 0.80, 0.99), (1e-3, 1, 0.82, 0.99), (2e-3, 0, 0.95, 0.50), (2e-3, 1, 0.70, 0.50),
            (3e-3, 0, 0.85, 0.40), (3e-3, 1, 0.84, 0.40),
        )
    ]  # fmt: skip
    assert study.chosen() == {"LoRA": 3e-3}


def test_a_run_is_stored_with_both_scores_and_not_repeated(module, tmp_path, monkeypatch):
    changes = {"training": {"max_steps": 2}, "evaluation": {"rows": 40}, "dataset": {"max_train_rows": 64}}
    study = module.Study("tiny", tmp_path)
    study.config = study.config.changed(**changes)
    study.run("head", {"method": "head"}, 5e-3, 0)
    again = module.Study("tiny", tmp_path)
    (one,) = again.runs
    assert one["trainable"] == 258 and 0 < one["validation"] < 1 and 0 < one["test"] < 1
    monkeypatch.setattr(module.train, "run", lambda *arguments, **named: pytest.fail("the run was repeated"))
    again.run("head", {"method": "head"}, 5e-3, 0)


def test_each_step_of_the_chain_changes_one_setting(module):
    names = ["Houlsby", "Houlsby, LayerNorms frozen", "Pfeiffer, GELU", "Pfeiffer, ReLU"]
    peft = yaml.safe_load((FOLDER / "configs" / "tiny.yaml").read_text(encoding="utf8"))["peft"]
    settings = [peft | module.METHODS[name] for name in names]
    for before, after in zip(settings, settings[1:], strict=False):
        assert sum(before[key] != after[key] for key in peft) == 1


def test_every_stored_comparison_has_three_seeds_for_each_learning_rate(stored, module):
    found = {}
    for one in stored["runs"]:
        found.setdefault((one["method"], one["learning_rate"]), []).append(one["seed"])
    assert all(sorted(seeds) == SEEDS for seeds in found.values())
    assert {method for method, _ in found} >= {*module.METHODS, *(f"Houlsby, m = {m}" for m in module.SIZES["tiny"])}
    assert [one["seed"] for one in stored["notebooks"]] == SEEDS
    assert stored["steps"] == yaml.safe_load((FOLDER / "configs" / "tiny.yaml").read_text())["training"]["max_steps"]


def test_the_notebooks_use_the_learning_rates_that_the_study_chose(stored):
    config = yaml.safe_load((FOLDER / "configs" / "tiny.yaml").read_text(encoding="utf8"))
    rates, chosen = config["lab"]["learning_rates"], stored["chosen"]
    assert config["training"]["learning_rate"] == chosen["Houlsby"] == chosen["Pfeiffer, ReLU"]
    assert rates == {"head": chosen["head"], "lora": chosen["LoRA"], "full": chosen["full fine-tuning"]}
