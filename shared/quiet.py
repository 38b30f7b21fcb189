"""Known notices of libraries that tell a reader nothing, each with the reason why it may go."""

from __future__ import annotations

import logging
import os
import sys


def quiet() -> None:
    """Keep out of notebooks and terminals what one machine says and another does not, and what concerns nobody."""
    # On CPUs with AVX512-bf16, importing bitsandbytes reports that a kernel from the Hub is absent; it has its own.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # When accelerate looks whether DeepSpeed is there, DeepSpeed reports (with the time) that it found no GPU.
    logging.getLogger("DeepSpeed").addFilter(_no_accelerator_notice)
    # Tokenising a data set draws up to five bars a training; a committed notebook would keep them all.
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    if "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()


def _no_accelerator_notice(record: logging.LogRecord) -> bool:
    return "Setting accelerator to CPU" not in record.getMessage()
