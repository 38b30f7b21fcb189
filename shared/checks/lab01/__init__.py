"""The checks of Lab 01, one function per exercise; they live in one module per notebook."""

from __future__ import annotations

from shared.checks.lab01.inference import diagnose, p_value, pad_left, penalise
from shared.checks.lab01.merge import applied, exports, merge_or_attach, name_the_error, round_bf16
from shared.checks.lab01.setup import broken_model, build_labels, repair, shortest_limit, training_bytes
from shared.checks.lab01.train import bits_per_weight, leaks, lora_weights, same_scale, update_growth

__all__ = [
    "applied", "bits_per_weight", "broken_model", "build_labels", "diagnose", "exports", "leaks", "lora_weights",
    "merge_or_attach", "name_the_error", "p_value", "pad_left", "penalise", "repair", "round_bf16",
    "same_scale", "shortest_limit", "training_bytes", "update_growth",
]  # fmt: skip
