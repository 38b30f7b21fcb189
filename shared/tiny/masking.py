"""Batches for the encoder's pretraining: pairs as pieces, some words masked, contradictions marked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from shared.tiny.pairs import Mix, Pair, Span, pairs

IGNORED = -100


@dataclass(frozen=True)
class MaskedPairs:
    """A batch of pairs, shapes (batch, seq) unless said otherwise.

    Attributes:
        input_ids: Pieces, some of them masked.
        attention_mask: 1 where there is a piece.
        token_type_ids: 0 in the first text, 1 in the second.
        words: Piece to be predicted at masked places, else -100.
        determined: True where a masked word stands in the other text too.
        contradicts: 1 for pieces that contradict what the other text says, 0 for pieces that agree, -100 for pieces of
            which the other text says nothing and for masked ones.
        wanted: 1 for pieces that a mask in the other text stands for, 0 for the rest of the text that has no such mask,
            -100 elsewhere.
        unrelated: 1 if the texts were written about different things, shape (batch,).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor
    words: torch.Tensor
    determined: torch.Tensor
    contradicts: torch.Tensor
    wanted: torch.Tensor
    unrelated: torch.Tensor

    def inputs(self) -> dict[str, torch.Tensor]:
        """What the model takes."""
        return {name: getattr(self, name) for name in ("input_ids", "attention_mask", "token_type_ids")}


def batches(
    tokenizer, count: int, size: int, seed: int, mix: Mix, masked: float, looked_up: float, lengths: Sequence[int]
) -> list[MaskedPairs]:
    """Make batches of pairs of similar length.

    Args:
        tokenizer: The encoder's tokenizer.
        count: Number of batches.
        size: Pairs of a batch.
        seed: Seed of the text and the masks.
        mix: Shares of the sorts of pair.
        masked: Share of ordinary words that are masked.
        looked_up: Share of words that the other text says too which are masked in one of the two; changed ones never
            are, since they can't be known.
        lengths: Sequence lengths [tokens] to which batches are padded, rising; longer pairs are cut to the last.
    """
    rng = random.Random(f"masks {seed}")
    drawn = list(islice(pairs(seed, mix), count * size))
    encoded = tokenizer([p.a for p in drawn], [p.b for p in drawn], return_offsets_mapping=True)
    order = sorted(range(len(drawn)), key=lambda i: len(encoded["input_ids"][i]) + rng.random() * 6)
    chunks = [order[at : at + size] for at in range(0, len(order), size)]
    rng.shuffle(chunks)
    made = []
    for chunk in chunks:
        longest = max(len(encoded["input_ids"][i]) for i in chunk)
        length = next((one for one in lengths if one >= longest), lengths[-1])
        rows = [_row(encoded, i, drawn[i], length, tokenizer, rng, masked, looked_up) for i in chunk]
        columns = [torch.tensor(column) for column in zip(*rows, strict=True)]
        made.append(MaskedPairs(*columns, torch.tensor([int(not drawn[i].related) for i in chunk])))
    return made


def _row(encoded, index: int, pair: Pair, length: int, tokenizer, rng, masked: float, looked_up: float) -> list[list]:
    ids = encoded["input_ids"][index][:length]
    sides, places = encoded.sequence_ids(index)[:length], encoded["offset_mapping"][index][:length]
    kinds = encoded["token_type_ids"][index][:length]
    spans = [_span_of(side, place, pair) for side, place in zip(sides, places, strict=True)]
    words, seen = [IGNORED] * len(ids), list(ids)
    asking = _asking(pair, rng)
    hidden = {span: rng.random() < looked_up for span in (pair.spans_a, pair.spans_b)[asking] if not span[2]}
    for pieces in _words(encoded.word_ids(index)[:length], sides):
        span = spans[pieces[0]]
        if not (rng.random() < masked if span is None else sides[pieces[0]] == asking and hidden.get(span, False)):
            continue
        luck = rng.random()
        for piece in pieces:
            words[piece] = ids[piece]
            if luck < 0.9:
                seen[piece] = tokenizer.mask_token_id if luck < 0.8 else rng.randrange(5, len(tokenizer))
    contradicts = [
        IGNORED if span is None or word != IGNORED else int(span[2]) for span, word in zip(spans, words, strict=True)
    ]
    texts = (pair.spans_a, pair.spans_b)
    answers = {other for other, span in zip(texts[1 - asking], texts[asking], strict=False) if hidden.get(span, False)}
    wanted = [
        int(span in answers) if side == 1 - asking and texts[1 - asking] and word == IGNORED else IGNORED
        for side, span, word in zip(sides, spans, words, strict=True)
    ]
    determined = [word != IGNORED and span is not None for word, span in zip(words, spans, strict=True)]
    filled = [
        (seen, tokenizer.pad_token_id), ([1] * len(ids), 0), (kinds, 0), (words, IGNORED), (determined, False),
        (contradicts, IGNORED), (wanted, IGNORED),
    ]  # fmt: skip
    return [column + [rest] * (length - len(ids)) for column, rest in filled]


def _asking(pair: Pair, rng: random.Random) -> int:
    """In which text (0 or 1) words are hidden that the other one determines.

    In one only, or nothing could be looked up; and whole stretches of it, or what is left would give the rest away.
    """
    if not pair.spans_a or not pair.spans_b:
        return int(bool(pair.spans_b))
    return rng.randrange(2)


def _span_of(side: int | None, place: tuple[int, int], pair: Pair) -> Span | None:
    if side is None:
        return None
    spans = (pair.spans_a, pair.spans_b)[side]
    return next((span for span in spans if span[0] <= place[0] < span[1]), None)


def _words(word_ids: list[int | None], sides: list[int | None]) -> Iterator[list[int]]:
    """Pieces that make up a word."""
    pieces: list[int] = []
    for at, (word, side) in enumerate(zip(word_ids, sides, strict=True)):
        if pieces and (word, side) != (word_ids[pieces[0]], sides[pieces[0]]):
            yield pieces
            pieces = []
        if side is not None:
            pieces.append(at)
    if pieces:
        yield pieces
