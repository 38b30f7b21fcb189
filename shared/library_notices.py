"""Notices of libraries that do not concern users, each with the reason why it is hidden."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def hide_library_notices() -> None:
    """Hide notices that depend on the machine or that no user can act on."""
    # When accelerate looks whether DeepSpeed is there, DeepSpeed reports (with the time) that it found no GPU.
    logging.getLogger("DeepSpeed").addFilter(_no_accelerator_notice)
    # adapters 1.3 calls T5's blocks by an argument's old name, which this transformers still takes.
    warnings.filterwarnings("ignore", message="`past_key_value` is deprecated and will be removed in version 4.58")
    # LN tuning: peft looks up the number of features of a wrapped layer, which a normalization layer does not have.
    warnings.filterwarnings("ignore", message="Unsupported layer type '.*Norm")
    # After a prompt GPT-2 finds no padding; the framework (methods/support/peft_wrapper.py) reads the last real token.
    for name in ("models.gpt2.modeling_gpt2", "modeling_layers"):
        logging.getLogger(f"transformers.{name}").addFilter(_no_padding_notice)
    # Tokenising shows up to five progress bars for each training run; a stored notebook would keep them all.
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    if "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()


def _no_accelerator_notice(record: logging.LogRecord) -> bool:
    return "Setting accelerator to CPU" not in record.getMessage()


def _no_padding_notice(record: logging.LogRecord) -> bool:
    return "will not detect padding tokens in `inputs_embeds`" not in record.getMessage()
