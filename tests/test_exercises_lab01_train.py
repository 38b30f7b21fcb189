"""The checks of 02-Train pass on the notebook's own solutions and diagnose plausible wrong answers."""

import math

import pytest
from notebook_code import solutions

from shared.checks import lab01_train as checks

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
        (lambda model: set(trainable(model)), "meant to train"),
        (lambda model: {n for n in trainable(model) if n.endswith("weight") and "lora_" not in n}, "you miss"),
        (lambda model: {n for n, _ in model.named_parameters() if "lora_" not in n}, "which is frozen"),
        (lambda model: set(), "you miss"),
        (lambda model: {"lm_head"}, "no parameter's name|named_parameters"),
    ],
}


@pytest.fixture(scope="module")
def solved():
    return solutions("Lab-01-LoRA", "02-Train")


@pytest.mark.parametrize("name", SOLVED)
def test_the_notebooks_solution_passes(solved, name):
    result = getattr(checks, name)(solved[SOLVED[name]])
    assert result.passed, result


@pytest.mark.parametrize(("name", "answer", "diagnosis"), [(n, a, d) for n, wrong in WRONG.items() for a, d in wrong])
def test_a_wrong_answer_fails_with_its_diagnosis(name, answer, diagnosis):
    import re

    result = getattr(checks, name)(answer)
    assert result.answered and not result.passed
    assert re.search(diagnosis, result.diagnosis), result.diagnosis


@pytest.mark.parametrize("name", SOLVED)
def test_a_stub_is_not_answered_and_does_not_raise(name):
    def stub(*arguments): ...

    result = getattr(checks, name)(... if name in ("same_scale", "update_growth") else stub)
    assert not result.answered and not result.passed


def test_each_exercise_has_at_least_three_wrong_answers():
    assert set(WRONG) == set(SOLVED) and all(len(wrong) >= 3 for wrong in WRONG.values())


def test_the_solution_of_the_scale_is_what_the_formula_says(solved):
    assert math.isclose(solved["alpha_solution"] / 64, 16 / math.sqrt(64))
