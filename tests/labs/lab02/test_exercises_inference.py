"""The checks of Lab-02's 03-Inference pass on the notebook's solutions and diagnose plausible wrong answers."""

from exercise_contract import ExerciseContract, named

from shared.checks import lab02


def _inspector(head=2, norms=None, end="adapter_up.weight", enough=any):
    def inspect(tensors, layers):
        if sum(name.startswith("classifier") for name in tensors) < head:
            return "head missing"
        if sum("LayerNorm" in name for name in tensors) < (2 * (2 * layers + 1) if norms is None else norms):
            return "LayerNorms missing"
        filled = [bool(tensor.any()) for name, tensor in tensors.items() if name.endswith(end)]
        return "whole" if enough(filled) else "empty"

    return inspect


def _parts(tasks, names=None, key=None, back=None):
    names = names or sorted(set(tasks))
    order = sorted(range(len(tasks)), key=key or (lambda row: tasks[row]))
    return order, [tasks.count(name) for name in names], back or [order.index(row) for row in range(len(tasks))]


def _arrival(tasks):
    return list(dict.fromkeys(tasks))


def _in_place(first, second, share):
    for name in first:
        first[name].mul_(share).add_((1 - share) * second[name])
    return first


WRONG = {
    "inspect": [
        (_inspector(head=0), "without any head"),
        (_inspector(head=1), "both are needed"),
        (_inspector(norms=0), "without any LayerNorm"),
        (_inspector(norms=1), "count how many"),
        (_inspector(end="adapter_down.0.weight"), "look at the up-projections"),
        (_inspector(enough=all), "one is enough"),
        (lambda tensors, layers: "fine", "none of the answers"),
    ],
    "route": [
        (lambda t: _parts(t, back=_parts(t)[0]), "invert it"),
        (lambda t: _parts(t, back=list(range(len(t)))), "wrong clients"),
        (lambda t: _parts(t, _arrival(t), lambda row: _arrival(t).index(t[row])), "first arrival"),
        (lambda t: _parts(t, _arrival(t)), "wrong adapter"),
        (lambda t: _parts(t, key=lambda row: (t[row], -row)), "changed their order"),
        (lambda t: (list(range(len(t))), _parts(t)[1], list(range(len(t)))), "not sorted"),
        (lambda t: _parts(t)[:2], "three lists"),
    ],
    "average": [
        (lambda a, b, s: {n: (s * a[n] + (1 - s) * b[n]) / 2 for n in a}, "section 6"),
        (lambda a, b, s: {n: (a[n] + b[n]) / 2 for n in a}, "not used"),
        (lambda a, b, s: {n: (1 - s) * a[n] + s * b[n] for n in a}, "swapped"),
        (lambda a, b, s: {n: s * (a[n] + b[n]) for n in a}, "the rest"),
        (lambda a, b, s: {n: a[n] + b[n] for n in a}, "the sum of the two"),
        (_in_place, "in place"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-02-AdapterLayers", "03-Inference", lab02
    SOLVED, WRONG = named("inspect", "route", "average"), WRONG
