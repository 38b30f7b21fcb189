"""Checks for the exercises of Lab 01, notebook 03-Inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered

# --- exercise 1: padding on the left ---------------------------------------------------------------------------------


def _padded(rows: Sequence[Sequence[int]], pad: int, left: bool = True):
    import torch

    longest = max(len(row) for row in rows)
    ids, mask = [], []
    for row in rows:
        gap = longest - len(row)
        ids.append([pad] * gap + list(row) if left else list(row) + [pad] * gap)
        mask.append([0] * gap + [1] * len(row) if left else [1] * len(row) + [0] * gap)
    return torch.tensor(ids), torch.tensor(mask)


def _pad_mutants() -> list[tuple[Callable, str]]:
    import torch

    def guessed_mask(rows: Sequence, pad: int) -> tuple:
        ids = _padded(rows, pad)[0]
        return ids, (ids != pad).long()

    def cut(rows: Sequence, pad: int) -> tuple:
        shortest = min(len(row) for row in rows)
        ids = torch.tensor([list(row)[-shortest:] for row in rows])
        return ids, torch.ones_like(ids)

    return [
        (lambda rows, pad: _padded(rows, pad, left=False), "The padding stands on the right: the last position of a "
         "short row is padding, and that is where generation continues."),
        (lambda rows, pad: (_padded(rows, pad)[0], _padded(rows, pad, left=False)[1]), "The ids are padded on the "
         "left, but the mask on the right: it hides real tokens and shows padding."),
        (lambda rows, pad: (_padded(rows, pad)[0], 1 - _padded(rows, pad)[1]), "The mask is inverted: 1 means "
         "'look at this token', 0 means padding."),
        (lambda rows, pad: (_padded(rows, pad)[0], torch.ones_like(_padded(rows, pad)[0])), "The mask is 1 everywhere: "
         "the model would attend to the padding as if it were text."),
        (guessed_mask, "The mask was made by comparing ids with pad_id. But the pad token is often the same as the end "
         "token, which can stand inside a row; build the mask from the lengths."),
        (cut, "The rows were cut to the shortest one; pad the short ones instead."),
    ]  # fmt: skip


@check("Pad on the left")
def pad_left(answer: Callable) -> str:
    """Check ``pad_left(rows, pad_id) -> (input_ids, attention_mask)``."""
    import torch

    def as_tensors(*arguments: object) -> object:
        result = answer(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise Wrong("return two tensors, input_ids and attention_mask, separated by a comma.")
        if not all(isinstance(part, torch.Tensor) for part in result):
            raise Wrong("return tensors: torch.tensor(list of lists of equal length).")
        if result[0].is_floating_point():
            raise Wrong("input_ids are floating point numbers; token ids are whole numbers.")
        return result

    if unanswered(answer):
        raise Unanswered
    cases = [([[5, 6, 7], [8]], 0), ([[9], [4, 3], [7, 7, 2, 1]], 2), ([[2, 5, 6], [5, 2]], 2)]
    expect_function(as_tensors if callable(answer) else answer, _padded, cases, mutants=_pad_mutants())
    return "Every row ends in a real token, so every row is continued where it stops."


# --- exercise 2: the repetition penalty ------------------------------------------------------------------------------


@check("The repetition penalty")
def penalise(answer: Callable) -> str:
    """Check ``penalise(logits, seen, theta) -> logits``."""
    import torch

    def right(logits: torch.Tensor, seen: list[int], theta: float) -> torch.Tensor:
        new = logits.clone()
        for token in set(seen):
            new[token] = logits[token] / theta if logits[token] > 0 else logits[token] * theta
        return new

    def each(change: Callable, distinct: bool = True) -> Callable:
        def mutant(logits: torch.Tensor, seen: list[int], theta: float) -> torch.Tensor:
            new = logits.clone()
            for token in sorted(set(seen)) if distinct else seen:
                new[token] = change(new[token], theta)
            return new

        return mutant

    def signed(value: torch.Tensor, theta: float) -> torch.Tensor:
        return value / theta if value > 0 else value * theta

    logits = torch.tensor([2.0, -2.0, 0.5, -0.5, 3.0, -1.0])
    cases = [(logits, [0, 1], 1.5), (logits, [4, 4, 4, 5, 5], 2.0), (logits, [], 1.3), (-logits, [0, 2, 3], 1.2)]
    mutants = [
        (each(lambda v, t: v / t), "A negative logit was divided too: -2 / 1.5 = -1.33 is *larger*: the token became "
         "more likely. Multiply where the logit is negative."),
        (each(lambda v, t: v * t), "A positive logit was multiplied: that makes the token more likely. Divide where "
         "the logit is positive."),
        (each(lambda v, t: v * t if v > 0 else v / t), "The two cases are swapped: seen tokens became more likely."),
        (each(signed, distinct=False), "A token that was seen several times is penalised several times. The penalty "
         "applies once to each distinct token."),
        (lambda v, seen, t: torch.where(v > 0, v / t, v * t), "All tokens were penalised, not only those seen."),
        (each(lambda v, t: v - t), "θ was subtracted. The repetition penalty divides or multiplies (subtracting is "
         "another rule, the presence penalty)."),
    ]  # fmt: skip
    expect_function(answer, right, cases, mutants=mutants)
    return "Seen tokens become less likely on both sides of zero."


# --- exercise 3: is the difference real? -----------------------------------------------------------------------------


@check("Is the difference real? The exact McNemar test")
def p_value(answer: Callable) -> str:
    """Check ``p_value(first, second) -> float`` for two lists of booleans."""

    def counts(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int]:
        pairs = list(zip(first, second, strict=True))
        return sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)

    def tail(k: int, n: int) -> float:
        return sum(math.comb(n, i) for i in range(k + 1)) / 2**n

    def split(make: Callable) -> Callable:
        return lambda first, second: make(*counts(first, second), len(first))

    def rows(b: int, c: int, both: int, neither: int) -> tuple[list[bool], list[bool]]:
        first = [True] * b + [False] * c + [True] * both + [False] * neither
        return first, [False] * b + [True] * c + [True] * both + [False] * neither

    splits = [(8, 1, 5, 2), (2, 9, 30, 3), (3, 3, 4, 4), (0, 0, 6, 2), (0, 5, 1, 0), (5, 4, 0, 9)]
    cases = [rows(*numbers) for numbers in splits]
    mutants = [
        (split(lambda b, c, n: 2 * tail(min(b, c), b + c)), "p is larger than 1 where the models win equally often: "
         "the middle is counted twice, so cut at 1."),
        (split(lambda b, c, n: tail(min(b, c), b + c)), "This is one side only. You did not know before which model "
         "would win, so the same split the other way round counts too: twice, at most 1."),
        (split(lambda b, c, n: min(1.0, 2 * tail(min(b, c), n))), "n is the number of all rows. Rows that both got "
         "right or both wrong say nothing about the difference: n = b + c."),
        (split(lambda b, c, n: min(1.0, 2 * math.comb(b + c, min(b, c)) / 2 ** (b + c))), "This is the chance of "
         "exactly this split; sum over all splits that are at least as uneven (k from 0)."),
        (split(lambda b, c, n: min(1.0, 2 * tail(max(b, c), b + c))), "The sum runs up to the larger of b and c; the "
         "uneven end of the distribution is the smaller one."),
        (split(lambda b, c, n: 1 - min(1.0, 2 * tail(min(b, c), b + c))), "This is 1 - p: a small p has to mean "
         "'unlikely by chance'."),
    ]  # fmt: skip
    expect_function(answer, split(lambda b, c, n: min(1.0, 2 * tail(min(b, c), b + c))), cases, mutants=mutants)
    return "Only the rows on which exactly one model is right enter the test."


# --- exercise 4: break it, the adapter that does nothing ------------------------------------------------------------

DIAGNOSES = ("no adapter", "switched off", "empty", "works")


def _toy():
    import torch

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.v_proj = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.v_proj(torch.tanh(self.q_proj(x)))

    return Toy()


def _with_adapter(filled: Sequence[str] = ("q_proj", "v_proj"), off: bool = False):
    """A toy model with an adapter for inference; B is zero except in the named matrices."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(_toy(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).eval().requires_grad_(False)
    for name, value in model.named_parameters():
        if "lora_B" in name and any(part in name for part in filled):
            torch.nn.init.normal_(value)
    if off:
        model.base_model.disable_adapter_layers()
    return model


