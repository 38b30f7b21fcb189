"""Lab-06's study: what its controls train, that its choices follow from its runs, and that it can be continued."""

import json
import sys

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from shared.finetune.config import load_config
from shared.paths import lab_folder

LAB = lab_folder("Lab-06-BitFit")
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 40}
BIASES = 2 * (7 * 16 + 64) + 2 * 16


@pytest.fixture
def subsets(monkeypatch):
    monkeypatch.syspath_prepend(str(LAB))
    import bitfit_subsets

    return bitfit_subsets


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(LAB))
    import study

    yield study
    for name in ("study", "bitfit_subsets"):
        sys.modules.pop(name, None)


def model_and_batch():
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES, hidden_dropout_prob=0, attention_probs_dropout_prob=0))
    return model, {"input_ids": torch.randint(1, 40, (4, 9)), "labels": torch.tensor([0, 1, 0, 1])}


@pytest.mark.parametrize(
    ("method", "want"),
    [
        ("bitfit", BIASES),
        ("half", 2 * (16 + 64)),
        ("random half", 2 * (16 + 64)),
        ("without key and value", BIASES - 2 * 2 * 16),
        ("with LayerNorm weights", BIASES + 5 * 16),
        ("random entries", BIASES),
        ("random rows and columns", BIASES),
        ("head", 0),
    ],
)
def test_a_subset_has_its_size_and_nothing_else_changes(subsets, method, want):
    model, batch = model_and_batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert subsets.mark(model, method, seed=0) == want
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    moved = {name: int((tensor != before[name]).sum()) for name, tensor in model.state_dict().items()}
    outside = sum(number for name, number in moved.items() if not name.startswith("classifier"))
    assert moved["classifier.weight"] > 0 and outside <= want
    assert outside >= 0.4 * want  # embeddings of absent words and key biases have no gradient


def test_another_seed_draws_another_subset(subsets):
    drawn = []
    for seed in (0, 1, 1):
        model, batch = model_and_batch()
        subsets.mark(model, "random half", seed)
        model(**batch).loss.backward()
        biases = subsets.split_names(model)[0]
        drawn.append(torch.cat([model.get_parameter(name).grad.flatten() != 0 for name in biases]))
    assert not torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[1], drawn[2])


def test_a_run_is_stored_once_and_the_study_continues(study, tmp_path, monkeypatch):
    monkeypatch.setitem(study.GRIDS, "tiny", {"random half": (1e-2,)})
    one = study.Study("tiny", tmp_path)
    one.config = one.config.changed(training={"max_steps": 2}, evaluation={"rows": 16})
    for step in study.steps(one, ["rates"]):
        step()
    stored = json.loads((tmp_path / "tiny.json").read_text(encoding="utf8"))
    assert [run["seed"] for run in stored["runs"]] == [0, 1, 2] and stored["chosen"] == {"random half": 1e-2}
    assert all(0 <= run["changed"] <= run["trained"] == 2560 for run in stored["runs"])
    again = study.Study("tiny", tmp_path)
    monkeypatch.setattr(again, "train", lambda *args: pytest.fail("a stored run is trained again"))
    for step in study.steps(again, ["rates"]):
        step()
    assert not set(again.subset(8, 0)) == set(again.subset(8, 1)), "each seed draws its own rows"


def test_the_stored_choices_follow_from_the_stored_validation_scores():
    stored = json.loads((LAB / "study" / "tiny.json").read_text(encoding="utf8"))
    seeds = set(load_config(LAB / "configs" / "tiny.yaml").lab.seeds)
    for method, chosen in stored["chosen"].items():
        scores = {}
        for run in stored["runs"]:
            if (run["part"], run["method"]) == ("rates", method):
                scores.setdefault(run["learning_rate"], {})[run["seed"]] = run["validation"]
        means = {rate: np.mean(list(found.values())) for rate, found in scores.items() if set(found) == seeds}
        assert means[chosen] == max(means.values()), method
    assert {one["seed"] for one in stored["kinds"]} == seeds
