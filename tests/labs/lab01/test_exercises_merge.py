"""The checks of 04-Merge_and_Deploy pass on the notebook's own solutions and diagnose plausible wrong answers."""

import math

import torch
from exercise_contract import ExerciseContract

from shared.checks.lab01 import merge as checks

SOLVED = {
    "round_bf16": "round_bf16_solution",
    "applied": "applied_solution",
    "name_the_error": "verdicts_solution",
    "merge_or_attach": "choices_solution",
}
RIGHT_ERRORS = {
    "red": "twice", "green": "right", "blue": "transposed", "white": "not divided by r", "black": "subtracted",
}  # fmt: skip
RIGHT_CHOICES = {
    "one task, answers as fast as possible": "merge",
    "200 customers, each with an adapter of their own": "attach",
    "a phone app whose runtime knows no peft": "merge",
    "a QLoRA adapter whose base fits into memory in 4 bit only": "attach",
    "one request in ten must get the untuned base": "attach",
}


def significant(bits):
    def rounded(x):
        mantissa, exponent = math.frexp(x)
        return math.ldexp(round(mantissa * 2**bits), exponent - bits)

    return rounded


def truncated(x):
    mantissa, exponent = math.frexp(x)
    return math.ldexp(int(mantissa * 256), exponent - 8)


def projection(before, after, A, B, alpha, r, change=None, scale=None):
    update = (alpha / r if scale is None else scale) * (B @ A)
    change = after - before if change is None else change
    return float((change * update).sum() / (update * update).sum())


def update(A, B, alpha, r):
    return alpha / r * (B @ A)


WRONG = {
    "round_bf16": [
        (truncated, "nearest"),
        (significant(7), "implied"),
        (significant(11), "float16"),
        (lambda x: round(x * 128) / 128, "between 1 and 2"),
        (lambda x: torch.tensor(x).half().item(), "float16|should return"),
        (lambda x: round(x, 3), "should return"),
    ],
    "applied": [
        (lambda before, after, A, B, alpha, r: projection(before, after, A, B, alpha, r, scale=alpha), "division by r"),
        (lambda before, after, A, B, alpha, r: projection(before, after, A, B, alpha, r, scale=1), "left out the"),
        (lambda before, after, A, B, alpha, r: (after - before).norm().item() / update(A, B, alpha, r).norm().item(),
         "subtracted"),
        (lambda before, after, A, B, alpha, r: projection(after, before, A, B, alpha, r), "swapped"),
        (lambda before, after, A, B, alpha, r: projection(before, after, A, B, alpha, r, change=after), "themselves"),
        (lambda before, after, A, B, alpha, r: projection(before, after, B, A, alpha, r), "raised"),
    ],
    "name_the_error": [
        (RIGHT_ERRORS | {"red": "right"}, "projection .* is 2"),
        (RIGHT_ERRORS | {"blue": "never merged"}, "did change"),
        (RIGHT_ERRORS | {"blue": "right"}, "square"),
        (RIGHT_ERRORS | {"white": "twice"}, "is 8.00"),
        (RIGHT_ERRORS | {"black": "alpha doubled"}, "none of the errors"),
        ({"red": "twice"}, "lacks"),
    ],
    "merge_or_attach": [
        (dict.fromkeys(RIGHT_CHOICES, "merge"), "200 copies"),
        (dict.fromkeys(RIGHT_CHOICES, "attach"), "single task"),
        (RIGHT_CHOICES | {"a QLoRA adapter whose base fits into memory in 4 bit only": "merge"}, "4-bit"),
        (RIGHT_CHOICES | {"one request in ten must get the untuned base": "unload"}, "neither"),
    ],
}  # fmt: skip


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-01-LoRA", "04-Merge_and_Deploy", checks
    SOLVED, WRONG = SOLVED, WRONG
    STUBS = {"name_the_error": dict.fromkeys(RIGHT_ERRORS, ...), "merge_or_attach": dict.fromkeys(RIGHT_CHOICES, ...)}


def test_torchs_own_rounding_passes():
    assert checks.round_bf16(lambda x: torch.tensor(x, dtype=torch.float64).bfloat16().item()).passed


def test_merged_twice_cannot_be_told_from_a_doubled_alpha():
    export = checks.exports()["red"]
    doubled = export["before"] + 2 * export["alpha"] / export["r"] * (export["B"] @ export["A"])
    torch.testing.assert_close(export["after"], doubled, rtol=2**-8, atol=1e-3)
