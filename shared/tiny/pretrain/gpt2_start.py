"""First values of the GPT-2 micro-model: positions as waves, attention heads that look back."""

from __future__ import annotations

import torch
from transformers import GPT2LMHeadModel

WORD_SPREAD, MEANING = 0.15, 0.6  # of the embeddings: standard deviation, share of the length that company decides
POSITIONS, SHARP = 0.25, 1.5  # length of a wave, sharpness of the heads that look back
FETCH = 0.1  # standard deviation of the values that the second layer writes down


@torch.no_grad()
def start_with_order(model: GPT2LMHeadModel, vectors: torch.Tensor | None = None) -> None:
    """Initialise words from their neighbours, positions as waves, and some heads for copying.

    In the spirit of mimetic initialisation (Trockman and Kolter, 2023, arXiv:2305.09828).

    These are initial values and are trained like all others. From random ones, attending to earlier tokens has to be
    learnt for each of the 256 positions, and retrieving a word depends on it: runs from random values hardly learnt to
    copy.
    So heads 0 and 1 of the first layer look one and two tokens back and pass on a part of the token there. Head 0 of
    the second layer looks for a token that came after one like the present; head 1 for one that came two after one like
    the one before, as the value in "Ann: Rome" when the reader stands at the colon. They write down what they
    see, which makes that token likelier.

    Args:
        model: A new model.
        vectors: Vectors of length 1 for the pieces, [vocabulary, width]; by default the embeddings are random.
    """
    count, width = model.transformer.wpe.weight.shape
    size = width // model.config.n_head
    at, half = torch.arange(size), size // 2
    waves, token, before, far = (at + part * size for part in range(4))  # what each quarter of the hidden state holds
    speed = torch.pi * torch.logspace(0, -3.5, half, base=2)  # radians a position
    angles = torch.arange(count)[:, None] * speed
    model.transformer.wpe.weight.zero_()
    model.transformer.wpe.weight[:, waves] = POSITIONS * torch.cat([angles.sin(), angles.cos()], -1)
    words = model.transformer.wte.weight.normal_(0, WORD_SPREAD)
    if vectors is not None:
        words.mul_((1 - MEANING**2) ** 0.5).add_(vectors * MEANING * WORD_SPREAD * width**0.5)
    words[:, waves] = 0.0  # the identity of a word does not change its position
    first, second = model.transformer.h[0].attn, model.transformer.h[1].attn
    for head, (written, asked, found, sharp) in enumerate(((before, token, before, 3.0), (far, before, far, 1.5))):
        query, key, value = (at + part * width + head * size for part in range(3))
        for matrix in (first.c_attn.weight, second.c_attn.weight):
            matrix[:, query] = matrix[:, key] = 0.0
        turn = torch.eye(size)
        turn[range(size), range(size)] = (speed * (head + 1)).cos().repeat(2)
        turn[range(half), range(half, size)] = (speed * (head + 1)).sin()
        turn[range(half, size), range(half)] = -(speed * (head + 1)).sin()
        first.c_attn.weight[waves[:, None], query] = SHARP * turn
        first.c_attn.weight[waves, key] = SHARP
        first.c_attn.weight[:, value] = 0.0
        first.c_attn.weight[token, value] = 1.0
        first.c_proj.weight[at + head * size] = 0.0
        first.c_proj.weight[at + head * size, written] = 0.25
        second.c_attn.weight[asked, query], second.c_attn.weight[found, key] = sharp, 1.0
        fetched = second.c_attn.weight[:, value].normal_(0, FETCH)
        fetched[waves] = 0.0
        second.c_attn.weight[:, value] = fetched
        second.c_proj.weight[at + head * size] = fetched.T  # so that the attended token is copied unchanged
    model.transformer.h[0].mlp.c_proj.weight.mul_(
        0.2
    )  # smaller, so that it does not hide what the first layer passes on