def _second_is_empty():
    from peft import LoraConfig

    model = _with_adapter()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    model.set_adapter("second")
    return model.requires_grad_(False)


def models_to_diagnose() -> list[tuple[object, str, str]]:
    """Models to diagnose: model, the right diagnosis, and a description."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [
            (_toy().eval(), "no adapter", "the base alone, to which no adapter was loaded"),
            (_with_adapter(), "works", "a working adapter, loaded for inference (nothing in it requires a gradient)"),
            (_with_adapter(off=True), "switched off", "a working adapter after disable_adapter_layers()"),
            (_with_adapter(filled=()), "empty", "an adapter whose B is zero in every matrix"),
            (_with_adapter(filled=("v_proj",)), "works", "an adapter that uses v_proj only; B of q_proj is zero"),
            (
                _second_is_empty(),
                "empty",
                "two adapters: B of 'default' is not zero, but the active one, 'second', is empty",
            ),
        ]


def _state(model: object) -> tuple:
    layers = [m for m in model.modules() if hasattr(m, "lora_B")]  # type: ignore[attr-defined]
    return tuple((layer.disable_adapters, tuple(layer.active_adapters)) for layer in layers)


@check("Break it: the adapter that does nothing")
def diagnose(answer: Callable) -> str:
    """Check ``diagnose(model) -> str`` on six models."""
    if not callable(answer):
        raise Wrong(f"diagnose is a {type(answer).__name__}, but should be a function (without calling it).")
    found = []
    for model, verdict, words in models_to_diagnose():
        before = _state(model)
        try:
            got = answer(model)
        except Exception as error:
            raise Wrong(f"on {words} your function raised {type(error).__name__}: {error}") from error
        if got is None or got is ...:
            raise Wrong(f"on {words} your function returns nothing: is a `return` missing?")
        if _state(model) != before:
            raise Wrong(f"on {words} your function changed which adapter is on; leave the model as you found it.")
        found.append((got, verdict, words))
    for got, _, _ in found:
        if got not in DIAGNOSES:
            raise Wrong(f"{got!r} is none of the diagnoses: {', '.join(DIAGNOSES)}.")
    for got, verdict, words in found:
        if got != verdict:
            raise Wrong(f"one model is {words}. Your answer is {got!r}, but it is {verdict!r}.")
    return "All six models are diagnosed correctly and left unchanged."
