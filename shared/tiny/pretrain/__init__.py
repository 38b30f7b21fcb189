"""Pretraining of the micro-models, one file each: ``python -m shared.tiny.pretrain NAME``."""

RECIPES = ("bert", "gpt2", "llama", "t5")
