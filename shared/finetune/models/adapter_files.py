"""Adapter folders on disk: are they whole, are they empty, do they belong to this base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.errors import ModelError

WEIGHTS = "adapter_model.safetensors"
EMBEDDINGS = ("weight", "base_layer.weight", "original_module.weight", "token_adapter.base_layer.weight")


def check_adapter(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration and make sure that its weights are there and not all zero.

    Args:
        folder: The folder with ``adapter_config.json`` and ``adapter_model.safetensors``.

    Returns:
        The configuration.

    Raises:
        ModelError: Naming the file, what is wrong with it and the fix.
    """
    config = _config(folder)
    again = "train again: peft-labs train --config …, or restore the folder from a backup"
    file = folder / WEIGHTS
    if not file.is_file():
        if (folder / "adapter_model.bin").is_file():
            raise ModelError(
                f"{folder}/adapter_model.bin is a pickle, which may run code when it is read",
                fix="save the adapter as safetensors: model.save_pretrained(folder)",
            )
        raise ModelError(f"{file} is missing", fix=again)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
            changed = [name for name in names if _grows_from_zero(name)]
            empty = bool(changed) and not any(tensors.get_tensor(name).any() for name in changed)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged: {error}", fix=again) from error
    if not names:
        raise ModelError(f"{file} holds no weights: the adapter is empty", fix=again)
    if empty:
        raise ModelError(
            f"{file} is empty: every lora_B is zero, so the adapter changes nothing",
            fix="it was saved before training; " + again,
        )
    return config


def embedding_keys(model: Any) -> list[str]:
    """The names under which peft may save the whole embeddings of a model, input and output."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    paths = [path for path, module in model.named_modules() if any(module is end for end in ends)]
    return [f"base_model.model.{path}.{name}" for path in paths for name in EMBEDDINGS]


def vocabulary(folder: Path, model: Any) -> int:
    """The number of tokens that an adapter was trained with: the base's, unless its file holds larger embeddings.

    Args:
        folder: The adapter's folder.
        model: The base.
    """
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as tensors:
        there = set(tensors.keys())
        for key in embedding_keys(model):
            if key in there:
                return tensors.get_slice(key).get_shape()[0]
    return model.get_input_embeddings().weight.shape[0]


def _grows_from_zero(name: str) -> bool:
    """LoRA's B starts at zero; a saved adapter in which all of them still are has learnt nothing."""
    return ".lora_B." in name or name.endswith((".lora_B", ".lora_embedding_B"))


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise ModelError(
            f"{folder} holds no adapter_config.json, so it is not an adapter",
            fix="name the adapter/ folder that `peft-labs train` wrote",
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is damaged: {error}", fix="train again, or restore the file") from error
