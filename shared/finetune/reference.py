"""The reference page of all keys and the commented template, both generated from the schema.

python -m shared.finetune.reference            # writes docs/config-reference.md and configs/template.yaml
python -m shared.finetune.reference --check    # exit code 1 if one of them is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.finetune.config import Config, SftSection, TrainingSection
from shared.finetune.methods import METHODS
from shared.finetune.schema.key_lookup import parts, walk
from shared.finetune.schema.library_arguments import UNITS
from shared.paths import repo_root

PAGE, TEMPLATE = Path("docs/config-reference.md"), Path("shared/finetune/configs/template.yaml")
TYPES = {
    type(None): "null",
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    dict: "mapping",
    Any: "any value",
}
LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


@dataclass(frozen=True)
class Entry:
    """One key of the configuration.

    Attributes:
        section: Its dotted section; empty at the top.
        method: The method whose ``peft:`` it belongs to, else empty.
        key: Its name.
        type: Its type or its values, in words.
        default: Its default as YAML; None if it is required.
        effect: What it does.
        unit: The unit of its number; empty if it has none.
        is_section: Whether it contains further keys.
    """

    section: str
    method: str
    key: str
    type: str
    default: str | None
    effect: str
    unit: str
    is_section: bool


def entries() -> Iterator[Entry]:
    """Every key of the schema, each once, in the schema's order."""
    of = {method.section: name for name, method in METHODS.items()}
    for section, owner, key, field in walk(Config):
        text = " ".join((field.description or "").split())
        default = field.get_default(call_default_factory=True)
        inside = bool(parts(field.annotation))
        if key == "method" and owner in of:
            first = sys.modules[owner.__module__].__doc__.partition("\n\n")[0]
            text = text or f"{' '.join(first.split()).rstrip('.')}."
        effect, unit = _unit(text, key, owner)
        yield Entry(
            section, of.get(owner, ""), key, "section" if inside else type_text(field),
            None if field.is_required() else _as_yaml(None if inside else default), effect, unit, inside,
        )  # fmt: skip


def type_text(field: Any) -> str:
    """The type of a key, its values or its limits, in words."""
    limits = [f"{sign} {getattr(one, name)}" for one in field.metadata for name, sign in LIMITS if hasattr(one, name)]
    return ", ".join([_words(field.annotation), *limits])


def _words(hint: Any) -> str:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(_as_yaml(one) for one in inside)
    if origin in (typing.Union, types.UnionType):
        wanted = [one for one in inside if one is not int or float not in inside]
        return " or ".join(_words(one) for one in sorted(wanted, key=lambda one: one is type(None)))
    if origin is list:
        return f"list: {_words(inside[0])}"
    if origin is dict:
        return f"mapping: {_words(inside[0])} → {_words(inside[1])}"
    return TYPES[hint]


def _unit(text: str, key: str, owner: type) -> tuple[str, str]:
    """A description without its ``[unit]``, and the unit; the libraries' come from a table."""
    if owner in (TrainingSection, SftSection):
        return text, UNITS.get(key, "")
    found = re.search(r" \[([^\]]+)\]", text)
    return (text.replace(found[0], "", 1), found[1]) if found else (text, "")


def _as_yaml(value: Any) -> str:
    if isinstance(value, float) and value == int(value) and abs(value) < 1e6:
        return str(value)
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )


# -- the page ---------------------------------------------------------------------------------------------------------

HEAD = """\
# Configuration reference

Generated from the schema by `python -m shared.finetune.reference`: change the schema, not this page. `peft-labs
validate-config` checks files against the same schema and reports for each problem its position and a fix. The keys of
`training:` and `sft:` come from the pinned libraries, with their defaults and the first sentence of their own help. A
key that is left out has its default.

"""


