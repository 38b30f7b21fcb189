"""The checks of 02-Train pass on the notebook's own solutions and diagnose plausible wrong answers."""

import math

from exercise_contract import ExerciseContract
from notebook_code import solutions

from shared.checks.lab01 import train as checks

SOLVED = {
    "lora_weights": "lora_weights_solution",
    "same_scale": "alpha_solution",
    "bits_per_weight": "bits_per_weight_solution",
    "update_growth": "growth_solution",
    "leaks": "leaks_solution",
}


def trainable(model):
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


WRONG = {
    "lora_weights": [
        (lambda h, k, f, n, r: n * r * (8 * h + 3 * (h + f)), "not square"),
        (lambda h, k, f, n, r: r * (4 * h + 2 * (h + k) + 3 * (h + f)), "layers"),
        (lambda h, k, f, n, r: n * r * (4 * h + 2 * (h + k)), "attention only"),
        (lambda h, k, f, n, r: n * r * (4 * h + 2 * (h + k) + 2 * (h + f)), "three matrices"),
        (lambda h, k, f, n, r: n * r * h, "too small|should return"),
    ],
    "same_scale": [(16, "16/64"), (2, "scale"), (1024, "√64"), (0.25, "plain LoRA"), ("128", "text")],
    "bits_per_weight": [
        (lambda b, o: 4 + 32 / b, "without double"),
        (lambda b, o: 4 + 8 / b, "second-level"),
        (lambda b, o: 4 + 8 / b + 32 / o, "outer"),
        (lambda b, o: 4.127, "should return"),
    ],
    "update_growth": [(16, "random signs"), (0.25, "after the scale"), (1, "BAx itself"), (8, "r = 1")],
    "leaks": [
        (lambda model: set(trainable(model)), "meant to be trained"),
        (lambda model: {n for n in trainable(model) if n.endswith("weight") and "lora_" not in n}, "you miss"),
        (lambda model: {n for n, _ in model.named_parameters() if "lora_" not in n}, "which is frozen"),
        (lambda model: set(), "you miss"),
        (lambda model: {"lm_head"}, "no parameter's name|named_parameters"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-01-LoRA", "02-Train", checks
    SOLVED, WRONG = SOLVED, WRONG
    STUBS = dict.fromkeys(("same_scale", "update_growth"), ...)


def test_the_solution_of_the_scale_is_what_the_formula_says():
    assert math.isclose(solutions("Lab-01-LoRA", "02-Train")["alpha_solution"] / 64, 16 / math.sqrt(64))
