"""Fine-tuning recipes at micro scale: what the gates measure and the labs' ``tiny`` configurations repeat.

Learning rates and alpha are the best of a small sweep on 300 validation rows of guanaco, 120 steps of 16, seed 0
(exact match in %; base 0):

======================  =======================================================================
full, rate              5e-4: 74, 1e-3: 88, 2e-3: 84
r = 16, alpha 32, rate  5e-3: 84, 7e-3: 82, 1e-2: 63
r = 4, alpha 8, rate    7e-3: 54, 1e-2: 64, 1.4e-2: 67
r = 1, alpha 2, rate    7e-3: 37, 1e-2: 46, 2e-2: 57
alpha 32, rate 5e-3     r = 1: 69, r = 4: 84, r = 16: 87 (with easier notes in the task; full: 88)
alpha 16, rate 5e-3     r = 1: 79
======================  =======================================================================

So alpha = 2r at one rate would show small ranks far below their worth; one alpha for all ranks does not.
"""

from __future__ import annotations

from typing import Any

STEPS, BATCH, ROWS = 140, 16, 2_240
ALPHA = 32  # the same at each rank, as the LoRA paper does: with alpha = 2r small ranks learn far too slowly
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NF4 = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float32",
}


def _lora(rank: int) -> dict[str, Any]:
    return {"method": "lora", "lora_r": rank, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": LINEAR}


# method: its peft section, learning rate, whether the base is quantised
METHODS: dict[str, tuple[dict[str, Any], float, bool]] = {
    "lora-r1": (_lora(1), 5e-3, False),
    "lora-r4": (_lora(4), 5e-3, False),
    "lora-r16": (_lora(16), 5e-3, False),
    "qlora-r16": (_lora(16), 5e-3, True),
    "full": ({"method": "full"}, 1e-3, False),
}


def config_for(task: str, method: str, model: str = "tiny:llama", rows: int = 200, steps: int | None = None):
    """Configuration of one method on one task, as ``shared.finetune`` reads it.

    Args:
        task: "guanaco" or "alpaca".
        method: Key of ``METHODS``.
        model: Model to start from.
        rows: Test rows to score.
        steps: Another number of training steps.

    Returns:
        A ``shared.finetune.config.Config``.
    """
    from shared.finetune.config import Config
    from shared.tiny.tasks import TASKS

    peft, rate, quantised = METHODS[method]
    about = TASKS[task].details
    shape = {key: about[key] for key in ("prompt_template", "response_marker") if key in about}
    model_section = {"name_or_path": model, "dtype": "float32"} | ({"quantization": NF4} if quantised else {})
    return Config.model_validate({
        "task_name": f"{task}-{method}", "task_type": "CAUSAL_LM", "model": model_section, "peft": peft,
        "dataset": {"name": f"tiny:{task}", "max_train_rows": ROWS, **shape},
        "training": {
            "per_device_train_batch_size": BATCH, "max_steps": steps or STEPS, "learning_rate": rate,
            "lr_scheduler_type": "cosine", "warmup_ratio": 0.05, "weight_decay": 0.0, "logging_steps": 50,
            "save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True,
        },
        "sft": {"max_length": 160, "packing": False},
        "evaluation": {"max_new_tokens": about["max_new_tokens"], "batch_size": 100, "rows": rows, "stop": ["###"],
                       "format_regex": about["format_regex"]},
    })  # fmt: skip
