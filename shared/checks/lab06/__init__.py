"""The checks of Lab 06, one function per exercise; they live in one module per notebook."""

from __future__ import annotations

from shared.checks.lab06.inference import paired_difference, surest_errors
from shared.checks.lab06.merge import apply_once, mixed_linear, xor_delta
from shared.checks.lab06.setup import bias_names, gpt2_biases, state_bytes
from shared.checks.lab06.train import audit, key_bonus, layernorm_gradients

__all__ = [
    "apply_once", "audit", "bias_names", "gpt2_biases", "key_bonus", "layernorm_gradients", "mixed_linear",
    "paired_difference", "state_bytes", "surest_errors", "xor_delta",
]  # fmt: skip
