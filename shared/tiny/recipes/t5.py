"""Fine-tuning recipes of the T5 micro-model; the reference scores measure them.

Rates come from a small sweep, `python -m shared.tiny.sweep billsum METHOD --rates …`, 200 steps of 16, seed 0, ROUGE-L
on 300 validation rows, in %:

============== =======================================================
full           1e-3: 89.9
lora           5e-3: 88.9
houlsby        4e-3: 89.9
ia3            4e-2: 80.9, 8e-2: 86.9
prefix-tuning  3e-2: 65.1, 1e-1: 66.3; through an MLP 3e-3: 61.5, 1e-2: 53.3
prompt-tuning  3e-2: 55.4, 3e-1: 61.2, 1: 56.9
p-tuning       5e-4: 37.9, 2e-3: 45.9, 5e-3: 46.1
============== =======================================================
"""

from __future__ import annotations

from shared.tiny.recipes.setting import Budget, Setting

BUDGET = Budget(steps=200, batch=16, rows=3_200, scored=300)

METHODS = {
    "prompt-tuning": Setting({"method": "prompt-tuning", "num_virtual_tokens": 20}, 3e-1),
    "p-tuning": Setting({"method": "p-tuning", "num_virtual_tokens": 20}, 3e-3),
    "prefix-tuning": Setting({"method": "prefix-tuning", "num_virtual_tokens": 20, "prefix_projection": False,
                              "init_weights": "zero"}, 6e-2),
    "ia3": Setting({"method": "ia3"}, 8e-2),
    "lora": Setting({"method": "lora", "lora_r": 8, "lora_alpha": 32, "target_modules": ["q", "v"]}, 5e-3),
    "houlsby": Setting({"method": "adapter", "kind": "houlsby", "bottleneck": 32}, 4e-3),
    "full": Setting({"method": "full"}, 1e-3),
}  # fmt: skip
