"""Compare methods on one task with one budget: a table, a Pareto plot, and all results as JSON.

The runs differ in method and learning rate only; data, steps, batch and metrics are those of the configuration. Each
finished run is saved in the output folder at once, so that an interrupted comparison can be continued.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError, ModelError
from shared.files import write_json, write_text
from shared.finetune.common.exit_codes import exit_code
from shared.finetune.evaluation.comparison_report import figure, markdown, summaries
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS, main_metric

if TYPE_CHECKING:
    from shared.finetune.config import Config


@dataclass
class Plan:
    """What will be trained.

    Attributes:
        configs: Method -> its configuration.
        refused: Method -> why it is left out.
    """

    configs: dict[str, Config] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def plan(config: Config, methods: Sequence[str] = (), rates: dict[str, float] | None = None) -> Plan:
    """The configuration of each method.

    The configuration's own method keeps its ``peft:`` section and ``training.learning_rate``; the others have their
    defaults and the learning rate of their module, unless ``lab.learning_rates`` or ``rates`` names another. A task's
    new head has the learning rate of the configuration with every method.

    Args:
        config: The configuration: task, data and budget.
        methods: Which methods; empty: all.
        rates: Method -> learning rate.

    Raises:
        ConfigError: If there is no such method.
        PeftLabsError: If the base can't be loaded.
    """
    from shared.finetune.models import load_base

    for name in (*methods, *(rates or {})):
        if name not in METHODS:
            raise ConfigError(f"there is no method {name!r}", fix=f"choose from: {', '.join(METHODS)}")
    given = {**(config.lab.learning_rates if config.lab else {}), **(rates or {})}
    found, (base, _) = Plan(), load_base(config)
    for name in methods or METHODS:
        try:
            one = _with_method(config, name, given.get(name))
            METHODS[name].check(base, one.peft, one.task_type)
        except ConfigError as error:
            found.refused[name] = "; ".join(f"{problem.key}: {problem.message}" for problem in error.problems)
        except ModelError as error:
            found.refused[name] = error.message
        else:
            found.configs[name] = one
    return found


def _with_method(config: Config, name: str, rate: float | None) -> Config:
    """The configuration with another method; for its own method, at most the learning rate changes."""
    own = config.peft.method == name
    if own and rate is None:
        return config
    changes = {"training": {"learning_rate": METHODS[name].learning_rate if rate is None else rate}}
    if not own:
        changes["peft"] = {"method": name}
    if TASKS[config.task_type].has_head and name != "head":  # a new head would diverge at the learning rates of prompts
        changes["head"] = {"learning_rate": config.head.learning_rate or config.training.learning_rate}
    return config.changed(**changes)


def compare(
    config: Config,
    seeds: Sequence[int],
    output: Path,
    methods: Sequence[str] = (),
    rates: dict[str, float] | None = None,
    say: Any = print,
) -> dict[str, Any]:
    """Train and score every method with every seed; write ``comparison.json``, ``.md`` and ``.png``.

    Args:
        config: The configuration.
        seeds: The seeds.
        output: Folder for the results; runs that are already in it are not repeated.
        methods: Which methods; empty: all.
        rates: Method -> learning rate.
        say: Called with one line per run.

    Returns:
        What ``comparison.json`` holds: the task and its budget, the results, the baselines, and the refused methods.

    Raises:
        PeftLabsError: If a method is unknown, or model or data are missing; finished runs are kept.
    """
    from shared.finetune.evaluation.baselines import majority
    from shared.finetune.evaluation.scoring import check_references

    check_references(config)
    chosen, metric = plan(config, methods, rates), main_metric(config)
    for name, why in chosen.refused.items():
        say(f"{name}: left out: {why}")
    results = list(_results(chosen, seeds, output, metric, say))
    report = {
        "task": config.task_name, "model": config.model.name_or_path, "dataset": config.dataset.name,
        "metric": metric, "seeds": list(seeds), "budget": _budget(config), "results": results,
        "baselines": {"majority": majority(config)}, "refused": chosen.refused,
    }  # fmt: skip
    write_json(output / "comparison.json", report)
    write_text(output / "comparison.md", markdown(report))
    if results:
        _save_figure(report, output / "comparison.png")
    return report


def _results(chosen: Plan, seeds: Sequence[int], output: Path, metric: str, say: Any) -> Iterator[dict[str, Any]]:
    for name, config in chosen.configs.items():
        for seed in seeds:
            file = output / "runs" / f"{name}-seed{seed}.json"
            key = _key(config, seed)
            result = _kept(file, key)
            if result is None:
                result = _train(config, seed, output / "checkpoints", metric)
                write_json(file, {"key": key, "result": result})
                again = ""
            else:
                again = " (from an earlier run)"
            say(f"{name}, seed {seed}: {metric} {result['score']:.1%}, {result['seconds']:.0f} s{again}")
            for warning in result.get("warnings", ()):
                say(f"  warning: {warning}")
            yield result


def _train(config: Config, seed: int, checkpoints: Path, metric: str) -> dict[str, Any]:
    """One run with its scores; no weights are saved."""
    from shared.finetune.training.training_run import run

    checkpoints.mkdir(parents=True, exist_ok=True)
    try:
        metrics = run(config, checkpoints, seed=seed, show=True).metrics
    finally:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return {"score": metrics[metric], "learning_rate": config.training.learning_rate, **metrics}


def _key(config: Config, seed: int) -> str:
    """A fingerprint of everything a result depends on: what decides the weights, and how answers are scored."""
    from shared.finetune.training.output_paths import checkpoint_key
    from shared.runs import fingerprint

    return fingerprint([checkpoint_key(config, seed), config.evaluation.model_dump()])


def _kept(file: Path, key: str) -> dict[str, Any] | None:
    """A result that the same configuration computed before; a damaged file is ignored."""
    try:
        found = json.loads(file.read_text(encoding="utf8"))
        return found["result"] if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _budget(config: Config) -> dict[str, Any]:
    names = ("max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps")
    rows = {"max_train_rows": config.dataset.max_train_rows, "scored_rows": config.evaluation.rows}
    return {**{name: getattr(config.training, name) for name in names}, **rows}


def _save_figure(report: dict[str, Any], file: Path) -> None:
    from shared.plotting.show import png

    partial = file.with_name(f".{file.name}")
    partial.write_bytes(png(figure(report)))
    partial.replace(file)


def main(argv: list[str] | None = None) -> int:
    """``peft-labs compare``.

    Returns:
        0, or 1 after an error, which is printed with its fix; 130 after Ctrl-C: the same command continues.
    """
    parser = argparse.ArgumentParser(prog="peft-labs compare", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file: task, data and budget")
    parser.add_argument("--seeds", nargs="+", default=["0"], help="seeds (default: 0)")
    parser.add_argument("--methods", nargs="+", default=[], help=f"some of: {', '.join(METHODS)} (default: all)")
    parser.add_argument("--learning_rates", nargs="+", default=[], help="method=value, for example lora=1e-3")
    parser.add_argument("--output", type=Path, help="folder (default: training.output_dir-comparison)")
    parser.add_argument("overrides", nargs="*", help="key=value, for example training.max_steps=100")
    args = parser.parse_args(argv)
    try:
        return exit_code(lambda: _run(args))
    except KeyboardInterrupt:
        print("stopped: finished runs are kept, the same command continues", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> None:
    from rich.console import Console

    from shared.finetune.evaluation.comparison_report import rich_table
    from shared.finetune.validation.all_checks import checked_config

    # an option with several values also takes the key=value words after it
    after = [word for word in (*args.seeds, *args.methods) if "=" in word]
    after += [word for word in args.learning_rates if "." in word.partition("=")[0]]
    config = checked_config(args.config, [*args.overrides, *after])
    seeds = [_seed(word) for word in args.seeds if word not in after]
    methods = [word for word in args.methods if word not in after]
    rates = dict(_rate(word) for word in args.learning_rates if word not in after)
    output = args.output or Path(f"{config.training.output_dir or f'outputs/{config.task_name}'}-comparison")
    report = compare(config, seeds, output, methods, rates, lambda line: print(line, flush=True))
    Console().print(rich_table(report))
    print(f"ranked by {report['metric']}: {', '.join(one.method for one in summaries(report)) or 'none'}")
    print(f"written to {output}: comparison.json, comparison.md, comparison.png")


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise ConfigError(f"--seeds: {word!r} is not a seed", fix="write whole numbers: --seeds 0 1 2")
    return int(word)


def _rate(word: str) -> tuple[str, float]:
    name, _, number = word.partition("=")
    try:
        return name, float(number)
    except ValueError:
        fix = "write method=value, for example lora=1e-3"
        raise ConfigError(f"--learning_rates: {word!r} is not a method with a learning rate", fix=fix) from None


if __name__ == "__main__":
    raise SystemExit(main())
