"""The micro-models, which are really pretrained, and the generated tasks to fine-tune them on.

    >>> from shared.tiny import load_task, model_path
    >>> load_task("guanaco", "train")[0]["text"]
    >>> AutoModelForCausalLM.from_pretrained(model_path("llama"))

Importing this is cheap: heavy libraries are imported only when they are needed.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import ModelError
from shared.tiny.tasks import TASKS, load_task

__all__ = ["MODELS", "TASKS", "load_task", "model_path"]

MODELS = ("bert", "gpt2", "llama", "t5")  # their weights are part of the package


def model_path(name: str = "llama") -> Path:
    """Folder of a micro-model, for ``from_pretrained``.

    Args:
        name: One of ``MODELS``.

    Returns:
        The folder with weights, tokenizer and model card.

    Raises:
        ModelError: If there is no such model, or its weights are missing.
    """
    if name not in MODELS:
        raise ModelError(f"unknown micro-model {name!r}", fix=f"choose one of: {', '.join(MODELS)}")
    folder = Path(__file__).resolve().parent / "models" / name
    if not (folder / "model.safetensors").is_file():
        raise ModelError(
            f"micro-model {name!r}: model.safetensors is missing in shared/tiny/models/{name}",
            fix=f"restore it from the repository, or run `python -m shared.tiny.pretrain {name}`",
        )
    return folder
