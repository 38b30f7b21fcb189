"""Rows, and rows as prompt and completion."""

from shared.finetune.data.loading import load_rows
from shared.finetune.data.prompts import (
    cut_words,
    prompt_of,
    prompt_of_text,
    response_of,
    split_row,
    to_prompt_completion,
)

__all__ = ["cut_words", "load_rows", "prompt_of", "prompt_of_text", "response_of", "split_row", "to_prompt_completion"]
