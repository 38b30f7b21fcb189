"""The checks of Lab-02's 04-Merge_and_Deploy pass on the notebook's solutions and diagnose plausible wrong answers."""

import re

import torch
from exercise_contract import ExerciseContract, named
from notebook_code import solutions

from shared.checks import lab02
from shared.checks.lab02.merge import MERGEABLE

RIGHT = {name: right for name, (right, _) in MERGEABLE.items()}
WRONG = {
    "mergeable": [
        *(({**RIGHT, name: not right}, f"^{re.escape(name)}: ") for name, right in RIGHT.items()),
        ({"LoRA": True}, "is missing in"),
        ({**RIGHT, "LoRA": "yes"}, "True or False"),
    ],
    "fold": [
        (lambda w, b, d, u: (u @ (d @ w), u @ (d @ b)), "residual is missing"),
        (lambda w, b, d, u: (w + u @ d @ w, b), "old bias"),
        (lambda w, b, d, u: (w + u @ d @ w, u @ d @ b), "residual part of the bias is missing"),
        (lambda w, b, d, u: (w + (u @ d).T @ w, b + (u @ d).T @ b), "transposition"),
        (lambda w, b, d, u: w + u @ d @ w, "two tensors"),
        (lambda w, b, d, u: (w.T + (u @ d @ w).T, b + u @ d @ b), "shape"),
        (lambda w, b, d, u: (w + 2 * u @ d @ w, b + u @ d @ b), "returns"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-02-AdapterLayers", "04-Merge_and_Deploy", lab02
    SOLVED, WRONG = named("mergeable", "fold"), WRONG
    STUBS = {"mergeable": dict.fromkeys(RIGHT, ...)}


def test_the_merged_layer_computes_what_both_computed():
    weight, bias, down, up, x = (torch.randn(*s) for s in ((4, 3), (4,), (2, 4), (4, 2), (5, 3)))
    new_weight, new_bias = solutions("Lab-02-AdapterLayers", "04-Merge_and_Deploy")["fold_solution"](
        weight, bias, down, up
    )
    f = x @ weight.T + bias
    torch.testing.assert_close(x @ new_weight.T + new_bias, f + f @ down.T @ up.T, rtol=1e-4, atol=1e-4)
