"""Padding-free batches on a CPU, where padding costs as much as text.

The rows are concatenated, each with its own positions, and attention is computed for each row separately, so that the
result for each token is the same. TRL's ``padding_free`` does this on GPUs with FlashAttention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from shared.finetune.tasks.batches import IGNORED

NAME = "peft_labs_rows"
CALL = 1e7  # multiplications in the time of one more call, forward and backward: a tenth of a millisecond
# Decoders that pass positions and further arguments on to attention (GPT-2 does not);
# tests/finetune/training/test_padding_free.py compares each of them
KNOWN = ("llama", "mistral", "qwen2", "qwen3")


def supports_padding_free(model: Any) -> bool:
    """Whether a model gives the same results without padding: a known decoder on a CPU with full attention.

    Checkpointed layers are computed again during the backward pass, when :func:`per_row_attention` has ended.

    Args:
        model: The model, with or without peft's adapters around it.
    """
    about = model.config
    window = getattr(about, "sliding_window", None) if getattr(about, "use_sliding_window", True) else None
    plain = model.device.type == "cpu" and getattr(about, "_attn_implementation", None) == "sdpa"
    return plain and about.model_type in KNOWN and not window and not model.is_gradient_checkpointing


def padding_free_pays_off(mask: torch.Tensor, hidden: int) -> bool:
    """Whether the saved padding outweighs the cost of calling attention row by row.

    A layer has about 12·d² multiplications for each token; a call of attention costs about as much as :data:`CALL`.

    Args:
        mask: Of the padded batch, (batch, seq).
        hidden: The hidden size d.
    """
    padding = mask.numel() - int(mask.sum())
    return padding * 12 * hidden**2 > mask.shape[0] * CALL


def without_padding(inputs: dict[str, Any]) -> dict[str, Any]:
    """A padded batch as one row without padding.

    Args:
        inputs: ``input_ids``, ``attention_mask`` and ``labels``, each (batch, seq), padded on either side.

    Returns:
        ``input_ids``, ``position_ids`` and ``labels``, each (1, tokens), and ``row_lengths``, for
        :func:`per_row_attention`. The first token of each row has the label -100, since the token before it belongs to
        another row.
    """
    real = inputs["attention_mask"].bool()
    positions = (real.cumsum(1) - 1)[real]
    return {
        "input_ids": inputs["input_ids"][real][None],
        "position_ids": positions[None],
        "labels": inputs["labels"][real].masked_fill(positions == 0, IGNORED)[None],
        "row_lengths": [length for length in real.sum(1).tolist() if length],
    }


def _each_row(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    row_lengths: Sequence[int] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """torch's causal attention, row by row: (1, heads, tokens, d) -> (1, tokens, heads, d)."""
    parts = (part.split(list(row_lengths), dim=2) for part in (query, key, value))
    kwargs["is_causal"] = True
    rows = [sdpa_attention_forward(module, *row, None, **kwargs)[0] for row in zip(*parts, strict=True)]
    return torch.cat(rows, dim=1), None


AttentionInterface.register(NAME, _each_row)


@contextmanager
def per_row_attention(config: Any) -> Iterator[None]:
    """Let a model attend within each of ``row_lengths`` while the block lasts; evaluation and generation are as ever.

    Args:
        config: The model's configuration, which all its layers share.
    """
    before, config._attn_implementation = config._attn_implementation, NAME
    try:
        yield
    finally:
        config._attn_implementation = before
