"""bitsandbytes' quantisation of a base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.errors import ModelError
from shared.finetune.schema.sections import ModelSection, Quantization


def bits_and_bytes(section: Quantization, kept: Sequence[str] | None = None) -> Any:
    """transformers' BitsAndBytesConfig of a ``model.quantization`` section.

    Args:
        section: The section.
        kept: Modules that are not quantised; None: transformers' default, the output layer.
    """
    import torch
    from transformers import BitsAndBytesConfig

    values = section.model_dump()
    values["bnb_4bit_compute_dtype"] = getattr(torch, values["bnb_4bit_compute_dtype"])
    return BitsAndBytesConfig(**values, llm_int8_skip_modules=list(kept) if kept else None)


def exact_4bit_on_cpu(model: Any) -> Any:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-bf16.

    In eval mode, ``Linear4bit`` on such CPUs permanently rounds its scale factors to bfloat16 and drops the double
    quantisation. A run that evaluates in between would continue with other base weights, layers whose width is not a
    multiple of 64 fail, and results would differ between machines.

    Args:
        model: A quantised model; changed in place and returned. Other models are not changed.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def quantization_of(section: ModelSection, quantized: bool | None) -> Quantization | None:
    asked = section.quantization
    if quantized is None:
        return asked if asked is not None and (asked.load_in_4bit or asked.load_in_8bit) else None
    if not quantized:
        return None
    if asked is not None and (asked.load_in_4bit or asked.load_in_8bit):
        return asked
    dtype = "float32" if section.dtype == "float32" else "bfloat16"
    return Quantization(load_in_4bit=True, bnb_4bit_compute_dtype=dtype)


def need_bitsandbytes() -> None:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "model.quantization needs bitsandbytes, which is not installed",
            fix="pip install -r requirements.lock (it has no build for some systems: then remove model.quantization)",
        )
