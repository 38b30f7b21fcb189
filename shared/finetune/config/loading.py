"""Read a configuration: YAML in, one validated :class:`Config` out, or every problem at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from shared.finetune.config.cross_checks import cross_checks
from shared.finetune.schema.problems import InvalidConfig, Problem
from shared.finetune.schema.pydantic_errors import problems_of, source_path
from shared.finetune.schema.sections import (
    DatasetSection,
    EarlyStoppingSection,
    EvaluationSection,
    HeadSection,
    LabSection,
    ModelSection,
    Section,
    peft_union,
    sft_section,
    training_section,
)
from shared.finetune.schema.yaml_source import Source, apply_override, read_source
from shared.finetune.tasks import TASKS

TaskType = Literal[tuple(TASKS)]
TrainingSection = training_section()
SftSection = sft_section()
PeftUnion = peft_union()


class Config(Section):
    """One experiment: model, method, data, training, evaluation."""

    task_name: str = Field(description="Name of the run, used for its files.")
    task_type: TaskType = Field(  # type: ignore[valid-type]
        "CAUSAL_LM", description="The type of task; it decides the head, the loss and the metrics."
    )
    model: ModelSection = Field(description="The base model.")
    peft: PeftUnion = Field(description="The fine-tuning method and its settings.")  # type: ignore[valid-type]
    dataset: DatasetSection = Field(description="The data.")
    training: TrainingSection = Field(  # type: ignore[valid-type]
        default_factory=TrainingSection, description="transformers.TrainingArguments' names and meanings."
    )
    sft: SftSection = Field(  # type: ignore[valid-type]
        default_factory=SftSection, description="trl.SFTConfig's names and meanings (CAUSAL_LM only)."
    )
    early_stopping: EarlyStoppingSection = Field(
        default_factory=EarlyStoppingSection, description="When to stop before the last step."
    )
    head: HeadSection = Field(default_factory=HeadSection, description="The task's new layers.")
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection, description="Generation and metrics.")
    lab: LabSection | None = Field(None, description="Settings that only a lab's notebooks read.")

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
            ConfigError: If a changed value is invalid.
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
        ConfigError: With every problem in ``problems``, each with file, line, key, value, message and fix.
    """
    return _checked(read(path, overrides))


def read(path: str | Path, overrides: Sequence[str] = ()) -> Source:
    """A configuration file's raw values and their lines, with the overrides applied."""
    source = read_source(path)
    for text in overrides:
        apply_override(source, text)
    return source


def find_problems(path: str | Path, overrides: Sequence[str] = ()) -> list[Problem]:
    """All problems of a file; an empty list for a valid one."""
    try:
        load_config(path, overrides)
    except InvalidConfig as error:
        return list(error.problems)
    return []


def check(source: Source) -> tuple[Config | None, list[Problem]]:
    """Check the raw values of a configuration.

    Args:
        source: The raw values; ``source.problems`` are the problems found while reading.

    Returns:
        The configuration (None if it has problems) and the problems, including those between keys.
    """
    problems, config = list(source.problems), None
    if source.data is None and problems:
        return None, problems
    if not isinstance(source.data, dict):
        return None, [
            *problems,
            source.problem((), "not a configuration", "write sections such as model:, peft:, dataset:"),
        ]
    between = cross_checks(source)
    try:
        config = Config.model_validate(source.data)
    except ValidationError as error:
        # a problem between keys is more specific than "should be a boolean" for the same key
        known = {problem.key for problem in between}
        problems += [problem for problem in problems_of(error, source, Config) if problem.key not in known]
    problems += between
    return (None if problems else config), problems


def valid_part(source: Source) -> Config | None:
    """The valid part of an invalid configuration, so that model and data can be checked as well.

    Invalid keys are left out, as if they had their defaults: what depends on them must not be checked.

    Args:
        source: The raw values.

    Returns:
        A configuration, or None if too little is left.
    """
    if not isinstance(source.data, dict):
        return None
    data = copy.deepcopy(source.data)
    for _ in range(10):  # removing a key may reveal another problem
        try:
            return Config.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                _drop_invalid(data, source_path(item["loc"], Source("", data)), item["type"])
    return None


NEUTRAL = {
    ("task_name",): "unnamed",
    ("model",): {"name_or_path": ""},
    ("model", "name_or_path"): "",
    ("peft",): {"method": "full"},
    ("dataset",): {"name": ""},
    ("dataset", "name"): "",
}


def _drop_invalid(data: dict, path: tuple, kind: str) -> None:
    """Remove an invalid value; a required one is replaced by a neutral default."""
    here: Any = data
    for step in path[:-1]:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return
    if path in NEUTRAL or (path and path[0] == "peft" and len(path) > 1 and kind.startswith("union_tag")):
        here[path[-1]] = copy.deepcopy(NEUTRAL.get(path, {"method": "full"}))
    elif isinstance(here, dict):
        here.pop(path[-1], None)
    elif isinstance(here, list) and len(path) > 1:
        _drop_invalid(data, path[:-1], kind)


def _checked(source: Source) -> Config:
    config, problems = check(source)
    if config is None:
        raise InvalidConfig(source.file, problems)
    return config
