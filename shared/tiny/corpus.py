"""Pretraining text: documents in a row, cut into rows of one length, with the words to be retrieved marked."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from shared.tiny.stories import document, unmark
from shared.tiny.world import World

HELD_OUT = 10_000_019  # added to the seed of text that pretraining never sees


def documents(seed: int, dense: float = 0.5, quizzes: float = 0.0) -> Iterator[str]:
    """Endless marked documents of one seed.

    Most begin with a space, so that a name is the same piece at the start as within a line.
    """
    rng = random.Random(seed)
    world = World(rng)
    while True:
        yield (" " if rng.random() < 0.8 else "") + document(world, dense, quizzes)


def rows(
    tokenizer, count: int, length: int, seed: int, dense: float = 0.5, quizzes: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pack documents into rows of equal length.

    Every row begins with a new document, documents are parted by the end token, the last one is cut.

    Args:
        tokenizer: Fast tokenizer with an end token.
        count: Number of rows.
        length: Tokens of a row.
        seed: Seed of the text.
        dense: Share of registers and games.
        quizzes: Share of quizzes.

    Returns:
        Token ids and a mask of the tokens that begin a word which the context determines, both [count, length].
    """
    return pack(tokenizer, documents(seed, dense, quizzes), count, length)


def pack(tokenizer, texts: Iterator[str], count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pack marked documents into rows of equal length, as :func:`rows` does.

    Args:
        tokenizer: Fast tokenizer with an end token.
        texts: Endless marked documents.
        count: Number of rows.
        length: Tokens of a row.

    Returns:
        Token ids and the mask of the tokens that begin a marked word, both [count, length].
    """
    ids, marked = [], []
    while len(ids) < count:
        batch = [unmark(next(texts)) for _ in range(1024)]
        encoded = tokenizer([text for text, _ in batch], return_offsets_mapping=True)
        row, flags = [], []
        for piece, spans, (_, at) in zip(encoded["input_ids"], encoded["offset_mapping"], batch, strict=True):
            starts = set(at)
            row += [*piece, tokenizer.eos_token_id]
            flags += [*(a in starts or (b - a > 1 and a + 1 in starts) for a, b in spans), False]
            if len(row) >= length:
                ids.append(row[:length])
                marked.append(flags[:length])
                row, flags = [], []
    return torch.tensor(ids[:count], dtype=torch.int32), torch.tensor(marked[:count])
