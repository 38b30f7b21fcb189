"""Fine-tuning recipes of the BERT micro-model: what the gates measure and the encoder labs' ``tiny`` profile repeats.

Rates come from a small sweep, `python -m shared.tiny.sweep TASK METHOD --rates …`, 300 steps of 16, seed 0, scored on
the 600 validation rows (score in %, the rate before it):

============== ==================================================================================================
full           mrpc 3e-4: 94.8, 5e-4: 94.2; sst2 5e-4: 97.8, 1e-3: 96.7; squad 5e-4: 95.0; conll2003 5e-4: 98.4
head           mrpc 3e-3: 67.0; sst2 1e-2: 60.8; squad 1e-2: 34.3; conll2003 1e-2: 70.5
lora           mrpc 1e-3: 94.8, 3e-3: 95.2; sst2 3e-3: 97.0; conll2003 3e-3: 96.0; squad 3e-3: 87.7, 6e-3: 44.5
bitfit         mrpc 3e-3: 87.2; sst2 7e-3: 95.0; squad 5e-3: 55.3, 1e-2: 59.2
ia3            squad 2e-2: 72.2, 5e-2: 78.2
p-tuning-v2    mrpc 3e-2: 86.8; squad 1e-2: 39.7, 3e-2: 54.3
pfeiffer       squad 3e-3, m = 16: 58.2
prompt-tuning  sst2 3e-2: 90.5
p-tuning       mrpc 5e-4: 73.7, 2e-3: 70.3
============== ==================================================================================================

"""

from __future__ import annotations

from shared.tiny.recipes.setting import Budget, Setting

BUDGET = Budget(steps=300, batch=16, rows=6_000, scored=600)
HEAD = 2e-3  # the head's own rate, since it starts at random whatever the method
LORA = {"method": "lora", "lora_r": 8, "lora_alpha": 32, "target_modules": ["query", "value"]}

METHODS = {
    "head": Setting({"method": "head"}, 5e-3),
    "prompt-tuning": Setting({"method": "prompt-tuning", "num_virtual_tokens": 20}, 3e-2, HEAD),
    "p-tuning": Setting({"method": "p-tuning", "num_virtual_tokens": 20}, 5e-4, HEAD),
    "bitfit": Setting({"method": "bitfit"}, 7e-3, HEAD),
    "ia3": Setting({"method": "ia3"}, 4e-2, HEAD),
    "p-tuning-v2": Setting({"method": "p-tuning-v2", "num_virtual_tokens": 20}, 5e-2, HEAD),
    "lora": Setting(LORA, 2e-3, HEAD),
    "pfeiffer": Setting({"method": "adapter", "kind": "pfeiffer", "bottleneck": 32}, 4e-3, HEAD),
    "houlsby": Setting({"method": "adapter", "kind": "houlsby", "bottleneck": 32}, 4e-3, HEAD),
    "full": Setting({"method": "full"}, 4e-4, HEAD),
}
