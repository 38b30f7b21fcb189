"""The checks of Lab-02's 02-Train pass on the notebook's solutions and diagnose plausible wrong answers."""

import pytest
import torch
from notebook_code import solutions

from shared.checks import lab02
from shared.checks.lab02_train import FAULTS, _patient

EXERCISES = ("houlsby_weights", "fusion_weights", "diagnose")


@pytest.fixture(scope="module")
def solved():
    return solutions("Lab-02-AdapterLayers", "02-Train")


def refuses(check, answer, word):
    """Assert that a check finds the answer wrong and that its diagnosis holds the word."""
    result = check(answer)
    assert not result.passed and result.answered, f"accepted: {result!r}"
    assert word in result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_passes(solved, name):
    result = getattr(lab02, name)(solved[f"{name}_solution"])
    assert result.passed, result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_stub_is_not_answered_yet(name):
    def stub(*arguments): ...

    result = getattr(lab02, name)(stub)
    assert not result.passed and not result.answered


def _weights(layers, d, m, norms, per_layer=2, biases=True, vectors=2, extra=1):
    one = 2 * m * d + biases * (d + m)
    return per_layer * layers * one + (2 * layers + extra) * vectors * d * norms


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"per_layer": 1}, "one of them"),
        ({"biases": False}, "biases are missing"),
        ({"extra": 0}, "embeddings"),
        ({"vectors": 1}, "scale and shift"),
    ],
)
def test_houlsby_weights_diagnoses(options, word):
    refuses(lab02.houlsby_weights, lambda *arguments: _weights(*arguments, **options), word)


def test_houlsby_weights_notices_ignored_norms():
    refuses(lab02.houlsby_weights, lambda n, d, m, norms: _weights(n, d, m, True), "although")
    refuses(lab02.houlsby_weights, lambda n, d, m, norms: _weights(n, d, m, False), "not counted")


def _scores(query, keys):
    return (query.unsqueeze(2) * keys).sum(-1)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (_scores, "softmax is missing"),
        (lambda q, k: _scores(q, k).softmax(1), "over the tokens"),
        (lambda q, k: (_scores(q, k) / q.shape[-1] ** 0.5).softmax(-1), "root of d"),
        (lambda q, k: _scores(q, k).softmax(0), "rows of the batch"),
        (lambda q, k: (q.unsqueeze(2) * k).softmax(2).sum(-1), "after the sum"),
        (lambda q, k: _scores(q, k).softmax(-1).mean(1), "shape"),
        (lambda q, k: torch.full(k.shape[:3], 1 / k.shape[2]), "differs"),
    ],
)
def test_fusion_weights_diagnoses(answer, word):
    refuses(lab02.fusion_weights, answer, word)


def _judge(base=True, head=any, adapter=all, norms_are_base=False):
    def diagnose(model):
        named = list(model.named_parameters())
        adapters = [p.requires_grad for n, p in named if ".adapters." in n]
        heads = [p.requires_grad for n, p in named if n.startswith("classifier")]
        rest = [
            p.requires_grad
            for n, p in named
            if ".adapters." not in n and not n.startswith("classifier") and (norms_are_base or "LayerNorm" not in n)
        ]
        if base and any(rest):
            return "base trains"
        if not head(heads):
            return "head frozen"
        return "fine" if adapter(adapters) else "adapter frozen"

    return diagnose


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (_judge(base=False, head=all), "weight of the base trains"),
        (_judge(head=any), "frozen part of its head"),
        (_judge(head=all, adapter=any), "frozen part of its adapter"),
        (_judge(head=all, norms_are_base=True), "no fault"),
        (lambda model: "fine", "weight of the base trains"),
        (lambda model: "broken", "none of the four"),
    ],
)
def test_diagnose_diagnoses(answer, word):
    refuses(lab02.diagnose, answer, word)


def test_each_patient_has_its_fault():
    for fault in FAULTS:
        assert _judge(head=all)(_patient(fault, norms=True, part=2)) == fault
