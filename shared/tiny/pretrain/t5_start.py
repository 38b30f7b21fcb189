"""First values of the T5 micro-model: small matrices, heads that look at neighbours and look words up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import T5ForConditionalGeneration

if TYPE_CHECKING:
    from shared.tiny.pretrain.t5 import Recipe


@torch.no_grad()
def start_small(model: T5ForConditionalGeneration, recipe: Recipe) -> None:
    """Start the embeddings with one spread and all other matrices with a smaller one.

    T5 starts its embeddings with 1, made smaller before the head, and leaves attention scores undivided. So queries
    start, as T5's do, smaller by the root of the head's width, and the last norm makes up for smaller embeddings.
    """
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "relative" not in name:
            share = {"q": recipe.head**-0.5, "o": recipe.quiet, "wo": recipe.quiet}.get(name.split(".")[-2], 1.0)
            weight.normal_(0.0, recipe.spread * share)
    model.shared.weight.normal_(0.0, recipe.embedded)
    model.decoder.final_layer_norm.weight.fill_(1 / recipe.embedded)


@torch.no_grad()
def point_to_neighbours(model: T5ForConditionalGeneration, sharp: float) -> None:
    """Start two heads of each stack on a neighbouring token and one on its surroundings; the others stay free.

    T5's relative biases [buckets, heads] start near 0 and move no faster than the learning rate: after 500 steps none
    of the encoder's was above 0.3. Yet all looking up rests on binding a word to the one beside it.
    """
    buckets = model.config.relative_attention_num_buckets // 2  # of each direction in the encoder
    starts = (
        (model.encoder, {0: [1], 1: [buckets + 1], 2: [2], 3: [0, 1, 2, 3, *range(buckets + 1, buckets + 4)]}),
        (model.decoder, {0: [1], 1: [2], 2: [0, 1, 2, 3, 4, 5]}),
    )
    for stack, heads in starts:
        bias = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        for head, pointed in heads.items():
            bias[pointed, head] += sharp / (1 if len(pointed) == 1 else 2)


BEFORE, FAR = 3, 2  # quarters of the hidden state that hold the token before and the one before that


@torch.no_grad()
def start_looking_up(model: T5ForConditionalGeneration, recipe: Recipe) -> None:
    """Let the heads on neighbours pass on the token there, and cross-attention look for the same word.

    A word is found again in three steps: the encoder writes beside each token the one before it, the decoder's last
    token looks for a place with that token before it, and writes down what stands there. A second pair of heads does so
    one token further, as for the value in "Ann: Rome" when the reader stands at the colon. As in
    ``shared.tiny.pretrain.gpt2.start_with_order``, these are initial values and are trained.
    """
    size = recipe.head
    at, token = torch.arange(size), torch.arange(size)
    before, far = at + BEFORE * size, at + FAR * size
    model.shared.weight[:, before] = 0.0  # the identity of a word does not change what is before it
    encoder, decoder = model.encoder.block[0].layer[0].SelfAttention, model.decoder.block[0].layer[0].SelfAttention
    _hand_on(encoder, 0, token, before, recipe)
    _hand_on(encoder, 2, token, far, recipe)
    _hand_on(decoder, 0, token, before, recipe)
    for block in model.decoder.block[1:]:
        cross = block.layer[1].EncDecAttention
        _look_up(cross, 0, token, before, recipe)
        _look_up(cross, 1, before, far, recipe)


def _hand_on(attention: torch.nn.Module, head: int, token: torch.Tensor, to: torch.Tensor, recipe: Recipe) -> None:
    """Head ``head`` attends by position alone and copies the quarter ``token`` of what stands there to ``to``."""
    rows = torch.arange(recipe.head) + head * recipe.head
    attention.q.weight[rows] *= 0.1
    attention.v.weight[rows] = 0.0
    attention.v.weight[rows, token] = 1.0
    attention.o.weight[:, rows] = 0.0
    attention.o.weight[to, rows] = recipe.handed


def _look_up(attention: torch.nn.Module, head: int, asked: torch.Tensor, found: torch.Tensor, recipe: Recipe) -> None:
    """Head ``head`` attends where the quarter ``found`` resembles its own quarter ``asked`` and copies that token."""
    rows = torch.arange(recipe.head) + head * recipe.head
    attention.q.weight[rows] = attention.k.weight[rows] = 0.0
    attention.q.weight[rows, asked] = recipe.match
    attention.k.weight[rows, found] = 1.0
    attention.v.weight[rows] = attention.v.weight[rows].normal_(0, recipe.fetch)
    attention.v.weight[rows[:, None], found] = 0.0
    attention.o.weight[:, rows] = attention.v.weight[rows].T
