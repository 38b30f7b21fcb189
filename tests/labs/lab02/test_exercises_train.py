"""The checks of Lab-02's 02-Train pass on the notebook's solutions and diagnose plausible wrong answers."""

from functools import partial

import torch
from exercise_contract import ExerciseContract, named

from shared.checks import lab02
from shared.checks.lab02.train import ERRORS, _broken_model


def _weights(layers, d, m, norms, per_layer=2, biases=True, vectors=2, extra=1):
    one = 2 * m * d + biases * (d + m)
    return per_layer * layers * one + (2 * layers + extra) * vectors * d * norms


def _scores(query, keys):
    return (query.unsqueeze(2) * keys).sum(-1)


def _diagnosing(base=True, head=any, adapter=all, norms_are_base=False):
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


WRONG = {
    "houlsby_weights": [
        (partial(_weights, per_layer=1), "one of them"),
        (partial(_weights, biases=False), "biases are missing"),
        (partial(_weights, extra=0), "embeddings"),
        (partial(_weights, vectors=1), "scale and shift"),
        (lambda n, d, m, norms: _weights(n, d, m, True), "although"),
        (lambda n, d, m, norms: _weights(n, d, m, False), "not counted"),
    ],
    "fusion_weights": [
        (_scores, "softmax is missing"),
        (lambda q, k: _scores(q, k).softmax(1), "over the tokens"),
        (lambda q, k: (_scores(q, k) / q.shape[-1] ** 0.5).softmax(-1), "root of d"),
        (lambda q, k: _scores(q, k).softmax(0), "rows of the batch"),
        (lambda q, k: (q.unsqueeze(2) * k).softmax(2).sum(-1), "after the sum"),
        (lambda q, k: _scores(q, k).softmax(-1).mean(1), "shape"),
        (lambda q, k: torch.full(k.shape[:3], 1 / k.shape[2]), "differs"),
    ],
    "diagnose": [
        (_diagnosing(base=False, head=all), "parameter of the base is trained"),
        (_diagnosing(head=any), "frozen part of its head"),
        (_diagnosing(head=all, adapter=any), "frozen part of its adapter"),
        (_diagnosing(head=all, norms_are_base=True), "not an error"),
        (lambda model: "fine", "parameter of the base is trained"),
        (lambda model: "broken", "none of the four"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-02-AdapterLayers", "02-Train", lab02
    SOLVED, WRONG = named("houlsby_weights", "fusion_weights", "diagnose"), WRONG


def test_each_broken_model_has_its_error():
    for error in ERRORS:
        assert _diagnosing(head=all)(_broken_model(error, norms=True, part=2)) == error
