"""The checks of Lab-06's 02-Train pass on the notebook's own solutions and diagnose plausible wrong answers."""

import torch
from exercise_contract import ExerciseContract, named

from shared.checks.lab06 import train as checks


def moved(before, after, names):
    return any(not torch.equal(before[n], after[n]) for n in names)


def careless(before, after, head):
    """Takes every weight for one that must not move, the head's too."""
    return "weights moved" if moved(before, after, [n for n in before if n.endswith("weight")]) else "fine"


def headless(before, after, head):
    """Never looks at the head."""
    if moved(before, after, [n for n in before if n.endswith("weight") and not n.startswith(head)]):
        return "weights moved"
    step = torch.cat([(after[n] - before[n]).abs() for n in before if n.endswith(".bias") and not n.startswith(head)])
    return "biases barely moved" if step.mean() < 1e-3 else "fine"


def largest(before, after, head):
    """Looks at the largest change of a bias instead of the mean."""
    if moved(before, after, [n for n in before if n.endswith("weight") and not n.startswith(head)]):
        return "weights moved"
    if not moved(before, after, [n for n in before if n.startswith(head)]):
        return "head did not move"
    steps = [(after[n] - before[n]).abs().max() for n in before if n.endswith(".bias") and not n.startswith(head)]
    return "biases barely moved" if max(steps) < 1e-3 else "fine"


def spared(before, after, head):
    """Takes a LayerNorm's weight for a part of BitFit."""
    others = [n for n in before if n.endswith("weight") and "norm" not in n and not n.startswith(head)]
    if moved(before, after, others):
        return "weights moved"
    return largest(before, {**after, "norm.weight": before["norm.weight"]}, head)


WRONG = {
    "layernorm_gradients": [
        (lambda x, g: (g.sum((0, 1)), (g * x).sum((0, 1))), "exchanged"),
        (lambda x, g: ((g * x).mean((0, 1)), g.mean((0, 1))), "mean instead of a sum"),
        (lambda x, g: ((g * x).sum(0), g.sum(0)), "rows only"),
        (lambda x, g: (g.sum((0, 1)) * x.sum((0, 1)), g.sum((0, 1))), "product of sums"),
        (lambda x, g: (g.sum((0, 1)), g.sum((0, 1))), "needs it"),
        (lambda x, g: (g, g), "should"),
    ],
    "key_bonus": [
        (lambda k, s: k @ s, "scale is missing"),
        (lambda k, s: k @ s / len(s), "square root"),
        (lambda k, s: k @ s / len(k) ** 0.5, "number of tokens"),
        (lambda k, s: k * s / len(s) ** 0.5, "not summed"),
        (lambda k, s: s @ k, "raised"),
    ],
    "audit": [
        (careless, "head's weight may move"),
        (headless, "head did not move"),
        (largest, "Average over all bias entries"),
        (spared, "LayerNorm's weight"),
        (lambda before, after, head: "fine", "fine"),
        (lambda before, after, head: True, "none of the verdicts"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-06-BitFit", "02-Train", checks
    SOLVED, WRONG = named("layernorm_gradients", "key_bonus", "audit"), WRONG
