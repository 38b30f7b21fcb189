"""Perplexity: exp of the mean cross-entropy per token of the reference answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shared.finetune.common.processes import split_over_processes
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.batches import IGNORED, batches, pad

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config.loading import Config


def perplexity(model: Any, tokenizer: Any, rows: Dataset, config: Config) -> float:
    """exp of the mean cross-entropy [nats] per token of the reference answers, including the end token.

    The mean is over tokens, not over rows, so that it does not depend on the batches.

    Args:
        model: A language model (CAUSAL_LM or SEQ_2_SEQ_LM).
        tokenizer: Its tokenizer.
        rows: Raw rows with their references.
        config: The configuration.
    """
    if config.task_type == "CAUSAL_LM":
        examples = _examples(rows, tokenizer, config)
    else:
        examples = TASKS[config.task_type].features(rows, tokenizer, config, model)
    was_training = model.training
    model.eval()
    try:
        found = split_over_processes(len(examples), lambda places: _losses(model, tokenizer, examples, places, config))
    finally:
        model.train(was_training)
    total, tokens = (sum(values) for values in zip(*found, strict=True))
    return math.exp(total / tokens)


def _examples(rows: Dataset, tokenizer: Any, config: Config) -> list[dict[str, list[int]]]:
    """Prompt and completion as token ids, with labels on the completion only, as in training."""
    from shared.finetune.data.prompts import to_prompt_completion

    made = []
    for row in to_prompt_completion(rows, config.dataset, tokenizer):
        prompt, whole = (tokenizer(text)["input_ids"] for text in (row["prompt"], row["prompt"] + row["completion"]))
        whole = whole if whole[-1] == tokenizer.eos_token_id else [*whole, tokenizer.eos_token_id]
        whole, start = whole[: config.sft.max_length], len(prompt)
        labels = [IGNORED] * start + whole[start:]
        made.append({"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels[: len(whole)]})
    return made


def _losses(
    model: Any, tokenizer: Any, examples: list[dict[str, list[int]]], places: list[int], config: Config
) -> list[tuple[float, int]]:
    """For each example the summed cross-entropy [nats] of its answer, and the number of the answer's tokens."""
    own = [examples[place] for place in places]
    found: list[tuple[float, int]] = [(0.0, 0)] * len(own)
    for batch in batches(own, config.evaluation.batch_size):
        tensors = pad([own[place] for place in batch], tokenizer.pad_token_id or 0)
        for place, one in zip(batch, _batch_losses(model, tensors), strict=True):
            found[place] = one
    return found


def _batch_losses(model: Any, tensors: dict[str, Any]) -> list[tuple[float, int]]:
    import torch

    inputs = {key: value.to(model.device) for key, value in tensors.items()}
    labels = inputs["labels"]
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            logits = model(**inputs).logits
        else:
            inputs.pop("labels")
            # virtual tokens come before the text: only the logits of the text's own positions count
            logits = model(**inputs).logits[:, -labels.shape[1] :][:, :-1]
            labels = labels[:, 1:]
    flat = logits.float().reshape(-1, logits.shape[-1])
    losses = torch.nn.functional.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction="none")
    sums, tokens = losses.reshape(labels.shape).sum(1), (labels != IGNORED).sum(1)
    return list(zip(sums.tolist(), tokens.tolist(), strict=True))
