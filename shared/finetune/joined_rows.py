"""A padded batch as one row without padding: on a CPU padding costs as much as text.

The rows are laid end to end, each with positions of its own and a mask that lets it see itself only. What is computed
for each token is the same; TRL's ``padding_free`` does this on GPUs, where FlashAttention needs no mask.
"""

from __future__ import annotations

from typing import Any

import torch

# Decoders that take positions and a mask of four dimensions; tests/test_joined_rows.py compares each with padded rows
KNOWN = ("llama", "mistral", "qwen2", "qwen3", "gpt2")


def can_join(model: Any) -> bool:
    """Whether a model computes the same for joined rows: a known decoder on a CPU, with a mask it takes as it is.

    Args:
        model: The model, with or without peft's adapters around it.
    """
    about = model.config
    window = getattr(about, "sliding_window", None) if getattr(about, "use_sliding_window", True) else None
    attention = getattr(about, "_attn_implementation", None)
    return (
        model.device.type == "cpu"
        and about.model_type in KNOWN
        and attention in ("sdpa", "eager")
        and not window  # the mask of a window would have to be built here as well
    )


def worth_joining(mask: torch.Tensor, hidden: int) -> bool:
    """Whether joined rows are less work than padded ones.

    A layer has about 12·d² multiplications for each token in its matrices, and 2·d for each pair of tokens in its
    attention. Joining saves the tokens of padding and pays for pairs of tokens of different rows, which are masked.

    Args:
        mask: Of the padded batch, (batch, seq).
        hidden: The hidden size d.
    """
    rows, length = mask.shape
    tokens = int(mask.sum())
    padded = rows * length * 12 * hidden**2 + rows * length**2 * 2 * hidden
    return tokens * 12 * hidden**2 + tokens**2 * 2 * hidden < padded


def joined(inputs: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """A padded batch as one row.

    Args:
        inputs: ``input_ids``, ``attention_mask`` and ``labels``, each (batch, seq), padded on either side.
        dtype: Number format of the additive mask.

    Returns:
        ``input_ids``, ``position_ids`` and ``labels``, each (1, tokens), and ``attention_mask`` (1, 1, tokens, tokens):
        0 where a token may look, the lowest number of the format elsewhere. The first token of each row has the label
        -100, since the token before it belongs to another row.
    """
    real = inputs["attention_mask"].bool()
    row, _ = real.nonzero(as_tuple=True)
    positions = (real.cumsum(1) - 1)[real]
    same = row[:, None] == row[None, :]
    sees = same & (positions[:, None] >= positions[None, :])
    mask = torch.zeros(sees.shape, dtype=dtype, device=real.device).masked_fill(~sees, torch.finfo(dtype).min)
    labels = inputs["labels"][real].masked_fill(positions == 0, -100)
    return {
        "input_ids": inputs["input_ids"][real][None],
        "position_ids": positions[None],
        "attention_mask": mask[None, None],
        "labels": labels[None],
    }
