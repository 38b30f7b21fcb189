"""Storing a fine-tuned model and loading it again with the same outputs.

A folder contains ``method.json`` (method, task, classes, columns) and, depending on the method, peft's adapter, the
trained parameters by name (``delta.safetensors``: BitFit's biases, bottleneck adapters), or the whole model. All
weights are safetensors.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.files import write_json
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from shared.finetune.config.loading import Config

DELTA = "delta.safetensors"
DESCRIPTION = "method.json"
# A layer that AdaLoRA has pruned completely has rank 0; peft warns, since it looks like a part of a sharded model
PRUNED = r"Adapter '.*': \d+ LoRA tensor\(s\) have invalid shape"
AGAIN = "train again: peft-labs train --config …, or restore the folder from a backup"


def kind_of(config: Config) -> str:
    """The name of the folder with a method's weights: ``model`` for a whole model, else ``adapter``."""
    return "model" if METHODS[config.peft.method].trains_base else "adapter"


def store(model: Any, folder: Path, config: Config) -> None:
    """Save the trained weights.

    Args:
        model: The trained model.
        folder: The folder; created if needed.
        config: The configuration it was trained with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    method = METHODS[config.peft.method]
    if method.peft_config is not None:
        save_peft(model, folder)
    elif method.trains_base:
        model.save_pretrained(folder, safe_serialization=True)
    else:
        _save_delta(model, folder)
    labels = None
    if TASKS[config.task_type].labels is not None:
        from shared.finetune.tasks.labels import model_labels

        labels = model_labels(model)
    description = {"peft": config.peft.model_dump(), "task_type": config.task_type, "labels": labels}
    base, columns = config.model.name_or_path, config.dataset.text_columns
    write_json(folder / DESCRIPTION, {"schema": 1, "base": base, **description, "text_columns": columns})


def save_peft(model: Any, folder: Path) -> None:
    """Save peft's adapter without a request to the Hub.

    When saving, peft looks up the base's vocabulary size on the Hub to see whether embeddings were resized, and warns
    if it can't. Embeddings are saved here if an adapter trains them, and never otherwise.
    """
    trained = any(
        key in str(getattr(one, "target_modules", "")) + str(getattr(one, "modules_to_save", ""))
        for one in model.peft_config.values()
        for key in ("embed", "lm_head", "wte")
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=PRUNED)
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=trained)


def _save_delta(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    trained = {name: one.detach().cpu().contiguous() for name, one in model.named_parameters() if one.requires_grad}
    save_file(trained, folder / DELTA, metadata={"format": "pt"})


def restore(config: Config, place: Path, quantized: bool | None = None, dtype: str | None = None) -> tuple[Any, Any]:
    """The model that :func:`store` saved, in eval mode, and its tokenizer.

    Args:
        config: The configuration; its ``model`` section names the base, its task must match the stored one.
        place: The folder.
        quantized: As in :func:`shared.finetune.models.loading.load_base`.
        dtype: As in :func:`shared.finetune.models.loading.load_base`.

    Raises:
        ModelError: If it is damaged, or was trained for another task.
    """
    from shared.finetune.models.loading import load_base

    about = describe(place)
    _refuse_other_task(about, config, place)
    labels = about.get("labels")
    if (place / "adapter_config.json").is_file():
        from shared.finetune.models.adapter_files import check_adapter

        check_adapter(place)
        model, tokenizer = load_base(config, quantized, dtype, labels)
        return _with_adapter(model, place, config.task_type, about), tokenizer
    if (place / DELTA).is_file():
        model, tokenizer = load_base(config, quantized, dtype, labels)
        return _with_delta(model, place, config.task_type, about), tokenizer
    moved = config.changed(model={"name_or_path": str(place), "revision": None})
    model, tokenizer = load_base(moved, quantized, dtype, labels or _labels_of_model(place, config))
    return model, tokenizer


def describe(place: Path) -> dict[str, Any]:
    """``method.json`` of a folder; empty if there is none, as in folders written by other programs.

    Raises:
        ModelError: If it is damaged.
    """
    file = place / DESCRIPTION
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is damaged: {error}", fix=AGAIN) from error


def _refuse_other_task(about: dict[str, Any], config: Config, place: Path) -> None:
    if about.get("task_type", config.task_type) != config.task_type:
        raise ModelError(
            f"{place} was trained for {about['task_type']}, the configuration says {config.task_type}",
            fix="name the configuration that it was trained with (config.yaml beside it)",
        )


def _with_adapter(model: Any, place: Path, task_type: str, about: dict[str, Any]) -> Any:
    from peft import PeftModel

    from shared.finetune.methods.support.peft_wrapper import adapt_wrapper
    from shared.finetune.models.adapter_files import vocabulary

    with warnings.catch_warnings():
        # peft looks for the base's vocabulary size and warns if the base is not a Hub id
        warnings.filterwarnings("ignore", message="Could not find a config file")
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        # AdaLoRA's rank_pattern has names of parameters; peft warns that no modules match, and uses it anyway
        warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")
        if task_type == "CAUSAL_LM" and vocabulary(place, model) != model.get_input_embeddings().weight.shape[0]:
            # tokens were added before training; their rows are in the adapter's file
            model.resize_token_embeddings(vocabulary(place, model), mean_resizing=False)
        tuned = PeftModel.from_pretrained(model, str(place))
    return adapt_wrapper(tuned, task_type, about.get("peft", {}).get("pool", "cls")).eval()


def _with_delta(model: Any, place: Path, task_type: str, about: dict[str, Any]) -> Any:
    """The base with the trained parameters; the method is applied first, so that an adapter's parameters exist."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not about:
        raise ModelError(f"{place / DESCRIPTION} is missing: it describes what {DELTA} belongs to", fix=AGAIN)
    method = METHODS[about["peft"]["method"]]
    model = method.apply(model, method.section.model_validate(about["peft"]), task_type)
    try:
        stored = load_file(place / DELTA)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{place / DELTA} is damaged: {error}", fix=AGAIN) from error
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    wrong = [name for name in trained.keys() | stored.keys() if _shape(trained, name) != _shape(stored, name)]
    if wrong:
        raise ModelError(
            f"{place / DELTA} does not fit this base: {sorted(wrong)[0]} (and {len(wrong) - 1} more) differ",
            fix="name the base that it was trained on in model.name_or_path",
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stored[name])
    return model.eval()


def _shape(tensors: dict[str, Any], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def _labels_of_model(place: Path, config: Config) -> list[str] | None:
    """The classes that a whole model's config.json names."""
    if TASKS[config.task_type].labels is None:
        return None
    from transformers import AutoConfig

    names = AutoConfig.from_pretrained(place).id2label
    return [names[number] for number in range(len(names))]