def page() -> str:
    """The reference page: a table for each section, for each method one of its own."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries():
        groups.setdefault((entry.section, entry.method), []).append(entry)
    text = HEAD
    for (section, method), rows in groups.items():
        title = "The top level" if not section else f"`{section}:`" + (f" with `method: {method}`" if method else "")
        text += f"## {title}\n\n| key | type | default | effect | unit |\n|---|---|---|---|---|\n"
        text += "".join(f"| {' | '.join(_cells(row))} |\n" for row in rows) + "\n"
    return text.rstrip("\n") + "\n"


def _cells(row: Entry) -> list[str]:
    default = "required" if row.default is None else "–" if row.is_section else f"`{row.default}`"
    key = f"[`{row.key}`](#{row.key})" if row.is_section and row.section == "" and row.key != "peft" else f"`{row.key}`"
    return [one.replace("|", "\\|") for one in (key, row.type, default, row.effect, row.unit or "–")]


def as_text() -> str:
    """The schema for a terminal: each key, its default, type, effect and unit."""
    lines, last = [], None
    for row in entries():
        if (row.section, row.method) != last:
            last = (row.section, row.method)
            lines.append("\n" + (f"{row.section}:" if row.section else "") + (f" ({row.method})" if row.method else ""))
        default = "required" if row.default is None else row.default
        unit = f" [{row.unit}]" if row.unit else ""
        lines.append(f"  {row.key} ({row.type}; {default}): {row.effect}{unit}")
    return "\n".join(lines).strip()


# -- the template -----------------------------------------------------------------------------------------------------

# What the template sets: a small run that works without network. All other keys are comments.
SET: dict[str, Any] = {
    "task_name": "template",
    "task_type": "CAUSAL_LM",
    "model.name_or_path": "tiny:llama",
    "model.dtype": "float32",
    "peft.method": "lora",
    "peft.lora_r": 8,
    "peft.lora_alpha": 16,
    "peft.lora_dropout": 0.0,
    "peft.target_modules": "all-linear",
    "dataset.name": "tiny:guanaco",
    "dataset.response_marker": "### Assistant:",
    "dataset.input_template": "### Human: {text}### Assistant:",
    "dataset.max_train_rows": 640,
    "dataset.max_eval_rows": 64,
    "training.output_dir": "outputs/template",
    "training.per_device_train_batch_size": 16,
    "training.num_train_epochs": 1,
    "training.learning_rate": 5e-3,
    "training.lr_scheduler_type": "cosine",
    "training.warmup_ratio": 0.05,
    "training.logging_steps": 10,
    "training.save_steps": 20,
    "training.save_total_limit": 1,
    "sft.max_length": 160,
    "sft.packing": False,
    "evaluation.max_new_tokens": 16,
    "evaluation.rows": 50,
    "evaluation.stop": ["###"],
}
TEMPLATE_HEAD = """\
# Every key of a configuration, with its effect, [unit] and (type). Generated from the schema: change that, then run
# python -m shared.finetune.reference
# A key after "#" has its default: remove the "#" to set it. The values set below are a small run without network:
#   peft-labs train --config shared/finetune/configs/template.yaml
"""


def template() -> str:
    """The template: each key of the schema once, set or as a comment with its default."""
    found = list(entries())
    return TEMPLATE_HEAD + "\n".join(_block(found, "", ""))


def _block(found: list[Entry], section: str, mark: str) -> Iterator[str]:
    """The lines of a section; ``mark`` is put before the keys of a section that is a comment itself."""
    indent, method = "  " * (section.count(".") + bool(section)), SET["peft.method"]
    rows = [row for row in found if row.section == section]
    for name in sorted(dict.fromkeys(row.method for row in rows), key=lambda name: name != method):
        own = [row for row in rows if row.method == name]
        if name and name != method:
            yield f"\n{indent}# with another method:"
        for row in own:
            yield from _lines(found, row, indent, mark or ("#" if name not in ("", method) else ""))


def _lines(found: list[Entry], row: Entry, indent: str, mark: str) -> Iterator[str]:
    dotted = f"{row.section}.{row.key}" if row.section else row.key
    if row.section == "":
        yield ""
    unit = f" [{row.unit}]" if row.unit else ""
    kind = "" if row.is_section or row.key == "method" else f" ({row.type})"
    for line in textwrap.wrap(f"{row.effect}{unit}{kind}", 116 - len(indent)):
        yield f"{indent}# {line}"
    if row.is_section:
        unset = not any(key.startswith(f"{dotted}.") for key in SET)
        yield f"{indent}{mark or ('#' if unset else '')}{row.key}:"
        yield from _block(found, dotted, mark or ("#" if unset else ""))
    elif dotted in SET and not mark:
        yield f"{indent}{row.key}: {_as_yaml(SET[dotted])}"
    else:
        value = row.method if row.key == "method" else (row.default or "…")
        yield f"{indent}{mark or '#'}{row.key}: {value}"


def main(argv: list[str] | None = None) -> int:
    """Write the page and the template, or check them.

    Returns:
        0; with ``--check`` 1 if one of them is out of date.
    """
    parser = argparse.ArgumentParser(prog="python -m shared.finetune.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of date")
    args = parser.parse_args(argv)
    stale = 0
    for path, text in ((PAGE, page()), (TEMPLATE, template())):
        file = repo_root() / path
        if args.check:
            if not file.is_file() or file.read_text(encoding="utf8") != text:
                print(f"{path} is out of date: run python -m shared.finetune.reference", file=sys.stderr)
                stale = 1
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf8")
        print(f"wrote {path}")
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
