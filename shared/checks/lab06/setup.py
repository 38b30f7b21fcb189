"""Checks for the exercises of Lab-06's 01-Setup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function, expect_type

#: (layers, d, d_ff): GPT-2, GPT-2 medium, and one whose sizes have no simple ratio.
_SIZES = ((12, 768, 3072), (24, 1024, 4096), (3, 40, 70))


def _look_alikes() -> tuple[Any, tuple[str, ...]]:
    """A small model with a head, and with names that only look like biases or like the head."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Linear(4, 4)
            self.q_bias = nn.Parameter(torch.zeros(4))
            self.relative_attention_bias = nn.Embedding(8, 2)
            self.norm = nn.LayerNorm(4)
            self.bare = nn.Linear(4, 4, bias=False)
            self.debias = nn.ParameterDict({"unbias": nn.Parameter(nn.Linear(4, 4).weight.detach())})

    model = nn.ModuleDict({"block": Block(), "classifier_norm": nn.LayerNorm(4), "classifier": nn.Linear(4, 2)})
    return model, ("classifier",)


@check("Choose the bias terms by name")
def bias_names(answer: Callable[[Any, tuple[str, ...]], list[str]]) -> str:
    """``answer(model, head)`` names all bias terms outside the head."""
    model, head = _look_alikes()
    got = answer(model, head)
    if got is None or got is ...:
        raise Unanswered
    expect_type(got, (list, tuple, set), "what your function returns")
    every = [name for name, _ in model.named_parameters()]
    _check_names(list(got), every)
    return "Two LayerNorms, a query and a q_bias: four bias terms, and no parameter that only looks like one."


def _check_names(got: list[str], every: list[str]) -> None:
    if unknown := [name for name in got if name not in every]:
        raise Wrong(f"{unknown[0]!r} is no parameter's name; return names as model.named_parameters() gives them.")
    if "block.relative_attention_bias.weight" in got:
        raise Wrong("relative_attention_bias.weight is a table of T5 that has 'bias' only in its module's name.")
    if "block.debias.unbias" in got:
        raise Wrong("debias.unbias: its last part ends in 'bias', but is neither 'bias' nor 'something_bias'.")
    if "classifier.bias" in got:
        raise Wrong("classifier.bias belongs to the head, which trains anyway; leave it out.")
    if weights := [name for name in got if name.endswith("weight")]:
        raise Wrong(f"{weights[0]} is a weight; BitFit leaves it frozen, LayerNorm's too.")
    if "classifier_norm.bias" not in got:
        raise Wrong("classifier_norm.bias is missing: its module's name begins like the head's, but is another module.")
    if missing := sorted({"block.query.bias", "block.norm.bias"} - set(got)):
        raise Wrong(f"{missing[0]} is missing: LayerNorms and linear layers both have a bias.")
    if "block.q_bias" not in got:
        raise Wrong("block.q_bias is missing: DeBERTa names its query's bias like this, with an underscore.")


def _gpt2(layers: int, d: int, d_ff: int) -> int:
    return layers * (7 * d + d_ff) + d


@check("The biases of a GPT-2")
def gpt2_biases(answer: Callable[[int, int, int], int]) -> str:
    """``answer(layers, d, d_ff)`` counts all bias entries of a GPT-2."""
    mutants = [
        (lambda n, d, f: n * (7 * d + f) + 2 * d,
         "This is BERT's formula: a GPT-2 has no pooler and no LayerNorm at the "
         "embeddings, but one LayerNorm after the last block."),
        (lambda n, d, f: n * (7 * d + f), "The LayerNorm after the last block is missing."),
        (lambda n, d, f: n * (5 * d + f) + d,
         "The fused attention layer has 3 d outputs, so its bias has 3 d entries."),
        (lambda n, d, f: n * (5 * d + f),
         "The fused attention layer has 3 d outputs, and the last LayerNorm is missing."),
        (lambda n, d, f: n * (6 * d + f) + d, "A block has two LayerNorms with d entries each."),
        (lambda n, d, f: n * (9 * d + f) + d, "A LayerNorm's scale γ is no bias: only its shift β counts."),
        (lambda n, d, f: n * (6 * d + 2 * f) + d,
         "The feed-forward part goes back to d: its second bias has d entries."),
        (lambda n, d, f: n * (4 * d * d + 2 * d * f), "You counted the weights."),
    ]  # fmt: skip
    expect_function(answer, _gpt2, _SIZES, mutants=mutants)
    return f"GPT-2 has {_gpt2(12, 768, 3072):,}: 768 fewer than BERT-base, which has 2 d outside its layers."


@check("Bytes of the model states")
def state_bytes(answer: Callable[[int, int], int]) -> str:
    """``answer(total, trained)``: bytes of parameters, gradients and Adam's running means in float32."""
    mutants = [
        (lambda t, n: 16 * t, "This is full fine-tuning: only trainable parameters have gradients and running means."),
        (lambda t, n: 16 * n,
         "The frozen parameters are missing: the forward pass needs them, so they are in memory."),
        (lambda t, n: 4 * t + 8 * n, "The gradients are missing: 4 bytes for each trainable parameter."),
        (lambda t, n: 4 * t + 4 * n, "Adam keeps two running means for each trainable parameter, 8 bytes."),
        (lambda t, n: 4 * t + 16 * n,
         "The values of the trainable parameters are counted twice: the total includes them."),
        (lambda t, n: 2 * t + 12 * n, "A float32 has 4 bytes."),
        (lambda t, n: 4 * (t - n) + 12 * n, "The trainable parameters themselves are missing."),
    ]  # fmt: skip
    expect_function(answer, lambda t, n: 4 * t + 12 * n, [(1000, 10), (109_482_240, 102_912), (7, 7)], mutants=mutants)
    return "On BERT-base 439 MB instead of 1,752 MB: three quarters were gradients and running means."
