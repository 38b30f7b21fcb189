"""Inputs and targets of the T5 micro-model: continuations of documents, and span corruption."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch

from shared.tiny.retellings import BILLS, documents
from shared.tiny.stories import unmark
from shared.tiny.unigram import SENTINELS

if TYPE_CHECKING:
    from shared.tiny.pretrain.t5 import Recipe


IGNORED = -100  # label of a position without loss


def noise_spans(length: int, recipe: Recipe, rng: random.Random) -> list[tuple[int, int]]:
    """Draw the gaps of span corruption as T5 does: lengths are random parts of a fixed total, text lies between.

    Returns:
        (first, after the last) of each gap, in order; no two gaps touch and none begins the text.
    """
    noise = max(1, round(length * recipe.corrupted))
    count = max(1, min(round(noise / recipe.span), SENTINELS, length - noise))
    gaps, kept = _parts(noise, count, rng), _parts(length - noise, count, rng)
    spans, at = [], 0
    for text, gap in zip(kept, gaps, strict=True):
        spans.append((at + text, at + text + gap))
        at += text + gap
    return spans


def _parts(total: int, count: int, rng: random.Random) -> list[int]:
    cuts = sorted(rng.sample(range(1, total), count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def corrupt(ids: list[int], sentinels: list[int], recipe: Recipe, rng: random.Random) -> tuple[list[int], list[int]]:
    """Take spans out of a text.

    Args:
        ids: Tokens of the text, no end token.
        sentinels: Ids of ``<extra_id_0>`` …
        recipe: Share and length of the gaps.
        rng: Where they come from.

    Returns:
        The text with a sentinel in each gap, and sentinels each followed by what stood there; both end with the end
        token.
    """
    source, target, at = [], [], 0
    for number, (first, behind) in enumerate(noise_spans(len(ids), recipe, rng)):
        source += [*ids[at:first], sentinels[number]]
        target += [sentinels[number], *ids[first:behind]]
        at = behind
    return [*source, *ids[at:], 1], [*target, 1]


def encoded(tokenizer, seed: int, shares: dict) -> Iterator[tuple[list[int], list[int], list[bool]]]:
    """Endless documents as tokens of the beginning, of the continuation, and which of the latter begin a marked word.

    Both end with the end token.
    """
    texts = documents(seed, shares)
    while True:
        batch = list(islice(texts, 512))
        later = [unmark(continuation) for _, continuation in batch]
        sources = tokenizer([unmark(beginning)[0] for beginning, _ in batch])["input_ids"]
        targets = tokenizer([text for text, _ in later], return_offsets_mapping=True)
        for source, target, offsets, (_, at) in zip(
            sources, targets["input_ids"], targets["offset_mapping"], later, strict=True
        ):
            marked = set(at)
            yield source, target, [b > a and (a in marked or (b - a > 1 and a + 1 in marked)) for a, b in offsets]


def padded(rows: list[list], length: int, filler) -> torch.Tensor:
    """Rows cut or filled up to one length, [rows, length]."""
    return torch.tensor([row[:length] + [filler] * (length - len(row)) for row in rows])


def continuations(tokenizer, recipe: Recipe, count: int, seed: int, shares: dict):
    """Prefix language modelling: beginnings as inputs, continuations as targets. Too long beginnings are left out.

    Returns:
        Inputs [count, source], labels [count, target] and the marks of the labels.
    """
    fitting = (d for d in encoded(tokenizer, seed, shares) if len(d[0]) <= recipe.source)
    sources, targets, marks = zip(*islice(fitting, count), strict=True)
    return (
        padded(sources, recipe.source, 0),
        padded(targets, recipe.target, IGNORED),
        padded(marks, recipe.target, False),
    )


def gaps(tokenizer, recipe: Recipe, count: int, seed: int, shares: dict):
    """Span corruption of whole documents, each cut to ``source`` tokens.

    Returns:
        Inputs [count, source], labels [count, target] and marks of the labels, none.
    """
    rng = random.Random(seed)
    sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(SENTINELS)]
    texts = islice(encoded(tokenizer, seed, shares), count)
    whole = ((source[:-1] + target[:-1])[: recipe.source] for source, target, _ in texts)
    sources, targets = zip(*(corrupt(ids, sentinels, recipe, rng) for ids in whole), strict=True)
    labels = padded(targets, recipe.target // 3, IGNORED)
    return padded(sources, recipe.source, 0), labels, torch.zeros_like(labels, dtype=torch.bool)


def trimmed(rows: torch.Tensor, filler: int) -> torch.Tensor:
    """The rows without the padding that none of them needs; widths are multiples of 8."""
    used = int((rows != filler).sum(1).max())
    return rows[:, : -(-used // 8) * 8].contiguous()


LISTS = {"echo": 0.15, "pairs": 0.35, "index": 0.3, "bills": 0.2}


def text_at(recipe: Recipe, step: int) -> dict[str, float]:
    """Shares of the sorts of text from which step ``step`` learns, for ``documents``.

    Lists come first: they are densest in what has to be looked up. Bills and stories first reward knowing what sort of
    word comes next.
    """
    return LISTS if step < recipe.lists else BILLS
