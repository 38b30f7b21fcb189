"""Every fault of a configuration at once, and for a good one what it will cost."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError, ModelError, PeftLabsError
from shared.finetune.config import Config, load_config
from shared.finetune.faults import ConfigFaults, Fault
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS
from shared.finetune.yaml_source import read_source
from shared.paths import repo_root
from shared.quiet import quiet

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

GB = 1e9
CLASSES = {"SEQ_CLS": 2, "TOKEN_CLS": 9}  # what an estimate takes for a head: the data are not read for it


@dataclass(frozen=True)
class Estimate:
    """What a training run will take, from the architecture's shapes alone.

    Attributes:
        trainable: Trained parameters.
        total: All parameters, adapters included.
        gigabytes: Part -> size [GB] of weights, gradients, optimizer states.
        steps: Optimizer steps; None when they depend on the number of rows.
        source: Where the shapes come from.
    """

    trainable: int
    total: int
    gigabytes: dict[str, float]
    steps: int | None
    source: str

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size:.3g}" for name, size in self.gigabytes.items())
        steps = "steps: by the number of rows" if self.steps is None else f"{self.steps:,} steps"
        return (
            f"trains {self.trainable:,} of {self.total:,} parameters ({self.trainable / self.total:.3%}); "
            f"memory [GB]: {parts}, together {sum(self.gigabytes.values()):.3g} without activations; {steps} "
            f"(shapes from {self.source})"
        )


def shipped_configs() -> list[Path]:
    """All configurations of this checkout: the labs' and the framework's."""
    root = repo_root()
    return sorted([*root.glob("Lab-*/configs/*.yaml"), *root.glob("shared/finetune/configs/*.yaml")])


def validate(file: str | Path, overrides: list[str] | None = None) -> tuple[Config | None, list[Fault]]:
    """Check one file, with its target modules where the architecture is at hand.

    Args:
        file: The YAML file.
        overrides: ``key=value`` texts.

    Returns:
        The configuration (None when it has faults) and the faults.
    """
    try:
        config = load_config(file, overrides or [])
    except ConfigFaults as error:
        return None, list(error.faults)
    faults = [*_target_faults(config, file), *_method_faults(config, file), *_data_faults(config, file)]
    return (None if faults else config), faults


def meta_model(config: Config) -> tuple[torch.nn.Module, str] | None:
    """The base's architecture on the meta device: shapes without memory and without a download.

    Returns:
        The model and where its shapes come from, or None where no description is at hand.
    """
    import torch
    import transformers

    from shared.finetune.models import resolve

    name = config.model.name_or_path
    try:
        folder = resolve(name)
    except PeftLabsError:
        return None
    about, source = None, "its config.json"
    if Path(folder).is_dir():
        about = transformers.AutoConfig.from_pretrained(folder)
    elif found := _reference(name):
        about, source = found
    if about is None:
        return None
    classes = CLASSES.get(config.task_type)
    if classes:
        about.num_labels, source = classes, f"{source}, with a head for {classes} classes"
    with torch.device("meta"):
        return getattr(transformers, TASKS[config.task_type].auto_class).from_config(about), source


def estimate(config: Config) -> Estimate | None:
    """Parameters and memory of a configuration; None where the base's architecture is not at hand."""
    found = meta_model(config)
    if found is None:
        return None
    from shared.parameters import count, linear_shapes

    model, source = found
    base = sum(parameter.numel() for parameter in model.parameters())
    linear = sum(rows * columns for rows, columns in linear_shapes(model).values())
    counts = count(_tuned(model, config))
    return Estimate(
        counts.trainable, counts.total, _gigabytes(config, base, linear, counts.trainable), _steps(config), source
    )


def _reference(name: str) -> tuple[PretrainedConfig, str] | None:
    """The configuration of a well-known architecture that the package describes itself."""
    from shared.parameters import ARCHITECTURES, reference_model

    if name.lower() in ("meta-llama/llama-2-7b-hf", "meta-llama/llama-2-7b-chat-hf", "huggyllama/llama-7b"):
        return reference_model("Llama-2-7b").config, "Llama-2-7B's published shapes"
    short = name.rsplit("/", 1)[-1]
    return (reference_model(short).config, f"{short}'s published shapes") if short in ARCHITECTURES else None


def _tuned(model: Any, config: Config) -> Any:
    """The base with the method applied, on the meta device."""
    import torch

    section = config.peft
    if getattr(section, "init", None) == "text":  # would need the tokenizer; the shapes are the same
        section = section.model_copy(update={"init": "random", "init_text": None})
    with torch.device("meta"):
        return METHODS[section.method].apply(model, section, config.task_type)


def _method_faults(config: Config, file: str | Path) -> list[Fault]:
    """A method that this architecture or task does not allow."""
    found = meta_model(config)
    if found is None:
        return []
    try:
        METHODS[config.peft.method].check(found[0], config.peft, config.task_type)
    except ModelError as error:
        return [read_source(file).fault(("peft", "method"), error.message, error.cure, config.peft.method)]
    return []


