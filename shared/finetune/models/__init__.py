"""Base models and fine-tuned models: loading and storing."""

from shared.finetune.models.loading import load_base, load_tokenizer, resolve
from shared.finetune.models.tuned import find_weights, load_tuned

__all__ = ["find_weights", "load_base", "load_tokenizer", "load_tuned", "resolve"]
