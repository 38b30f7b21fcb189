"""Read a configuration: YAML in, one validated :class:`Config` out, or every fault at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from shared.finetune.cross_checks import cross_checks
from shared.finetune.faults import ConfigFaults, Fault, did_you_mean
from shared.finetune.methods import METHODS
from shared.finetune.schema import (
    DatasetSection,
    EvaluationSection,
    HeadSection,
    LabSection,
    ModelSection,
    Section,
    SftSection,
    peft_union,
    training_section,
)
from shared.finetune.yaml_source import Source, apply_override, dotted, read_source

TrainingSection = training_section()
PeftUnion = peft_union()


class Config(Section):
    """One experiment: model, method, data, training, evaluation."""

    task_name: str = Field(description="A name for the run's files.")
    task_type: Literal["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "CAUSAL_LM", "SEQ_2_SEQ_LM"] = Field(
        "CAUSAL_LM", description="What the model has to do; it decides the head, the loss and the metrics."
    )
    model: ModelSection = Field(description="The base model.")
    peft: PeftUnion = Field(description="The fine-tuning method and its settings.")  # type: ignore[valid-type]
    dataset: DatasetSection = Field(description="The data.")
    training: TrainingSection = Field(  # type: ignore[valid-type]
        default_factory=TrainingSection, description="transformers.TrainingArguments' names and meanings."
    )
    sft: SftSection = Field(default_factory=SftSection, description="TRL's SFTConfig names (CAUSAL_LM only).")
    head: HeadSection = Field(default_factory=HeadSection, description="The task's new layers.")
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection, description="Generation and metrics.")
    lab: LabSection | None = Field(None, description="What only a lab's notebooks read.")

    def given(self) -> dict[str, Any]:
        """The values that were set (not the defaults), as plain dicts."""
        return self.model_dump(exclude_unset=True)

    def to_yaml(self) -> str:
        """The set values as YAML that :func:`load_config` reads back to an equal configuration."""
        return yaml.safe_dump(self.given(), sort_keys=False, allow_unicode=True)

    def changed(self, **sections: dict[str, Any]) -> Config:
        """A copy with some values changed, ``config.changed(peft={"lora_r": 4})``; checked like a file.

        A ``peft`` change that names another ``method`` replaces the whole section.

        Raises:
            ConfigError: If a changed value is a fault.
        """
        data = self.given()
        for name, change in sections.items():
            replaces = name == "peft" and change.get("method", data["peft"]["method"]) != data["peft"]["method"]
            data[name] = change if replaces or not isinstance(change, dict) else {**(data.get(name) or {}), **change}
        return _checked(Source("<changed configuration>", data))


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a configuration file.

    Args:
        path: The YAML file.
        overrides: ``dotted.key=value`` texts that replace values of the file.

    Returns:
        The configuration.

    Raises:
        ConfigError: With every fault in ``faults``, each with file, line, key, value, message and cure.
    """
    source = read_source(path)
    for text in overrides:
        apply_override(source, text)
    return _checked(source)


def find_faults(path: str | Path, overrides: Sequence[str] = ()) -> list[Fault]:
    """All faults of a file; an empty list for a good one."""
    try:
        load_config(path, overrides)
    except ConfigFaults as error:
        return list(error.faults)
    return []


def _checked(source: Source) -> Config:
    faults, config = list(source.faults), None
    if source.data is not None or not faults:
        if isinstance(source.data, dict):
            between = cross_checks(source)
            try:
                config = Config.model_validate(source.data)
            except ValidationError as error:
                # a fault between keys says more than "should be a boolean" about the same key
                known = {fault.key for fault in between}
                faults += [fault for fault in _faults_of(error, source) if fault.key not in known]
            faults += between
        else:
            faults.append(source.fault((), "not a configuration", "write sections such as model:, peft:, dataset:"))
    if faults:
        raise ConfigFaults(source.file, faults)
    return config


def _faults_of(error: ValidationError, source: Source) -> Iterator[Fault]:
    for item in error.errors(include_url=False):
        path = _source_path(item["loc"], source)
        kind, context = item["type"], item.get("ctx", {})
        if kind == "extra_forbidden":
            yield source.fault(path, "unknown key", _unknown_key_cure(path, item["loc"]))
        elif kind in ("missing", "union_tag_not_found"):
            path = (*path, "method") if kind == "union_tag_not_found" else path
            yield source.fault(path, "is missing", f"add {path[-1]}: … here; it is {_described(path)}", value=None)
        elif kind == "union_tag_invalid":
            yield source.fault((*path, "method"), *_method_fault(context.get("tag")))
        elif kind == "literal_error":
            known = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            yield source.fault(path, "not one of the known values", did_you_mean(item["input"], known))
        else:
            yield source.fault(path, _plain(item["msg"]), _type_cure(kind, item["input"], path))


def _source_path(loc: tuple, source: Source) -> tuple:
    """pydantic's location without the parts that do not stand in the YAML (union tags and type names)."""
    path: tuple = ()
    for step in loc:
        here = source.get(path)
        if isinstance(here, dict) and step not in here and step in METHODS and path == ("peft",):
            continue
        if isinstance(here, list) and not isinstance(step, int):
            continue
        if path and not isinstance(here, (dict, list)) and here is not None:
            continue  # the branch of a union, for example "int" below a value that is a string
        path = (*path, step)
    return path


def _section_at(loc: tuple) -> type | None:
    """The schema class that a pydantic location's last key was looked for in."""
    here: Any = Config
    for step in loc[:-1]:
        if step in METHODS:
            here = METHODS[step].section
            continue
        field = getattr(here, "model_fields", {}).get(step)
        if field is None:
            return None
        here = next(
            (
                one
                for one in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if hasattr(one, "model_fields")
            ),
            here,
        )
    return here


def _unknown_key_cure(path: tuple, loc: tuple) -> str:
    section = _section_at(loc)
    own = getattr(section, "model_fields", {})
    for name, field in Config.model_fields.items():
        sections = (field.annotation, *getattr(field.annotation, "__args__", ()))
        keys = {key for one in sections for key in getattr(one, "model_fields", {})}
        if path[-1] in keys and path[-1] not in own and path[0] != name:
            return f"it belongs under {name}:"
    return did_you_mean(str(path[-1]), own)


def _described(path: tuple) -> str:
    if path[-1] == "method":
        return "one of " + ", ".join(METHODS)
    section = _section_at((*path[:1], path[-1]) if len(path) > 1 else path)
    field = getattr(section, "model_fields", {}).get(path[-1])
    return (field.description if field is not None and field.description else dotted(path)).rstrip(".")


def _method_fault(tag: Any) -> tuple[str, str]:
    return "there is no such method", did_you_mean(str(tag), [*METHODS])


def _plain(message: str) -> str:
    return message.replace("Input should be", "should be").replace("a valid dictionary", "a mapping (key: value)")


def _type_cure(kind: str, value: Any, path: tuple) -> str:
    if isinstance(value, str) and kind in ("float_type", "int_type"):
        return f"write the number without quotes: {path[-1]}: {value}"
    if kind == "bool_type":
        return f"write {path[-1]}: true or {path[-1]}: false"
    if kind == "int_type" and isinstance(value, float):
        return f"write a whole number, for example {int(value)}"
    if kind == "list_type":
        return f"write a list: [{value}]"
    if kind == "string_type":
        return f'write a text: "{value}"'
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "write its keys indented on the lines below"
    return "change the value accordingly"
