"""A library's dataclass as a section of the schema: names, types, defaults and help come from the pinned version.

The tables below add what the libraries leave out: allowed values of strings, limits and units of numbers.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, Union

from pydantic import AliasChoices, Field

CHOICES: dict[str, tuple[str, ...]] = {
    "packing_strategy": ("bfd", "bfd_split", "wrapped"),
    "loss_type": ("nll", "dft"),
}
LIMITS: dict[str, dict[str, float]] = {
    **dict.fromkeys(("learning_rate", "num_train_epochs", "adam_epsilon", "neftune_noise_alpha"), {"gt": 0}),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), {"gt": 0}),
    **dict.fromkeys(
        ("weight_decay", "max_grad_norm", "warmup_steps", "dataloader_num_workers", "eval_delay"), {"ge": 0}
    ),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), {"ge": 1}),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps", "save_total_limit"), {"ge": 1}),
    **dict.fromkeys(("dataloader_prefetch_factor", "torch_empty_cache_steps", "ddp_timeout"), {"ge": 1}),
    "dataset_num_proc": {"ge": 1},
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), {"ge": 0, "lt": 1}),
    "warmup_ratio": {"ge": 0, "le": 1},
    "max_steps": {"ge": -1},
    "max_length": {"ge": 2},
}
# Units of their numbers; empty: a number without a unit. tests/finetune/config/test_reference.py finds missing ones.
UNITS: dict[str, str] = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), "rows"),
    **dict.fromkeys(("per_gpu_train_batch_size", "per_gpu_eval_batch_size"), "rows"),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "eval_accumulation_steps", "dataloader_prefetch_factor"), "batches"
    ),
    **dict.fromkeys(("max_steps", "warmup_steps", "torch_empty_cache_steps"), "steps"),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), "steps; below 1: share of all steps"),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"), ""),
    **dict.fromkeys(("max_grad_norm", "neftune_noise_alpha", "router_aux_loss_coef", "seed", "data_seed"), ""),
    **dict.fromkeys(("warmup_ratio", "label_smoothing_factor"), "share, 0–1"),
    **dict.fromkeys(("dataloader_num_workers", "dataset_num_proc", "tpu_num_cores"), "processes"),
    **dict.fromkeys(("local_rank", "past_index"), "number, from 0; -1: none"),
    **dict.fromkeys(("max_length", "pad_to_multiple_of"), "tokens"),
    "num_train_epochs": "passes over the rows",
    "eval_delay": "epochs or steps, as eval_strategy counts",
    "save_total_limit": "checkpoints",
    "fsdp_min_num_params": "parameters",
    "ddp_bucket_cap_mb": "MB",
    "ddp_timeout": "seconds",
}
# SFTConfig's fields that this framework sets itself, and the key to use instead
NOT_IN_SFT: dict[str, str] = {
    "model_init_kwargs": "the base is loaded as set in model:",
    "trust_remote_code": "write it under model:",
    "chat_template_path": "chats are rendered by the template of the model's tokenizer",
    "dataset_text_field": "write dataset.text_field with dataset.response_marker",
    "dataset_kwargs": "rows are prepared as set in dataset:",
    "eos_token": "examples end with the tokenizer's own end token",
    "pad_token": "padding uses the tokenizer's own token",
    "truncation_mode": "TRL 1.16 has one mode only: the end is cut off",
    "assistant_only_loss": "write dataset.train_on; the loss is computed on answers only anyway",
}


def library_fields(
    kind: type, without: Collection[str] = (), aliases: Mapping[str, AliasChoices] | None = None
) -> dict[str, Any]:
    """A library's dataclass as pydantic's fields: name -> (type, field with default and first sentence of the help).

    Args:
        kind: The dataclass; its fields carry their help as transformers' arguments do.
        without: Names to leave out.
        aliases: Other accepted names of a field.
    """
    hints, fields = typing.get_type_hints(kind), {}
    for spec in dataclasses.fields(kind):
        if not spec.init or spec.name.startswith("_") or spec.name in without:
            continue
        default = spec.default if spec.default is not dataclasses.MISSING else None
        default = default.value if isinstance(default, enum.Enum) else default
        hint = hints[spec.name]
        choices = CHOICES.get(spec.name) or tuple(spec.metadata.get("choices") or ())
        if default is None:
            hint = hint | None
        hint = _strict_hint(hint)
        if choices and default in (None, *choices):
            hint = Literal[choices] if default is not None else Literal[choices] | None
        text = first_sentence(str(spec.metadata.get("help", "")).replace("%%", "%"))
        fields[spec.name] = (
            hint,
            Field(
                default, description=text, validation_alias=(aliases or {}).get(spec.name), **LIMITS.get(spec.name, {})
            ),
        )
    return fields


def first_sentence(text: str) -> str:
    """A help text up to its first full stop that ends a sentence, on one line."""
    text = " ".join(text.split())
    found = re.match(r".+?(?<!e\.g)(?<!i\.e)\.(?= [A-Z`]|(?<=[`)]\.)[A-Z]|$)", text)
    return found[0] if found else text


def _strict_hint(hint: Any) -> Any:
    """A hint in which ``Enum | str`` allows the enum's values only, and classes of other libraries are left out."""
    choices = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) not in (Union, type(int | str)):
        return hint
    enums = [one for one in choices if isinstance(one, type) and issubclass(one, enum.Enum)]
    if enums:
        literal = Literal[tuple(member.value for one in enums for member in one)]
        return literal | None if type(None) in choices else literal
    plain = [one for one in choices if one is type(None) or _is_plain(one)]
    return Union[tuple(plain)]  # noqa: UP007 - built at run time


def _is_plain(hint: Any) -> bool:
    base = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    enums = any(isinstance(one, type) and issubclass(one, enum.Enum) for one in inner)
    return base in (str, int, float, bool, dict, list) and not enums
