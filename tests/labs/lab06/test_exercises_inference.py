"""The checks of Lab-06's 03-Inference pass on the notebook's own solutions and diagnose plausible wrong answers."""

from exercise_contract import ExerciseContract, named

from shared.checks.lab06 import inference as checks


def gaps(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def mean(values):
    return sum(values) / len(values)


def spread(values):
    return mean([(v - mean(values)) ** 2 for v in values]) ** 0.5


def alone(marks):
    return mean(marks) * (1 - mean(marks)) / len(marks)


WRONG = {
    "paired_difference": [
        (lambda a, b: (mean(a) - mean(b), (alone(a) + alone(b)) ** 0.5), "independent samples"),
        (lambda a, b: (mean(gaps(a, b)), spread(gaps(a, b))), "divide it by √n"),
        (lambda a, b: (mean(gaps(b, a)), spread(gaps(a, b)) / len(a) ** 0.5), "other way round"),
        (lambda a, b: (mean(gaps(a, b)), spread(gaps(a, b)) ** 2 / len(a)), "square root"),
        (lambda a, b: mean(gaps(a, b)), "should return"),
    ],
    "surest_errors": [
        (lambda p, r, k: sorted(range(len(p)), key=lambda i: -p[i])[:k], "Right answers are among them"),
        (lambda p, r, k: sorted((i for i in range(len(p)) if not r[i]), key=lambda i: p[i])[:k], "least confident"),
        (lambda p, r, k: [i for i in range(len(p)) if not r[i]][:k], "order of the rows"),
        (lambda p, r, k: sorted((i for i in range(len(p)) if r[i]), key=lambda i: -p[i])[:k], "right"),
        (lambda p, r, k: [], "should return"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-06-BitFit", "03-Inference", checks
    SOLVED, WRONG = named("paired_difference", "surest_errors"), WRONG
