"""Checks for the exercises of Lab-01's 02-Train."""

from __future__ import annotations

import math
from collections.abc import Callable

from shared.checks.core import Wrong, check, expect_function, expect_number

#: (hidden, width of k and v, feed-forward, layers, rank): Llama-2-7B, Mistral-7B, a small one with all sizes different.
_SHAPES = ((4096, 4096, 11008, 32, 16), (4096, 1024, 14336, 32, 8), (96, 32, 160, 3, 5))


def _all_linear(hidden: int, kv: int, ff: int, layers: int, r: int) -> int:
    return layers * r * (2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + ff))


@check("LoRA parameters of a Llama block with grouped-query attention")
def lora_weights(answer: Callable[[int, int, int, int, int], int]) -> str:
    """``answer(hidden, kv, ff, layers, r)`` counts LoRA on all seven linear layers of each block."""

    def square(hidden, kv, ff, layers, r):
        return layers * r * (8 * hidden + 3 * (hidden + ff))

    def one_layer(hidden, kv, ff, layers, r):
        return _all_linear(hidden, kv, ff, 1, r)

    def attention(hidden, kv, ff, layers, r):
        return layers * r * (4 * hidden + 2 * (hidden + kv))

    def two_wide(hidden, kv, ff, layers, r):
        return layers * r * (4 * hidden + 2 * (hidden + kv) + 2 * (hidden + ff))

    def full(hidden, kv, ff, layers, r):
        return layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * ff)

    def product(hidden, kv, ff, layers, r):
        return r * full(hidden, kv, ff, layers, r)

    mutants = [
        (one_layer, "You counted a single block: multiply by the number of layers."),
        (square, "k and v are not square here: with grouped-query attention they map hidden to kv, which is smaller."),
        (attention, "You counted the attention only; gate, up and down of the feed-forward part have adapters too."),
        (two_wide, "The feed-forward part of a Llama has three matrices, not two: gate, up and down."),
        (full, "This counts the frozen matrices themselves; the adapter has r (d_in + d_out) weights for each."),
        (product, "r · d_in · d_out? A and B are two low-rank matrices: r · d_in plus d_out · r."),
    ]
    expect_function(answer, _all_linear, _SHAPES, mutants=mutants)
    return "Llama-2-7B with r = 16: 39,976,960, the number that section 7 counted with torch."


@check("The α that makes LoRA take rsLoRA's scale")
def same_scale(answer: float) -> str:
    """α of plain LoRA at r = 64 with the scale of rsLoRA at α = 16, r = 64."""
    wrong = [
        (16.0, "With the same α the two scales differ: 16/64 against 16/√64."),
        (2.0, "2 is the scale that both must have, α/√r = 16/8. Which α gives α/64 = 2?"),
        (1024.0, "You multiplied by r = 64; the two scales differ by √64 = 8."),
        (16 / 8, "2 is the scale itself; solve α/64 = 2."),
        (0.25, "0.25 is plain LoRA's scale with α = 16. Which α brings it up to rsLoRA's?"),
    ]
    expect_number(answer, 128.0, wrong=wrong, what="α")
    return "128/64 = 16/√64 = 2: at r = 64 rsLoRA is plain LoRA with an α that is eight times as large."


def _bits(block: int, outer: int) -> float:
    return 4 + 8 / block + 32 / (block * outer)


@check("Bits per weight of NF4 with double quantisation")
def bits_per_weight(answer: Callable[[int, int], float]) -> str:
    """``answer(block, outer)``: block of weights that share an 8-bit constant, outer block that shares an fp32 one."""
    mutants = [
        (lambda b, o: 4 + 32 / b, "This is NF4 without double quantisation: an fp32 constant for each block."),
        (lambda b, o: 4 + 8 / b, "The second-level fp32 constants are missing: one for every `outer` of the first."),
        (lambda b, o: 4 + 8 / b + 32 / o, "An outer block holds `outer` constants and each stands for `block` weights: "
         "its fp32 number is shared by block · outer weights."),
        (lambda b, o: 8 / b + 32 / (b * o), "These are the constants alone; the 4-bit codes belong to it as well."),
        (lambda b, o: 4 + 32 / b + 32 / (b * o), "The first-level constants have 8 bits now, not 32."),
        (lambda b, o: _bits(b, o) / 8, "This is bytes per weight; the question is about bits."),
    ]  # fmt: skip
    expect_function(answer, _bits, [(64, 256), (32, 128), (128, 16)], mutants=mutants, rtol=1e-9)
    return f"With 64 and 256 it is {_bits(64, 256):.3f} bits: 16-bit weights shrink to {_bits(64, 256) / 16:.0%}."


def _toy(thaw: Callable[[str], bool]) -> object:
    """A small model with LoRA parts in which ``thaw(name)`` decides what is trainable by mistake."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(4)
            self.proj = nn.Linear(4, 4)
            self.lora_A = nn.Linear(4, 2, bias=False)
            self.lora_B = nn.Linear(2, 4, bias=False)

    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "block": Block(), "lm_head": nn.Linear(4, 5)})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name or thaw(name))
    return model


@check("Break it: which parameters should not be trainable?")
def leaks(answer: Callable[[object], set[str]]) -> str:
    """``answer(model)`` names the trainable parameters that are not LoRA's."""
    plants = {
        "nothing is wrong": lambda name: False,
        "the head trains": lambda name: name.startswith("lm_head"),
        "a LayerNorm trains": lambda name: "norm" in name,
        "the base was never frozen": lambda name: True,
        "a bias trains": lambda name: name == "block.proj.bias",
    }
    found_stub = None
    for story, thaw in plants.items():
        model = _toy(thaw)
        want = {n for n, p in model.named_parameters() if p.requires_grad and "lora_" not in n}
        got = answer(model)
        if got is None or got is ...:
            raise NotImplementedError
        _judge_leaks(got, want, model, story)
        found_stub = got
    return "" if found_stub is None else "This audit takes a millisecond; run it before every training run."


def _judge_leaks(got: object, want: set[str], model: object, story: str) -> None:
    if isinstance(got, str) or not hasattr(got, "__iter__"):
        raise Wrong(f"return a set of parameter names, not {type(got).__name__}.")
    got = set(got)
    if got == want:
        return
    parameters = dict(model.named_parameters())
    if any("lora_" in name for name in got):
        raise Wrong("You report LoRA's own parameters as well; they are meant to be trained.")
    if got and not got <= set(parameters):
        raise Wrong(f"{sorted(got - set(parameters))[0]!r} is no parameter's name: use model.named_parameters().")
    frozen = sorted(name for name in got if not parameters[name].requires_grad)
    if frozen:
        raise Wrong(f"You report {frozen[0]}, which is frozen: look at requires_grad.")
    missed = ", ".join(sorted(want - got))
    raise Wrong(f"In the model where {story} you miss: {missed}. Look at every parameter, not only at some kinds.")


@check("By which factor does the update grow with the rank?")
def update_growth(answer: float) -> str:
    """Factor between the size of BAx at r = 64 and at r = 4 after one Adam step, before any scaling."""
    wrong = [
        (16.0, "The r terms of BAx have random signs, so they grow like √r and not like r."),
        (0.25, "This is the factor after the scale α/r; the question is about BAx before scaling."),
        (1.0, "It is constant only after the rsLoRA scale 1/√r; BAx itself grows."),
        (math.sqrt(64), "√64 compares with r = 1; the question starts at r = 4."),
    ]
    expect_number(answer, 4.0, rel=0.01, wrong=wrong, what="the factor")
    return "√(64/4) = 4: a sum of r terms of equal size and random sign grows like √r."
