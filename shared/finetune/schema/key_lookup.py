"""Where a key belongs: the sections of the schema, and the fix for a misspelled or misplaced key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.methods import METHODS
from shared.finetune.schema.library_arguments import NOT_IN_SFT
from shared.finetune.schema.yaml_source import Source

# Names of these keys in other programs and in older versions; this schema uses the libraries' names
OTHER_NAMES = {
    "alpha": "lora_alpha",
    "batch_size": "per_device_train_batch_size",
    "dropout": "lora_dropout",
    "epochs": "num_train_epochs",
    "evaluation_strategy": "eval_strategy",
    "lr": "learning_rate",
    "num_epochs": "num_train_epochs",
    "r": "lora_r",
    "rank": "lora_r",
    "scheduler": "lr_scheduler_type",
    "split": "train_split",
    "torch_dtype": "dtype",
}


def parts(hint: Any) -> list[type[BaseModel]]:
    """The schema classes in a field's type: itself, or the members of an optional or a union."""
    found = (hint, *getattr(hint, "__args__", ()))
    return [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]


def walk(schema: type[BaseModel], inside: str = "") -> Iterator[tuple[str, type[BaseModel], str, FieldInfo]]:
    """Every key of the schema.

    Args:
        schema: The class to walk through.
        inside: The dotted key of the section that it describes.

    Yields:
        Dotted section, its class (a method's own below ``peft``), key, field.
    """
    for key, field in schema.model_fields.items():
        yield inside, schema, key, field
        for part in parts(field.annotation):
            yield from walk(part, f"{inside}.{key}" if inside else key)


def sections_with(key: Any, schema: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The sections that have a key of this name, with its field."""
    return [(section, field) for section, _, name, field in walk(schema) if name == key]


def required_in(field: FieldInfo) -> str:
    """The required keys of a section, for a message; empty for a key that is not a section."""
    sections = parts(field.annotation)
    required = [name for name, field in sections[0].model_fields.items() if field.is_required()] if sections else []
    return ", ".join(required)


def unknown_key_fix(path: tuple, source: Source, schema: type[BaseModel]) -> str:
    """The fix for a key that its section does not have.

    Args:
        path: The key's path in the YAML.
        source: The raw values; ``peft.method`` decides what belongs under ``peft:``.
        schema: The configuration's class.
    """
    key, here = str(path[-1]), ".".join(map(str, path[:-1]))
    if here == "sft" and key in NOT_IN_SFT:
        return f"remove it: {NOT_IN_SFT[key]}"
    own = _own_keys(here, source, schema)
    if key in OTHER_NAMES and OTHER_NAMES[key] in own:
        return f"did you mean {OTHER_NAMES[key]}?"
    everywhere = [(section, name) for section, _, name, _ in walk(schema)]
    elsewhere = {section for section, name in everywhere if name == key and section != here}
    if elsewhere:
        return f"it belongs under {' or '.join(f'{one}:' if one else 'no section' for one in sorted(elsewhere))}"
    if here == "peft" and (methods := [name for name, one in METHODS.items() if key in one.section.model_fields]):
        mine = ", ".join(name for name in own if name != "method") or "no other keys"
        return f"it belongs to method {', '.join(methods)}; {source.get(('peft', 'method'))} takes {mine}"
    if difflib.get_close_matches(key, own, n=1, cutoff=0.6):
        return did_you_mean(key, own)
    meant = OTHER_NAMES.get(key) or next(
        iter(difflib.get_close_matches(key, {name for _, name in everywhere}, n=1, cutoff=0.8)), None
    )
    sections = sorted({section for section, name in everywhere if name == meant and section not in ("", here)})
    if meant and sections:
        return f"did you mean {sections[0]}.{meant}? It belongs under {sections[0]}:"
    return did_you_mean(key, own)


def _own_keys(here: str, source: Source, schema: type[BaseModel]) -> list[str]:
    method = str(source.get(("peft", "method")))
    if here == "peft" and method in METHODS:
        return [*METHODS[method].section.model_fields]
    return list(dict.fromkeys(name for section, _, name, _ in walk(schema) if section == here))
