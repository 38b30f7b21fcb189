"""A structured start for the encoder: heads that already look at neighbours and at the same word in the other text.

Looking something up across two texts takes three steps: bind a word to its neighbour, find the same word in the other
text, fetch what stands beside it. From a random start each is learnt only after the one before, and with positions that
are learnt too it takes more text than an hour on two cores allows. So some heads start where training would bring them
anyway, in the spirit of mimetic initialisation (Trockman and Kolter, 2023, arXiv:2305.09828): positions as sinusoids,
on which a shift is a rotation; two heads of the first layer one step to the left and to the right; and in each layer
heads whose queries equal their keys, so that like attends to like, with a bonus for the other text. Everything stays
trainable and has the architecture's usual form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import BertPreTrainedModel


@dataclass(frozen=True)
class Start:
    """Sizes of the structured start.

    Attributes:
        words: Standard deviation of the word embeddings.
        meaning: Share of a word embedding's length that its company decides; the rest is random and tells words of one
            sort apart.
        positions: Length of a sine or cosine in the position embeddings.
        texts: Length of the two token-type embeddings, which point in opposite directions.
        sharp: How sharply a neighbour head looks.
        like: Standard deviation of the queries (and keys) of the heads for like words.
        other: Bonus of those heads for the other text.
        fetch: Standard deviation of their values and, transposed, of their part of the output.
    """

    words: float = 0.15
    meaning: float = 0.6
    positions: float = 0.25
    texts: float = 0.8
    sharp: float = 1.0
    like: float = 0.09
    other: float = 1.2
    fetch: float = 0.12


@torch.no_grad()
def structured_start(model: BertPreTrainedModel, start: Start, vectors: torch.Tensor | None = None) -> None:
    """Set embeddings and some heads of a freshly initialised BERT; seeded by torch's generator.

    Args:
        model: A BERT with at least four heads and a head size of which twice the half gives sines and cosines.
        start: The sizes.
        vectors: Vectors of length 1 for the words, from :mod:`shared.tiny.pretrain.cooccurrence`, (vocab, hidden);
            by default the embeddings are random.
    """
    bert = model.base_model
    config, size = bert.config, bert.config.hidden_size // bert.config.num_attention_heads
    directions = torch.linalg.qr(torch.randn(config.hidden_size, size + 1))[0]
    places, text = directions[:, :size], directions[:, size]
    turns = torch.exp(torch.linspace(math.log(1.5), math.log(0.02), size // 2))  # radians for a step
    angles = torch.arange(config.max_position_embeddings).float()[:, None] * turns
    embeddings = bert.embeddings
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    embeddings.position_embeddings.weight.copy_(start.positions * waves @ places.T)
    embeddings.token_type_embeddings.weight.copy_(start.texts * torch.stack([text, -text]))
    words = embeddings.word_embeddings.weight
    words.normal_(0, start.words)
    if vectors is not None:
        length = start.words * config.hidden_size**0.5
        words.mul_((1 - start.meaning**2) ** 0.5).add_(vectors * start.meaning * length)
    words -= words @ directions @ directions.T  # what a word is does not disturb where it stands

    attention = bert.encoder.layer[0].attention.self
    for head, (shift, share) in enumerate(((-1, 1.0), (1, 1.0), (0, 0.35))):
        rows = slice(size * head, size * (head + 1))
        attention.key.weight[rows] = start.sharp * share * places.T
        attention.query.weight[rows] = start.sharp * share * _turn(turns * shift) @ places.T
    for number, layer in enumerate(bert.encoder.layer):
        for head in (3,) if number == 0 else (0, 1):
            _like_to_like(layer.attention, slice(size * head, size * (head + 1)), text, start)


def _turn(angles: torch.Tensor) -> torch.Tensor:
    """Matrix that turns (sines, cosines) of a place into those of a place some steps further, [2n, 2n]."""
    cosines, sines = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat([torch.cat([cosines, sines], dim=1), torch.cat([-sines, cosines], dim=1)])


def _like_to_like(attention: torch.nn.Module, rows: slice, text: torch.Tensor, start: Start) -> None:
    query, key, value = (getattr(attention.self, name).weight for name in ("query", "key", "value"))
    query[rows].normal_(0, start.like)
    key[rows] = query[rows]
    query[rows.start] = start.other * text
    key[rows.start] = -start.other * text  # the two texts' embeddings are opposite, so their product is positive
    value[rows].normal_(0, start.fetch)
    attention.output.dense.weight[:, rows] = value[rows].T
