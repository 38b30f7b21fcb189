"""All checks of a configuration: those of its values, and those against model, tokenizer, rows and device."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from shared.errors import HardwareError, PeftLabsError
from shared.finetune.config import Config, check, read, valid_part
from shared.finetune.schema.problems import InvalidConfig, Problem, without_repetitions
from shared.finetune.schema.yaml_source import Source
from shared.finetune.training.precision import choose_precision
from shared.finetune.validation import data_checks, model_checks
from shared.finetune.validation.local_inputs import LocalInputs

DEVICE_KEYS = ("training.bf16", "training.fp16", "training.use_cpu", "model.name_or_path")


def checked_config(
    file: str | Path, overrides: Sequence[str] = (), trains: bool = True, scored: str | None = "test"
) -> Config:
    """A configuration that has passed all checks: how every command of the command line reads one.

    Args:
        file: The YAML file.
        overrides: ``key=value`` texts.
        trains: Whether the command trains, and so reads the rows to train on.
        scored: The split that it scores; None: none.

    Raises:
        InvalidConfig: With every problem that was found.
    """
    config, problems = validate(file, overrides, trains, scored)
    if config is None:
        raise InvalidConfig(str(file), problems)
    return config


def validate(
    file: str | Path, overrides: Sequence[str] = (), trains: bool = True, scored: str | None = "test"
) -> tuple[Config | None, list[Problem]]:
    """Check one file, against the architecture and the rows too where these are on this machine.

    Args:
        file: The YAML file.
        overrides: ``key=value`` texts.
        trains: As in :func:`checked_config`.
        scored: As in :func:`checked_config`.

    Returns:
        The configuration (None when it has problems) and the problems in the file's order.
    """
    source = read(file, list(overrides))
    config, problems = check(source)
    usable = config or valid_part(source)
    if usable is not None:
        problems = without_repetitions(
            [*problems, *_deep_problems(LocalInputs(usable, trains, scored), source, problems)]
        )
    if not problems:
        problems = list(_argument_problems(config, source))
    problems.sort(key=lambda problem: (problem.line, problem.key))
    return (None if problems else config), problems


def _deep_problems(local: LocalInputs, source: Source, problems: list[Problem]) -> Iterator[Problem]:
    """Problems that need model, rows or device; a check is skipped if one of its keys has a problem already."""
    invalid = {problem.key for problem in problems}
    for keys, find in (*model_checks.CHECKS, *data_checks.CHECKS, (DEVICE_KEYS, _device_problems)):
        if not any(_touches(key, one) for key in keys for one in invalid):
            found = [problem for problem in find(local, source) if problem.key not in invalid]
            yield from found
            invalid |= {problem.key for problem in found}


def _touches(key: str, other: str) -> bool:
    """Whether one of two dotted keys contains the other."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def _device_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """A dtype that this machine's device does not support."""
    try:
        choose_precision(local.config)
    except HardwareError as error:
        key = "fp16" if local.config.training.fp16 else "bf16"
        yield source.problem(("training", key), error.message.partition(" true")[2].lstrip(", "), error.fix)


def _argument_problems(config: Config, source: Source) -> Iterator[Problem]:
    """What transformers', TRL's or this framework's arguments refuse; asked last, because they stop at the first."""
    from shared.finetune.training.arguments import sft_arguments, task_arguments

    make = sft_arguments if config.task_type == "CAUSAL_LM" else task_arguments
    try:
        with redirect_stdout(io.StringIO()):  # what it says without refusing, the training says itself
            make(config, config.training.output_dir or "outputs")
    except PeftLabsError as error:  # begins with its key
        key, _, message = error.message.partition(": ")
        yield source.problem(tuple(key.split(".")), message, error.fix)
    except (ValueError, TypeError, ImportError, OSError) as error:
        text = " ".join(str(error).split())
        named = [key for key in config.training.model_fields_set if key in text]
        path = ("training", max(named, key=len)) if named else ("training",)
        yield source.problem(path, f"refused by the Trainer's arguments: {text}", "change it accordingly", value=None)
