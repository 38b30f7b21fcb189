"""CAUSAL_LM: continue a text.

TRL tokenises and trains (:mod:`shared.finetune.training.language_model_trainer`), :mod:`shared.finetune.evaluation`
generates and scores.
"""

from __future__ import annotations

from shared.finetune.tasks import Task

TASK = Task(
    name="CAUSAL_LM",
    auto_class="AutoModelForCausalLM",
    main_metric="exact_match",
    metrics=("exact_match", "format"),
)
