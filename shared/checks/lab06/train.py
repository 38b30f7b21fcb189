"""Checks for the exercises of Lab-06's 02-Train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function


def _random(*shape: int, seed: int = 0) -> Any:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@check("The gradients of a LayerNorm's γ and β")
def layernorm_gradients(answer: Callable[[Any, Any], tuple[Any, Any]]) -> str:
    """``answer(normalised, upstream)``: gradients of γ and β, summed over rows and tokens."""

    def right(x, g):
        return (g * x).sum((0, 1)), g.sum((0, 1))

    mutants = [
        (lambda x, g: (g.sum((0, 1)), (g * x).sum((0, 1))), "The two are exchanged: γ's gradient first, then β's."),
        (lambda x, g: ((g * x).mean((0, 1)), g.mean((0, 1))), "A mean instead of a sum: each token adds its own part."),
        (lambda x, g: ((g * x).sum(0), g.sum(0)), "You summed over the rows only; each entry also serves all tokens."),
        (lambda x, g: ((g * x).sum(1), g.sum(1)), "You summed over the tokens only; each entry also serves all rows."),
        (lambda x, g: (g.sum((0, 1)) * x.sum((0, 1)), g.sum((0, 1))), "γ's gradient is the sum of products, not the "
         "product of sums: each gradient belongs to its own input."),
        (lambda x, g: (x.sum((0, 1)), g.sum((0, 1))), "γ's gradient needs the upstream gradient as well."),
        (lambda x, g: (g.sum((0, 1)), g.sum((0, 1))), "γ multiplies the normalised input, so its gradient "
         "needs it."),
    ]  # fmt: skip
    cases = [(_random(2, 3, 4), _random(2, 3, 4, seed=1)), (_random(5, 1, 3, seed=2), _random(5, 1, 3, seed=3))]
    expect_function(answer, right, cases, mutants=mutants)
    return "The gradient of γ depends on the input, that of β does not: BitFit trains β."


@check("The bonus that a query bias gives to a key")
def key_bonus(answer: Callable[[Any, Any], Any]) -> str:
    """``answer(keys, shift)``: s·k_j divided by the square root of the head size."""

    def right(keys, shift):
        return keys @ shift / keys.shape[-1] ** 0.5

    mutants = [
        (lambda k, s: k @ s, "The scale is missing: scores are divided by the square root of the head size."),
        (lambda k, s: k @ s / k.shape[-1], "Divide by the square root of the head size, not by the head size."),
        (lambda k, s: k @ s / k.shape[0] ** 0.5, "You took the number of tokens; the scale has the "
         "head size, the last axis."),
        (lambda k, s: (k @ s / k.shape[-1] ** 0.5).softmax(0), "This is the attention weight after the "
         "softmax; return the score."),
        (lambda k, s: k * s / k.shape[-1] ** 0.5, "The product is not summed: return one number for each key."),
        (lambda k, s: (k + s).sum(-1) / k.shape[-1] ** 0.5, "You shifted the key. The query is shifted: its "
         "shift meets the key in a dot product."),
    ]  # fmt: skip
    cases = [(_random(5, 8), _random(8, seed=1)), (_random(3, 4, seed=2), _random(4, seed=3))]
    expect_function(answer, right, cases, mutants=mutants)
    return "It does not depend on the query: a bias can raise the scores of some keys, for all queries at once."


#: (what happened, by how much each kind of parameter moved, the verdict); in the order in which the audit has to check.
_RUNS = (
    ("a proper run", {"bias": 0.05, "head": 0.1}, "fine"),
    ("the learning rate of full fine-tuning", {"bias": 2e-5, "head": 0.1}, "biases barely moved"),
    ("a frozen head", {"bias": 0.05}, "head did not move"),
    ("LayerNorms unfrozen as a whole", {"bias": 0.05, "head": 0.1, "gamma": 0.01}, "weights moved"),
    ("everything unfrozen", {"bias": 0.05, "head": 0.1, "gamma": 0.01, "weight": 0.001}, "weights moved"),
    ("a few entries moved far, nearly all not at all", {"small": 0.1, "head": 0.1}, "biases barely moved"),
)


def _states(steps: dict[str, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two states, before and after a run that moved each kind of parameter by so much."""
    shapes = {
        "dense.weight": (4, 4), "dense.bias": (4,), "wide.bias": (996,), "norm.weight": (4,), "norm.bias": (4,),
        "classifier.weight": (2, 4), "classifier.bias": (2,),
    }  # fmt: skip

    def kind(name: str) -> str:
        if name.startswith("classifier"):
            return "head"
        if name.endswith("weight"):
            return "gamma" if name.startswith("norm") else "weight"
        return "small" if name == "dense.bias" and "small" in steps else "bias"

    before = {name: _random(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    return before, {name: tensor + steps.get(kind(name), 0.0) for name, tensor in before.items()}


@check("Break it: what went wrong in this BitFit run?")
def audit(answer: Callable[[dict, dict, tuple[str, ...]], str]) -> str:
    """``answer(before, after, head)`` names the first problem of a run."""
    for story, steps, want in _RUNS:
        got = answer(*_states(steps), ("classifier",))
        if got is None or got is ...:
            raise Unanswered
        _check_audit(got, want, story)
    return "Three of these four problems leave no trace in a loss curve: compare parameters before and after."


def _check_audit(got: object, want: str, story: str) -> None:
    choices = {"fine", "biases barely moved", "head did not move", "weights moved"}
    if got == want:
        return
    if got not in choices:
        raise Wrong(f"{got!r} is none of the verdicts: {', '.join(sorted(choices))}.")
    why = {
        "fine": "Nothing is wrong here: every bias has moved, and the head's weight may move.",
        "biases barely moved": "Average over all bias entries outside the head, and compare with 0.001.",
        "head did not move": "Compare the head's parameters alone, and check them before the biases.",
        "weights moved": "A LayerNorm's weight γ is no bias and must not move; only the head's may.",
    }
    raise Wrong(f"For {story} you say {got!r}, but it is {want!r}. {why[want]}")
