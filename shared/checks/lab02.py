"""The checks of Lab 02, one function per exercise; they live in one module per notebook."""

from __future__ import annotations

from shared.checks.lab02_setup import break_even, encode_pair, largest_bottleneck
from shared.checks.lab02_train import diagnose, fusion_weights, houlsby_weights

__all__ = [
    "break_even", "diagnose", "encode_pair", "fusion_weights", "houlsby_weights", "largest_bottleneck",
]  # fmt: skip
