"""Checks for the exercises of Lab-06's 03-Inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.checks.core import check, expect_function

#: Two models' marks on the same rows: alike, one clearly better, and few rows.
_MARKS = (
    ([1, 1, 1, 0, 1, 0, 1, 1], [1, 1, 0, 0, 1, 0, 1, 0]),
    ([0, 0, 1, 0, 1], [1, 0, 1, 1, 0]),
    ([1] * 40 + [0] * 10, [1] * 30 + [0] * 20),
)


def _paired(first: Sequence[int], second: Sequence[int]) -> tuple[float, float]:
    differences = [a - b for a, b in zip(first, second, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    return mean, (sum((d - mean) ** 2 for d in differences) / n / n) ** 0.5


@check("The difference of two models on the same rows, with its standard error")
def paired_difference(answer: Callable[[list[int], list[int]], tuple[float, float]]) -> str:
    """``answer(first, second)``: mean difference and its standard error, row by row."""

    def unpaired(first, second):
        p, q, n = sum(first) / len(first), sum(second) / len(second), len(first)
        return p - q, (p * (1 - p) / n + q * (1 - q) / n) ** 0.5

    def deviation(first, second):
        mean, error = _paired(first, second)
        return mean, error * len(first) ** 0.5

    def variance(first, second):
        mean, error = _paired(first, second)
        return mean, error**2

    def sample(first, second):
        mean, error = _paired(first, second)
        return mean, error * (len(first) / (len(first) - 1)) ** 0.5

    def turned(first, second):
        mean, error = _paired(first, second)
        return -mean, error

    def double(first, second):
        mean, error = _paired(first, second)
        return mean, 2 * error

    mutants = [
        (
            unpaired,
            "This is the error of two independent samples. The rows are the same: take the differences row by row.",
        ),
        (
            deviation,
            "This is the standard deviation of one row's difference; divide it by √n for the mean over n rows.",
        ),
        (variance, "This is the variance of the mean; take the square root."),
        (sample, "You divided by n − 1. That is common, too, but here divide by n, as the text says."),
        (turned, "The sign is the other way round: first minus second."),
        (double, "This is twice the standard error, the half width of a 95 % interval."),
    ]
    expect_function(answer, _paired, _MARKS, mutants=mutants)
    return "Rows on which both are right, or both wrong, add nothing: pairing removes the difficulty of the rows."


#: (probability of each row's own answer, whether it is right, how many): ties only among right ones.
_ANSWERS = (
    ([0.9, 0.6, 0.99, 0.7, 0.8], [True, False, False, True, False], 2),
    ([0.55, 0.95, 0.65, 0.75], [False, False, False, False], 3),
    ([0.9, 0.8, 0.7], [True, True, False], 5),
)


def _surest(probabilities: list[float], right: list[bool], k: int) -> list[int]:
    wrong = [i for i, mark in enumerate(right) if not mark]
    return sorted(wrong, key=lambda i: -probabilities[i])[:k]


@check("The most confident errors")
def surest_errors(answer: Callable[[list[float], list[bool], int], list[int]]) -> str:
    """``answer(probabilities, right, k)``: the positions of the k wrong answers with the highest probability."""

    def least(probabilities, right, k):
        wrong = [i for i, mark in enumerate(right) if not mark]
        return sorted(wrong, key=lambda i: probabilities[i])[:k]

    def every(probabilities, right, k):
        return sorted(range(len(right)), key=lambda i: -probabilities[i])[:k]

    def first(probabilities, right, k):
        return [i for i, mark in enumerate(right) if not mark][:k]

    def correct(probabilities, right, k):
        return sorted((i for i, mark in enumerate(right) if mark), key=lambda i: -probabilities[i])[:k]

    def numbered(probabilities, right, k):
        kept = [p for p, mark in zip(probabilities, right, strict=True) if not mark]
        return sorted(range(len(kept)), key=lambda i: -kept[i])[:k]

    mutants = [
        (least, "These are the least confident errors; return the most confident ones."),
        (every, "Right answers are among them; leave them out before sorting."),
        (first, "These are the first errors in the order of the rows; sort them by their probability."),
        (correct, "These are the most confident *right* answers."),
        (numbered, "These are positions in the list of errors; return the positions in the list of all rows."),
    ]
    expect_function(answer, _surest, _ANSWERS, mutants=mutants)
    return "Read these first: a confident error often comes from a wrong label, or from something the model cannot see."