def _data_faults(config: Config, file: str | Path) -> list[Fault]:
    """What a chat's prompts or programs' tests need and the data lack, where these are on this machine."""
    from shared.finetune.chats import chat_field
    from shared.finetune.data import check_columns, load_rows
    from shared.finetune.metrics.answers import tests_of

    checks: list[tuple[tuple, Callable[[Any], Any]]] = []
    if config.task_type == "CAUSAL_LM" and chat_field(config.dataset):
        checks.append((("dataset",), lambda rows: check_columns(rows.column_names, config.dataset)))
    if config.evaluation.metric == "pass_at_1":
        checks.append((("evaluation", "tests_field"), lambda rows: tests_of(rows, config)))
    name, faults = config.dataset.name, []
    if not checks or not (name.startswith("tiny:") or Path(name).expanduser().exists()):
        return []
    rows: Any = None
    for path, check in checks:
        try:
            rows = rows or load_rows(config.dataset, "test")
            check(rows)
        except DataError as error:
            faults.append(read_source(file).fault(path, error.message, error.cure, value=None))
    return faults


def _gigabytes(config: Config, base: int, linear: int, trainable: int) -> dict[str, float]:
    """Weights, gradients and AdamW's two states per trained parameter [GB]."""
    width = {"float32": 4, "auto": 2}.get(config.model.dtype, 2)
    quantization = config.model.quantization
    if quantization is not None and quantization.load_in_4bit:
        from shared.memory import nf4_base

        weights = nf4_base(base, linear, quantization.bnb_4bit_use_double_quant)
    elif quantization is not None and quantization.load_in_8bit:
        weights = (linear + (base - linear) * width) / GB
    else:
        weights = base * width / GB
    full = METHODS[config.peft.method].trains_base
    # adapters are float32, those on a quantised base bfloat16 (as TRL keeps them)
    adapter_width = 4 if quantization is None else 2
    added = 0 if full else adapter_width * trainable / GB
    per_moment = 1 if "8bit" in config.training.optim else 4
    grads = (width if full else adapter_width) * trainable / GB
    return {"weights": weights + added, "gradients": grads, "optimizer": 2 * per_moment * trainable / GB}


def _steps(config: Config) -> int | None:
    training = config.training
    if training.max_steps > 0:
        return training.max_steps
    rows = config.dataset.max_train_rows
    if rows is None:
        return None
    per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return int(-(-rows // per_step) * training.num_train_epochs)


def _target_faults(config: Config, file: str | Path) -> list[Fault]:
    """Target modules that the architecture does not have."""
    targets = getattr(config.peft, "target_modules", None)
    found = meta_model(config) if isinstance(targets, list) else None
    if found is None:
        return []
    names = {name.rsplit(".", 1)[-1] for name, _ in found[0].named_modules()} | {
        name for name, _ in found[0].named_modules()
    }
    linear = sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, module in found[0].named_modules()
            if type(module).__name__ in ("Linear", "Conv1D")
        }
    )
    source = read_source(file)
    faults = []
    for number, target in enumerate(targets):
        if target not in names and not any(name.endswith(f".{target}") for name in names):
            near = difflib.get_close_matches(target, linear, n=1)
            cure = f"did you mean {near[0]}?" if near else f"its linear layers are: {', '.join(linear)}"
            path = ("peft", "target_modules", number)
            faults.append(source.fault(path, f"{config.model.name_or_path} has no such layer", cure, value=target))
    return faults


def schema_text() -> str:
    """The schema as text: each key, its type's default, and its effect."""
    lines = []
    for name, field in Config.model_fields.items():
        lines.append(f"\n{name}: {field.description}")
        sections = (
            [field.annotation]
            if hasattr(field.annotation, "model_fields")
            else [one for one in getattr(field.annotation, "__args__", ()) if hasattr(one, "model_fields")]
        )
        for section in sections:
            for key, part in section.model_fields.items():
                default = "(required)" if part.is_required() else f"[{part.get_default(call_default_factory=True)!r}]"
                lines.append(f"  {key} {default}: {' '.join((part.description or '').split())}")
    return "\n".join(lines).strip()


def main(argv: list[str] | None = None) -> int:
    """``peft-labs validate-config``.

    Returns:
        0 when all files are good, 1 when one has faults, 2 for a wrong call.
    """
    parser = argparse.ArgumentParser(prog="peft-labs validate-config", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="YAML files; key=value words among them override values")
    parser.add_argument("--config", action="append", default=[], help="a YAML file (the other verbs' spelling)")
    parser.add_argument("--all", action="store_true", help="all configurations of this checkout")
    parser.add_argument("--schema", action="store_true", help="print every key with its effect and end")
    args = parser.parse_args(argv)
    quiet()
    if args.schema:
        print(schema_text())
        return 0
    overrides = [word for word in args.files if "=" in word and not Path(word).exists()]
    files = [*(Path(word) for word in args.files if word not in overrides), *map(Path, args.config)]
    files += shipped_configs() if args.all else []
    if not files:
        parser.print_usage(sys.stderr)
        print("validate-config: name a file, or --all", file=sys.stderr)
        return 2
    bad = sum(_check(file, overrides) for file in files)
    print(f"{len(files)} configuration{'s' if len(files) != 1 else ''}: {len(files) - bad} good, {bad} with faults")
    return 1 if bad else 0


def _check(file: Path, overrides: list[str]) -> bool:
    """Report one file; True when it has faults."""
    shown = file.relative_to(repo_root()) if file.is_relative_to(repo_root()) else file
    config, faults = validate(file, overrides)
    if config is None:
        print(f"{shown}: {len(faults)} fault{'s' if len(faults) != 1 else ''}")
        for fault in faults:
            print(f"  {fault}")
        return True
    found = estimate(config)
    cost = f"\n  {found}" if found else f" (no estimate: {config.model.name_or_path} is not on this machine)"
    print(f"{shown}: good{cost}")
    return False


if __name__ == "__main__":
    raise SystemExit(main())
