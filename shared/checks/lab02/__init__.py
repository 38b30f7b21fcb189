"""The checks of Lab 02, one function per exercise; they live in one module per notebook."""

from __future__ import annotations

from shared.checks.lab02.inference import average, inspect, route
from shared.checks.lab02.merge import fold, mergeable
from shared.checks.lab02.setup import break_even, encode_pair, largest_bottleneck
from shared.checks.lab02.train import diagnose, fusion_weights, houlsby_weights

__all__ = [
    "average", "break_even", "diagnose", "encode_pair", "fold", "fusion_weights", "houlsby_weights", "inspect",
    "largest_bottleneck", "mergeable", "route",
]  # fmt: skip
