"""The checks of Lab-02's 04-Merge_and_Deploy pass on the notebook's solutions and diagnose plausible wrong answers."""

import pytest
import torch
from notebook_code import solutions

from shared.checks import lab02
from shared.checks.lab02_merge import MERGEABLE

RIGHT = {name: right for name, (right, _) in MERGEABLE.items()}


def test_solutions_pass():
    solved = solutions("Lab-02-AdapterLayers", "04-Merge_and_Deploy")
    assert lab02.fold(solved["fold_solution"]).passed
    assert lab02.mergeable(solved["mergeable_solution"]).passed and solved["mergeable_solution"] == RIGHT


def test_stubs_are_not_answered_yet():
    def stub(*arguments): ...

    for result in (lab02.fold(stub), lab02.mergeable(dict.fromkeys(RIGHT, ...))):
        assert not result.passed and not result.answered


@pytest.mark.parametrize("name", list(RIGHT))
def test_each_wrong_verdict_has_its_reason(name):
    result = lab02.mergeable({**RIGHT, name: not RIGHT[name]})
    assert not result.passed and result.answered and result.diagnosis.startswith(f"{name}: ")


def test_mergeable_wants_all_and_truth_values():
    assert "lacks" in lab02.mergeable({"LoRA": True}).diagnosis
    assert "True or False" in lab02.mergeable({**RIGHT, "LoRA": "yes"}).diagnosis


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda w, b, d, u: (u @ (d @ w), u @ (d @ b)), "residual is missing"),
        (lambda w, b, d, u: (w + u @ d @ w, b), "old bias"),
        (lambda w, b, d, u: (w + u @ d @ w, u @ d @ b), "residual part is lost"),
        (lambda w, b, d, u: (w + (u @ d).T @ w, b + (u @ d).T @ b), "transposition"),
        (lambda w, b, d, u: w + u @ d @ w, "two tensors"),
        (lambda w, b, d, u: (w.T + (u @ d @ w).T, b + u @ d @ b), "shape"),
        (lambda w, b, d, u: (w + 2 * u @ d @ w, b + u @ d @ b), "returns"),
    ],
)
def test_fold_diagnoses(answer, word):
    result = lab02.fold(answer)
    assert not result.passed and result.answered, f"accepted: {result!r}"
    assert word in result.diagnosis


def test_the_folded_layer_does_what_both_did():
    weight, bias, down, up, x = (torch.randn(*s) for s in ((4, 3), (4,), (2, 4), (4, 2), (5, 3)))
    new_weight, new_bias = solutions("Lab-02-AdapterLayers", "04-Merge_and_Deploy")["fold_solution"](
        weight, bias, down, up
    )
    f = x @ weight.T + bias
    torch.testing.assert_close(x @ new_weight.T + new_bias, f + f @ down.T @ up.T, rtol=1e-4, atol=1e-4)
