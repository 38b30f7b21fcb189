"""Fine-tuning recipes of the BERT micro-model."""

from __future__ import annotations

from shared.tiny.recipes.setting import Budget, Setting

BUDGET = Budget(steps=400, batch=16, rows=6_000, scored=600)
HEAD = 2e-3
LORA = {"method": "lora", "lora_r": 8, "lora_alpha": 32, "target_modules": ["query", "value"]}
METHODS = {
    "head": Setting({"method": "head"}, 1e-2),
    "prompt-tuning": Setting({"method": "prompt-tuning", "num_virtual_tokens": 20}, 5e-2, HEAD),
    "p-tuning": Setting({"method": "p-tuning", "num_virtual_tokens": 20}, 3e-3, HEAD),
    "ia3": Setting({"method": "ia3"}, 3e-2, HEAD),
    "bitfit": Setting({"method": "bitfit"}, 1e-2, HEAD),
    "p-tuning-v2": Setting({"method": "p-tuning-v2", "num_virtual_tokens": 20}, 2e-2, HEAD),
    "lora": Setting(
        {"method": "lora", "lora_r": 8, "lora_alpha": 32, "target_modules": ["query", "value"]}, 5e-3, HEAD
    ),
    "pfeiffer": Setting({"method": "adapter", "kind": "pfeiffer", "bottleneck": 16}, 5e-3, HEAD),
    "houlsby": Setting({"method": "adapter", "kind": "houlsby", "bottleneck": 16}, 5e-3, HEAD),
    "full": Setting({"method": "full"}, 1e-3),
}
