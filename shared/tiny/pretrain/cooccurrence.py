"""Word vectors from counts: what stands together in a text, as positive pointwise mutual information, factorised.

Words of one sort, and of one side (praise, blame), get vectors that resemble one another (Levy and Goldberg, 2014,
"Neural word embedding as implicit matrix factorization"). An encoder that starts from random vectors has to find the
two sides of its adjectives through an attention that does not know yet where to look, and stays at chance for more text
than there is time for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def word_vectors(rows: Sequence[Sequence[int]], vocab_size: int, size: int, special: int) -> torch.Tensor:
    """Vectors of pieces by the rows in which they stand together.

    Args:
        rows: Piece numbers of each text.
        vocab_size: Number of pieces.
        size: Length of a vector.
        special: Pieces below this number are special ones and get zeros.

    Returns:
        Vectors of length 1 (or 0, for pieces that never occur), shape (vocab_size, size).
    """
    counts = torch.zeros(vocab_size, vocab_size)
    for row in rows:
        pieces = torch.tensor(sorted({piece for piece in row if piece >= special}))
        counts[pieces[:, None], pieces[None, :]] += 1
    counts.fill_diagonal_(0)
    total, each = counts.sum(), counts.sum(1)
    expected = each[:, None] * each[None, :] / total
    information = torch.where(counts > 0, (counts / expected.clamp(min=1e-9)).log(), torch.zeros(())).clamp(min=0)
    left, strength, _ = torch.linalg.svd(information)
    vectors = left[:, :size] * strength[:size].sqrt()
    return torch.nn.functional.normalize(vectors, dim=1)
