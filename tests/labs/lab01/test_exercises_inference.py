"""The checks of 03-Inference pass on the notebook's solutions and diagnose plausible wrong answers."""

import math

import torch
from exercise_contract import ExerciseContract, named

from shared.checks import lab01


def _pad(rows, pad, left=True, one=1, zero=0):
    longest = max(map(len, rows))
    pairs = [([pad] * (longest - len(r)), list(r)) for r in rows]
    ids = [p + r if left else r + p for p, r in pairs]
    mask = [[zero] * len(p) + [one] * len(r) if left else [one] * len(r) + [zero] * len(p) for p, r in pairs]
    return torch.tensor(ids), torch.tensor(mask)


def _mask_by_comparing(rows, pad):
    ids = _pad(rows, pad)[0]
    return ids, (ids != pad).long()


def _divide_all_seen(logits, seen, theta):
    new = logits.clone()
    for token in set(seen):
        new[token] /= theta
    return new


def _once_per_occurrence(logits, seen, theta):
    new = logits.clone()
    for token in seen:
        new[token] = new[token] / theta if new[token] > 0 else new[token] * theta
    return new


def _in_place(logits, seen, theta):
    for token in set(seen):
        logits[token] = logits[token] / theta if logits[token] > 0 else logits[token] * theta
    return logits


def _split(first, second):
    b = sum(x and not y for x, y in zip(first, second, strict=True))
    return b, sum(y and not x for x, y in zip(first, second, strict=True))


def _tail(k, n):
    return sum(math.comb(n, i) for i in range(k + 1)) / 2**n


def _one_sided(first, second):
    b, c = _split(first, second)
    return _tail(min(b, c), b + c)


def _uncut(first, second):
    return 2 * _one_sided(first, second)


def _all_rows(first, second):
    return min(1.0, 2 * _tail(min(_split(first, second)), len(first)))


def _chi_square(first, second):
    b, c = _split(first, second)
    return math.erfc(abs(b - c) / math.sqrt(2 * (b + c))) if b + c else 1.0


def _layers(model):
    return [m for m in model.modules() if hasattr(m, "lora_B")]


def _ignores_the_switch(model):
    if not _layers(model):
        return "no adapter"
    weights = [layer.lora_B[n].weight for layer in _layers(model) for n in layer.active_adapters]
    return "works" if any(w.abs().max() > 0 for w in weights) else "empty"


def _any_adapter(model):
    if not _layers(model):
        return "no adapter"
    if _layers(model)[0].disable_adapters:
        return "switched off"
    return "works" if any(p.abs().max() > 0 for n, p in model.named_parameters() if "lora_B" in n) else "empty"


def _first_layer_only(model):
    if not _layers(model):
        return "no adapter"
    layer = _layers(model)[0]
    if layer.disable_adapters:
        return "switched off"
    return "works" if layer.lora_B[layer.active_adapters[0]].weight.abs().max() > 0 else "empty"


def _asks_for_gradients(model):
    return "works" if any(p.requires_grad for n, p in model.named_parameters() if "lora" in n) else "no adapter"


def _switches_it_on(model):
    for layer in _layers(model):
        layer.enable_adapters(True)
    return _any_adapter(model)


WRONG = {
    "pad_left": [
        (lambda rows, pad: _pad(rows, pad, left=False), "right"),
        (lambda rows, pad: _pad(rows, pad, one=0, zero=1), "inverted"),
        (lambda rows, pad: (_pad(rows, pad)[0], torch.ones_like(_pad(rows, pad)[0])), "everywhere"),
        (_mask_by_comparing, "end token"),
        (lambda rows, pad: tuple(t.tolist() for t in _pad(rows, pad)), "tensors"),
        (lambda rows, pad: _pad(rows, pad)[0], "two tensors"),
    ],
    "penalise": [
        (_divide_all_seen, "negative"),
        (_once_per_occurrence, "several times"),
        (_in_place, "in place"),
        (lambda logits, seen, theta: torch.where(logits > 0, logits / theta, logits * theta), "All tokens"),
        (lambda logits, seen, theta: logits.clone(), "differs"),
    ],
    "p_value": [
        (_one_sided, "one side"),
        (_uncut, "cut at 1"),
        (_all_rows, "all rows"),
        (_chi_square, "should return"),
    ],
    "diagnose": [
        (lambda model: "works", "no adapter was loaded"),
        (_ignores_the_switch, "switched off"),
        (_any_adapter, "second"),
        (_first_layer_only, "v_proj"),
        (_asks_for_gradients, "requires a gradient"),
        (_switches_it_on, "as you found it"),
        (lambda model: "broken", "none of the diagnoses"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-01-LoRA", "03-Inference", lab01
    SOLVED, WRONG = named("pad_left", "penalise", "p_value", "diagnose"), WRONG
