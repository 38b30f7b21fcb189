"""Report all problems of a configuration at once, and for a valid one its cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.finetune.training.precision import check_optimizer, choose_precision
from shared.finetune.validation.all_checks import validate
from shared.finetune.validation.estimate import estimate
from shared.finetune.validation.expected_warnings import expected_warnings
from shared.finetune.validation.local_inputs import LocalInputs
from shared.library_notices import hide_library_notices
from shared.paths import repo_root

__all__ = ["main", "notes", "shipped_configs", "validate"]


def shipped_configs() -> list[Path]:
    """All configurations of this checkout: the labs' and the framework's."""
    root = repo_root()
    configs = root / "shared/finetune/configs"
    found = [*root.glob("Lab-*/configs/*.yaml"), *configs.glob("*.yaml"), *configs.glob("tiny/*.yaml")]
    return sorted(file for file in found if not file.name.startswith("accelerate"))  # those are accelerate's own


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
    local = LocalInputs(config)
    found = estimate(config, local)
    cost = f"\n  {found}" if found else f" (no estimate: {config.model.name_or_path} is not on this machine)"
    print(f"{shown}: valid{cost}")
    check_optimizer(config)  # says what an optimizer does on this machine
    for note in notes(local):
        print(f"  note: {note}")
    for warning in expected_warnings(local):
        print(f"  warning: {warning}")
    return False


def notes(local: LocalInputs) -> Iterator[str]:
    """Remarks that are not problems."""
    if slow := choose_precision(local.config).emulated:
        yield f"training.bf16: {slow}: it is emulated, which is slow"


if __name__ == "__main__":
    raise SystemExit(main())
