"""SEQ_2_SEQ_LM: text to text, as in summarization; the source is the prompt, the target the completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.finetune.metrics import compute
from shared.finetune.tasks import Task
from shared.finetune.tasks.batches import batches, longest, pad

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config


def _sources(texts: list[str], tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    coded = tokenizer(texts, truncation=True, max_length=longest(config, model))
    return [dict(zip(coded.keys(), one, strict=True)) for one in zip(*coded.values(), strict=True)]


def features(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    """Prompts as token numbers, with the completions' as ``labels``."""
    from shared.finetune.data import to_prompt_completion

    pairs = to_prompt_completion(rows, config.dataset)
    sources = _sources([text.strip() for text in pairs["prompt"]], tokenizer, config, model)
    targets = tokenizer(
        text_target=[text.strip() for text in pairs["completion"]],
        truncation=True,
        max_length=config.dataset.max_target_length,
    )["input_ids"]
    return [{**one, "labels": target} for one, target in zip(sources, targets, strict=True)]


def input_row(row: dict[str, Any], config: Config) -> dict[str, Any]:
    """The columns of an input that the template needs for the prompt."""
    from shared.finetune.data.prompts import prompt_columns, prompt_of

    prompt_of(row, config.dataset)
    return {name: row[name] for name in prompt_columns(config.dataset) if name in row} or row


def predict(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[str]:
    """Greedily generated text for each row's prompt."""
    from shared.finetune.data.prompts import prompts_of

    settings = config.evaluation
    sources = _sources([text.strip() for text in prompts_of(rows, config.dataset)], tokenizer, config, model)
    found: list[str] = [""] * len(sources)
    for places in batches(sources, settings.batch_size):
        batch = pad([sources[place] for place in places], tokenizer.pad_token_id or 0)
        for place, text in zip(places, _generate(model, tokenizer, batch, settings), strict=True):
            found[place] = text
        if progress is not None:
            progress(len(places))
    return found


def _generate(model: Any, tokenizer: Any, batch: dict[str, Any], settings: Any) -> list[str]:
    import torch
    from transformers import GenerationConfig

    # a new configuration, as in evaluate: the model's own may sample, use beam search or penalize repetition
    own = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        do_sample=False,
        decoder_start_token_id=model.config.decoder_start_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    inputs = {key: value.to(model.device) for key, value in batch.items()}
    with torch.no_grad():
        out = model.generate(**inputs, generation_config=own, use_model_defaults=False)
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    ends = [min((text.index(stop) for stop in settings.stop if stop in text), default=len(text)) for text in texts]
    return [text[:end].strip() for text, end in zip(texts, ends, strict=True)]


def score(found: list[str], rows: Dataset, config: Config, model: Any) -> tuple[dict[str, float], list[str]]:
    """ROUGE-1, -2, -L (F1) and exact match."""
    from shared.finetune.data import to_prompt_completion

    right = [text.strip() for text in to_prompt_completion(rows, config.dataset)["completion"]]
    return compute("rouge", found, right), right


TASK = Task(
    name="SEQ_2_SEQ_LM",
    auto_class="AutoModelForSeq2SeqLM",
    main_metric="rougeL",
    metrics=("rouge1", "rouge2", "rougeL", "exact_match"),
    features=features,
    predict=predict,
    score=score,
    input_row=input_row,
)
