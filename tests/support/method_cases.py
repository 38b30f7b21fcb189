"""Configurations and batches for each method on each task, over random small models."""

from __future__ import annotations

import random_models as world
import torch

from shared.finetune.config import Config
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.batches import pad

SECTIONS = {
    "lora": {"lora_r": 4},
    "adalora": {"init_r": 4, "target_r": 2},
    "prompt-tuning": {"num_virtual_tokens": 5},
    "prefix-tuning": {"num_virtual_tokens": 5, "encoder_hidden_size": 16},
    "p-tuning": {"num_virtual_tokens": 5},
    "p-tuning-v2": {"num_virtual_tokens": 5},
    "adapter": {"kind": "houlsby", "bottleneck": 5},
}


BASES = {"SEQ_CLS": "bert", "TOKEN_CLS": "bert", "QUESTION_ANS": "bert", "SEQ_2_SEQ_LM": "t5", "CAUSAL_LM": "gpt2"}


def configured(place, method, task, kind, settings=None, **training) -> Config:
    peft = {"method": method, **SECTIONS.get(method, {}), **(settings or {})}
    rate = {"learning_rate": 1e-2, **training}
    return Config.model_validate(world.task_config(place / kind, place / f"{task}.jsonl", task, peft, **rate))


def batch_for(config, model, tokenizer):
    """Rows of unlike length as the model sees them, without labels."""
    from shared.finetune.data import load_rows

    rows = load_rows(config.dataset, "train").select(range(6))
    if config.task_type == "CAUSAL_LM":
        texts = [f"Question : {row['question']}" for row in rows]
        features = [dict(tokenizer(text)) for text in texts]
    else:
        features = TASKS[config.task_type].features(rows, tokenizer, config, model)
    kept = ("input_ids", "attention_mask", "token_type_ids")
    batch = pad([{key: one[key] for key in kept if key in one} for one in features], tokenizer.pad_token_id)
    if config.task_type == "SEQ_2_SEQ_LM":
        batch["decoder_input_ids"] = torch.tensor([[0, 9, 10]]).repeat(len(features), 1)
    return batch


def answer(model, batch):
    with torch.no_grad():
        out = model.eval()(**batch)
    return torch.cat([out[name].flatten() for name in ("logits", "start_logits", "end_logits") if name in out])
