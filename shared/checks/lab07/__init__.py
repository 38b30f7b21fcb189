"""The checks of Lab 07: one function for each exercise, one module for each notebook."""

from __future__ import annotations

from shared.checks.lab07.inference import nearest, same_prompt
from shared.checks.lab07.merge import bundle, move_positions, share_a_base
from shared.checks.lab07.setup import longest_prompt, read_answer, usable
from shared.checks.lab07.train import bytes_on_disk, classify, lstm_encoder_weights

__all__ = [
    "bundle", "bytes_on_disk", "classify", "longest_prompt", "lstm_encoder_weights", "move_positions", "nearest",
    "read_answer", "same_prompt", "share_a_base", "usable",
]  # fmt: skip
