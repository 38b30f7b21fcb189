"""Checks for the exercises of Lab 02, notebook 03-Inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered

# --- exercise 1: break it --------------------------------------------------------------------------------------------

ANSWERS = ("head missing", "LayerNorms missing", "empty", "whole")


def _bundle(error: str, layers: int, part: int = 0) -> dict[str, Any]:
    """Tensors as a Houlsby model stores them, with one error.

    Args:
        error: One of :data:`ANSWERS`.
        layers: Layers of the model.
        part: Which variant of the error: 0 all of it, others only a part of it.
    """
    import torch

    tensors = {"classifier.weight": torch.ones(2, 4), "classifier.bias": torch.zeros(2)}
    norms = ["bert.embeddings"] + [
        f"bert.encoder.layer.{i}.{end}" for i in range(layers) for end in ("attention.output", "output")
    ]
    for place, name in enumerate(norms):
        tensors |= {f"{name}.LayerNorm.weight": torch.ones(4), f"{name}.LayerNorm.bias": torch.zeros(4)}
        if place:  # the embeddings have a LayerNorm but no bottleneck; in one variant only the last adapter is not zero
            empty = error == "empty" or (part == 1 and place < len(norms) - 1)
            for end, shape in (("adapter_down.0", (2, 4)), ("adapter_up", (4, 2))):
                scale = 0.0 if empty and end == "adapter_up" else 0.1
                tensors[f"{name}.adapters.task.{end}.weight"] = scale * torch.ones(shape)
                tensors[f"{name}.adapters.task.{end}.bias"] = torch.zeros(shape[0])
    if error == "head missing":
        gone = ["classifier.weight", "classifier.bias"][: 2 if part == 0 else 1]
    elif error == "LayerNorms missing":
        every = [name for name in tensors if "LayerNorm" in name]
        gone = every if part == 0 else [name for name in every if "embeddings" in name]
    else:
        gone = []
    return {name: tensor for name, tensor in tensors.items() if name not in gone}


@check("Break it: four bundles")
def inspect(answer: Callable) -> str:
    """Check ``inspect(tensors, layers)`` on planted bundles."""
    if not callable(answer):
        raise Wrong("pass the function itself: inspect, without calling it.")
    hints = {
        ("head missing", 0): "A bundle without any head got {said!r}.",
        ("head missing", 1): "A bundle that has the head's bias but not its weight got {said!r}: both are needed.",
        ("LayerNorms missing", 0): "A bundle without any LayerNorm got {said!r}.",
        ("LayerNorms missing", 1): "A bundle that lacks only the LayerNorm of the embeddings got {said!r}: count how "
        "many there must be.",
        ("empty", 0): "A bundle whose up-projections are all zero got {said!r}. Its down-projections are not zero, as "
        "before training: look at the up-projections.",
        ("empty", 1): "A bundle whose up-projections are all zero got {said!r}.",
        ("whole", 0): "A complete bundle got {said!r}.",
        ("whole", 1): "A bundle in which only one up-projection is not zero got {said!r}: one is enough to have an "
        "effect.",
    }
    for (error, part), hint in hints.items():
        for layers in (2, 3):
            said = answer(_bundle(error, layers, part), layers)
            if said is None:
                raise Wrong("inspect returns None for some bundle: is a `return` missing?")
            if said not in ANSWERS:
                raise Wrong(f"{said!r} is none of the answers {ANSWERS}.")
            if said != error:
                raise Wrong(hint.format(said=said))
    return "Incomplete bundles load without an error message; this function finds them."


# --- exercise 2: routing ---------------------------------------------------------------------------------------------


def _route(tasks: list[str]) -> tuple[list[int], list[int], list[int]]:
    order = sorted(range(len(tasks)), key=lambda row: tasks[row])
    return order, [tasks.count(task) for task in sorted(set(tasks))], [order.index(row) for row in range(len(tasks))]


@check("Route a mixed batch")
def route(answer: Callable) -> str:
    """Check ``route(tasks) -> (order, sizes, back)``."""

    def as_lists(tasks: list[str]) -> object:
        result = answer(tasks)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 3:
            raise Wrong("return three lists, order, sizes and back, separated by commas.")
        return tuple(list(part) for part in result)

    def by_arrival(tasks: list[str]) -> tuple:
        first = list(dict.fromkeys(tasks))
        order = sorted(range(len(tasks)), key=lambda row: first.index(tasks[row]))
        return order, [tasks.count(task) for task in first], [order.index(row) for row in range(len(tasks))]

    def unstable(tasks: list[str]) -> tuple:
        order = sorted(range(len(tasks)), key=lambda row: (tasks[row], -row))
        return order, _route(tasks)[1], [order.index(row) for row in range(len(tasks))]

    def sizes_of_arrival(tasks: list[str]) -> tuple:
        order, _, back = _route(tasks)
        return order, [tasks.count(task) for task in dict.fromkeys(tasks)], back

    mutants = [
        (lambda tasks: (_route(tasks)[0], _route(tasks)[1], _route(tasks)[0]), "`back` equals `order`. It has to "
         "invert it: back[row] is the position of the row in the batch."),
        (lambda tasks: (_route(tasks)[0], _route(tasks)[1], list(range(len(tasks)))), "`back` changes nothing: the "
         "answers would come in the order of the batch, to the wrong clients."),
        (by_arrival, "The tasks are in the order of their first arrival; the order should be alphabetical."),
        (unstable, "The rows of a task have changed their order."),
        (sizes_of_arrival, "The rows are in alphabetical order of tasks, but the sizes are in the order of arrival: "
         "rows would go through the wrong adapter."),
        (lambda tasks: (list(range(len(tasks))), _route(tasks)[1], list(range(len(tasks)))), "The rows are not sorted: "
         "BatchSplit cuts the batch into consecutive pieces."),
    ]  # fmt: skip
    if unanswered(answer):
        raise Unanswered
    cases = [(["b", "a", "b"],), (["c", "a", "b", "a", "c", "c"],), (["x"],), (["b", "b", "a", "a", "b"],)]
    expect_function(as_lists if callable(answer) else answer, _route, cases, mutants=mutants)
    return "Each row goes through its own adapter, and each answer goes back to its client."


# --- exercise 3: the average -----------------------------------------------------------------------------------------


@check("Average two adapters")
def average(answer: Callable) -> str:
    """Check ``average(first, second, share) -> dict``."""
    import torch

    def right(a: dict, b: dict, share: float) -> dict:
        return {name: share * a[name] + (1 - share) * b[name] for name in a}

    def careful(a: dict, b: dict, share: float) -> object:
        before = [{name: tensor.clone() for name, tensor in one.items()} for one in (a, b)]
        result = answer(a, b, share)
        if any(not torch.equal(old[name], new[name]) for old, new in zip(before, (a, b), strict=True) for name in old):
            raise Wrong("one of the two adapters was changed in place (`+=`, or `mul_`?); create new tensors.")
        return result

    generator = torch.Generator().manual_seed(0)
    one, two = ({n: torch.randn(2, 3, generator=generator) for n in ("down", "up")} for _ in range(2))
    mutants = [
        (lambda a, b, s: {n: s * a[n] + s * b[n] for n in a}, "Both have the weight `share`: the second has "
         "the rest, 1 - share."),
        (lambda a, b, s: right(b, a, s), "The weights are swapped: `share` belongs to the first."),
        (lambda a, b, s: {n: (s * a[n] + (1 - s) * b[n]) / 2 for n in a}, "With weights that sum to one, the sum "
         "*is* the mean. Dividing by two again halves the adapter, the error of section 6."),
        (lambda a, b, s: {n: (a[n] + b[n]) / 2 for n in a}, "`share` is not used: this is the unweighted mean."),
        (lambda a, b, s: {n: a[n] + b[n] for n in a}, "This is the sum of the two, not their mean."),
        (lambda a, b, s: {n: a[n] if s >= 0.5 else b[n] for n in a}, "One of the two was selected; combine both."),
    ]  # fmt: skip
    if unanswered(answer):
        raise Unanswered
    cases = [(one, two, 0.5), (one, two, 0.25), (one, two, 1.0), (one, one, 0.3)]
    expect_function(careful if callable(answer) else answer, right, cases, mutants=mutants)
    return "The average of an adapter with itself is itself."
