"""Fine-tuned models: a base with its adapter or delta, or a complete model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from shared.finetune.config.loading import Config

from shared.finetune.models.loading import load_base


def load_tuned(
    config: Config, folder: str | Path | None, quantized: bool | None = None, dtype: str | None = None
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The fine-tuned model: a base with an adapter, a model folder, or (folder None) the untuned base.

    Args:
        config: The configuration that the adapter was trained with.
        folder: An adapter folder, a model folder, or a run folder with one of them as ``adapter``/``model``.
        quantized: As in :func:`load_base`.
        dtype: As in :func:`load_base`.

    Returns:
        The model in eval mode, with its trained head, and the tokenizer.

    Raises:
        ModelError: If the folder contains neither, a file is damaged, or it was trained for another task.
    """
    if folder is None:
        return load_base(config, quantized, dtype)
    from shared.finetune.models.storage import restore

    return restore(config, find_weights(Path(folder)), quantized, dtype)


def find_weights(folder: Path) -> Path:
    """The folder that contains the adapter or the model: itself, or its subfolder ``adapter`` or ``model``.

    Raises:
        ModelError: If there is none.
    """
    for place in (folder, folder / "adapter", folder / "model"):
        if any((place / name).is_file() for name in ("adapter_config.json", "delta.safetensors", "config.json")):
            return place
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}", fix="train first: peft-labs train --config …")
    raise ModelError(
        f"{folder} contains neither adapter_config.json nor config.json",
        fix="name the folder that `peft-labs train` wrote, or its adapter/ part",
    )
