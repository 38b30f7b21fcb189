"""Report all problems of a configuration at once, and for a valid one its cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.errors import HardwareError
from shared.finetune.config import Config, check, read, valid_part
from shared.finetune.schema.problems import Problem, without_repetitions
from shared.finetune.schema.yaml_source import Source
from shared.finetune.training.precision import choose_precision
from shared.finetune.validation import data_checks, model_checks
from shared.finetune.validation.estimate import estimate
from shared.finetune.validation.local_inputs import AtHand
from shared.library_notices import hide_library_notices
from shared.paths import repo_root


def shipped_configs() -> list[Path]:
    """All configurations of this checkout: the labs' and the framework's."""
    root = repo_root()
    configs = root / "shared/finetune/configs"
    found = [*root.glob("Lab-*/configs/*.yaml"), *configs.glob("*.yaml"), *configs.glob("tiny/*.yaml")]
    return sorted(file for file in found if not file.name.startswith("accelerate"))  # those are accelerate's own


def validate(file: str | Path, overrides: list[str] | None = None) -> tuple[Config | None, list[Problem]]:
    """Check one file, also against the architecture and the rows if these are on this machine.

    Args:
        file: The YAML file.
        overrides: ``key=value`` texts.

    Returns:
        The configuration (None if it has problems) and the problems in the file's order.
    """
    source = read(file, overrides or [])
    config, problems = check(source)
    usable = config or valid_part(source)
    if usable is not None:
        problems = without_repetitions([*problems, *_deep_problems(AtHand(usable), source, problems)])
    if not problems:
        problems = list(_argument_problems(config, source))
    problems.sort(key=lambda problem: (problem.line, problem.key))
    return (None if problems else config), problems


def _deep_problems(hand: AtHand, source: Source, problems: list[Problem]) -> Iterator[Problem]:
    """Problems that need model, rows or device; a check is skipped if one of its keys has a problem already."""
    invalid = {problem.key for problem in problems}
    for keys, find in (*model_checks.CHECKS, *data_checks.CHECKS, (DEVICE_KEYS, _device_problems)):
        if not any(_touches(key, one) for key in keys for one in invalid):
            found = [problem for problem in find(hand, source) if problem.key not in invalid]
            yield from found
            invalid |= {problem.key for problem in found}


def _touches(key: str, other: str) -> bool:
    """Whether one of two dotted keys contains the other."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


DEVICE_KEYS = ("training.bf16", "training.fp16", "training.use_cpu", "model.name_or_path")


def _device_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """A dtype that this machine's device does not support."""
    try:
        choose_precision(hand.config)
    except HardwareError as error:
        key = "fp16" if hand.config.training.fp16 else "bf16"
        yield source.problem(("training", key), error.message.partition(" true")[2].lstrip(", "), error.fix)


def _argument_problems(config: Config, source: Source) -> Iterator[Problem]:
    """What transformers' or TRL's own arguments refuse; checked last, because they stop at the first problem."""
    from shared.finetune.train import sft_arguments, task_arguments

    make = sft_arguments if config.task_type == "CAUSAL_LM" else task_arguments
    try:
        make(config, config.training.output_dir or "outputs")
    except (ValueError, TypeError, ImportError, OSError) as error:
        text = " ".join(str(error).split())
        named = [key for key in config.training.model_fields_set if key in text]
        path = ("training", max(named, key=len)) if named else ("training",)
        yield source.problem(path, f"refused by the Trainer's arguments: {text}", "change it accordingly", value=None)


def main(argv: list[str] | None = None) -> int:
    """``peft-labs validate-config``.

    Returns:
        0 if all files are valid, 1 if one has problems, 2 for a wrong call.
    """
    parser = argparse.ArgumentParser(prog="peft-labs validate-config", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="YAML files; key=value words among them override values")
    parser.add_argument("--config", action="append", default=[], help="a YAML file (as in the other commands)")
    parser.add_argument("--all", action="store_true", help="all configurations of this checkout")
    parser.add_argument("--schema", action="store_true", help="print every key with its effect, and exit")
    args = parser.parse_args(argv)
    hide_library_notices()
    if args.schema:
        from shared.finetune.reference import as_text

        print(as_text())
        return 0
    overrides = [word for word in args.files if "=" in word and not Path(word).exists()]
    files = [*(Path(word) for word in args.files if word not in overrides), *map(Path, args.config)]
    files += shipped_configs() if args.all else []
    if not files:
        parser.print_usage(sys.stderr)
        print("validate-config: name a file, or --all", file=sys.stderr)
        return 2
    invalid = sum(_check(file, overrides) for file in files)
    number = f"{len(files)} configuration{'s' if len(files) != 1 else ''}"
    print(f"{number}: {len(files) - invalid} valid, {invalid} with problems")
    return 1 if invalid else 0


def _check(file: Path, overrides: list[str]) -> bool:
    """Report one file; True if it has problems."""
    shown = file.relative_to(repo_root()) if file.is_relative_to(repo_root()) else file
    config, problems = validate(file, overrides)
    if config is None:
        print(f"{shown}: {len(problems)} problem{'s' if len(problems) != 1 else ''}")
        for problem in problems:
            print(f"  {problem}")
        return True
    hand = AtHand(config)
    found = estimate(config, hand)
    cost = f"\n  {found}" if found else f" (no estimate: {config.model.name_or_path} is not on this machine)"
    print(f"{shown}: valid{cost}")
    for note in notes(hand):
        print(f"  note: {note}")
    return False


def notes(hand: AtHand) -> Iterator[str]:
    """Remarks that are not problems."""
    if slow := choose_precision(hand.config).emulated:
        yield f"training.bf16: {slow}: it is emulated, which is slow"
    found = data_checks.long_prompts(hand)
    if found and found[0]:
        yield f"sft.max_length: {found[0]} of {found[1]} prompts fill it, so that their response is cut off"


if __name__ == "__main__":
    raise SystemExit(main())
