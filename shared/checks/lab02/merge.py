"""Checks for the exercises of Lab 02, notebook 04-Merge_and_Deploy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function, expect_type, unanswered

# --- exercise 1: what can be merged ----------------------------------------------------------------------------------

MERGEABLE = {
    "LoRA": (True, "LoRA's update B·A·x is linear in x: B·A is added to the matrix."),
    "BitFit": (True, "BitFit changes biases that the model already has: the trained biases replace them."),
    "(IA)³": (True, "(IA)³ multiplies by fixed vectors, which scale the rows of a matrix: diag(l)·W is a matrix."),
    "bottleneck, GELU": (False, "GELU is not linear: no matrix computes what this bottleneck computes for all inputs."),
    "bottleneck, φ = identity": (True, "Without a non-linearity the bottleneck is a product of two matrices, plus a "
                                 "constant: it can be merged into the projection before it."),
    "AdapterFusion": (False, "The attention weights depend on the token: each token would need its own matrix."),
    "prompt tuning": (False, "A prompt lengthens the input; no matrix of the model can replace additional tokens."),
}  # fmt: skip


@check("What can be merged?")
def mergeable(answer: Mapping[str, bool]) -> str:
    """Check a dict: method -> whether it can be merged."""
    expect_type(answer, dict, "the answer")
    if missing := [name for name in MERGEABLE if name not in answer]:
        raise Wrong(f"{missing[0]!r} is missing in the answer.")
    for name, (right, why) in MERGEABLE.items():
        if not isinstance(answer[name], bool):
            raise Wrong(f"{name!r} needs True or False, not {answer[name]!r}.")
        if answer[name] != right:
            raise Wrong(f"{name}: {why}")
    return "A change can be merged if it is linear in the input and its parameters do not depend on it."


# --- exercise 2: folding a linear bottleneck -------------------------------------------------------------------------


def _fold(weight: Any, bias: Any, down: Any, up: Any) -> tuple[Any, Any]:
    import torch

    through = torch.eye(weight.shape[0]) + up @ down
    return through @ weight, through @ bias


@check("Merge a linear bottleneck")
def fold(answer: Callable) -> str:
    """Check ``fold(weight, bias, down, up) -> (weight, bias)``."""
    import torch

    def as_pair(*arguments: object) -> object:
        result = answer(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise Wrong("return two tensors, the new weight and the new bias, separated by a comma.")
        if tuple(result[0].shape) != tuple(arguments[0].shape):
            raise Wrong(f"the new weight has the shape {tuple(result[0].shape)}; it replaces one of shape "
                        f"{tuple(arguments[0].shape)}.")  # fmt: skip
        return result

    generator = torch.Generator().manual_seed(0)

    def case(d: int, k: int, m: int) -> tuple:
        return tuple(torch.randn(*s, generator=generator) for s in ((d, k), (d,), (m, d), (d, m)))

    mutants = [
        (lambda w, b, d, u: (u @ d @ w, u @ d @ b), "The residual is missing: an adapter returns h + update(h), so the "
         "matrix is I + up·down and not up·down."),
        (lambda w, b, d, u: (_fold(w, b, d, u)[0], b), "The old bias is part of the projection's output, so it goes "
         "through the bottleneck too."),
        (lambda w, b, d, u: (w + u @ d @ w, u @ d @ b), "The weight is right; the residual part of the bias is "
         "missing: it is b + up·down·b."),
        (lambda w, b, d, u: (w + (u @ d)[:, : w.shape[1]], b), "up·down was added to the weight. But the bottleneck "
         "comes *after* the projection, so it multiplies the weight from the left."),
        (lambda w, b, d, u: (w @ (torch.eye(w.shape[1]) + u @ d), b), "The bottleneck was put before the projection "
         "(W·(I + up·down)); it comes after it."),
        (lambda w, b, d, u: (w + (u @ d).T @ w, b + (u @ d).T @ b), "One transposition too many: x goes through `down` "
         "first and `up` last, so the matrix is up @ down."),
    ]  # fmt: skip
    if unanswered(answer):
        raise Unanswered
    cases = [case(6, 4, 2), case(5, 9, 3), case(4, 4, 1)]
    expect_function(as_pair if callable(answer) else answer, _fold, cases, mutants=mutants, rtol=1e-4, atol=1e-4)
    return "(I + up·down)·(Wx + b): without φ the bottleneck is a matrix."
