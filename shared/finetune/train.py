"""Train by a configuration: base, data, adapter, Trainer, scores, run folder; resumable after a kill."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import PeftLabsError
from shared.finetune.common.processes import is_main, leave_group, rank, say
from shared.finetune.training.arguments import sft_arguments, task_arguments
from shared.finetune.training.saving import save, save_weights
from shared.finetune.training.trainers import build_task_trainer, build_trainer, peft_config
from shared.finetune.training.training_run import TrainResult, count, run, run_seed
from shared.library_notices import hide_library_notices
from shared.run_files import broken_checkpoints

if TYPE_CHECKING:
    from shared.finetune.config import Config
    from shared.finetune.training.output_paths import Output


__all__ = [
    "TrainResult", "build_task_trainer", "build_trainer", "count", "main", "peft_config", "run", "save", "save_weights",
    "sft_arguments", "task_arguments",
]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """``peft-labs train``: train by a configuration and write the run folder.

    Returns:
        0; 1 after an error that is printed with its fix; 130 after Ctrl-C, with how to resume.
    """
    parser = argparse.ArgumentParser(prog="peft-labs train", description="Train by a YAML configuration.")
    parser.add_argument("--config", required=True, help="the YAML file")
    parser.add_argument("--resume", action="store_true", help="resume from the last complete checkpoint")
    parser.add_argument("--seed", type=int, help="seed; default training.seed, else 0")
    parser.add_argument("--run_name", default="cli", help="a lab's run folder: its name (default: cli)")
    parser.add_argument("--no_score", action="store_true", help="don't answer the test split at the end")
    parser.add_argument("overrides", nargs="*", help="key=value, for example training.max_steps=10")
    args = parser.parse_args(argv)
    hide_library_notices()
    try:
        return _train(args, sys.argv[1:] if argv is None else argv)
    except PeftLabsError as error:
        print(f"error: {error}" if is_main() else f"error in process {rank()}: {error}", file=sys.stderr)
        return 1
    finally:
        leave_group()


def _train(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from datasets.utils.logging import disable_progress_bar

    from shared.finetune.training.interrupt import report
    from shared.finetune.training.output_paths import output_for
    from shared.finetune.training.precision import choose_precision
    from shared.finetune.training.reporting import announce
    from shared.finetune.validation.all_checks import checked_config

    disable_progress_bar()  # tokenising shows five bars otherwise; training has its own
    config = checked_config(args.config, args.overrides, scored=None if args.no_score else "test")
    seed = run_seed(config, args.seed)
    output = output_for(args.config, config, args.run_name)
    key = output.key(config, seed)
    precision = choose_precision(config)
    say(f"{config.task_name}: {config.peft.method} on {config.model.name_or_path}, seed {seed}")
    say(f"precision {precision.value}: {precision.reason}")
    resume = _start(output, key, args.resume)
    announce(config, output.checkpoints(key))
    try:
        _train_and_write(args, config, seed, output, key, resume)
    except KeyboardInterrupt as error:
        return report(error, arguments, output.last_checkpoint(key))
    return 0


def _start(output: Output, key: str, resume: bool) -> Path | None:
    """The checkpoint to resume from; without ``--resume``, the main process removes old checkpoints."""
    if not resume:
        if is_main():
            output.clear_checkpoints(key)
        return None
    folder = output.checkpoints(key)
    last = output.last_checkpoint(key)
    for broken in broken_checkpoints(folder) if is_main() else []:
        say(f"{broken.name} was not written to its end: left out")
        shutil.rmtree(broken, ignore_errors=True)
    say(f"resuming from {last.name}" if last else "no whole checkpoint to resume from: starting anew")
    return last


def _train_and_write(
    args: argparse.Namespace, config: Config, seed: int, output: Output, key: str, resume: Path | None
) -> None:
    from shared.finetune.common.progress import bar

    with bar("answers", total=config.evaluation.rows) as progress:
        result = run(
            config, output.checkpoints(key), seed, resume, score=not args.no_score, progress=progress, show=True
        )
    if is_main():
        result.path = output.write(lambda out: save(result, config, out), [seed])
        output.clear_checkpoints(key)
        say(_summary(result))


def _summary(result: TrainResult) -> str:
    found = result.metrics
    share = found["trainable"] / found["total"]
    text = (
        f"{found['steps']} steps in {found['seconds']:.0f} s; {found['trainable']:,} of {found['total']:,} "
        f"parameters trained ({share:.2%})"
    )
    text += (
        f"\n{found['tokens_per_second']:,.0f} tokens/s; peak memory {found['peak_memory_mib']:,.0f} MiB; "
        f"precision {found['training_precision']}"
    )
    if found.get("loss_after") is not None:
        before = "" if found["loss_before"] is None else f"{found['loss_before']:.3g} before, "
        text += f"\nloss of the same training rows: {before}{found['loss_after']:.3g} after"
    if found.get("end_token_rows"):
        text += f"; end token predicted on {found['end_token_share']:.0%} of {found['end_token_rows']}"
    if "n" in found:
        from shared.finetune.evaluation import scores_text

        text += f"\n{scores_text(found)}"
    warnings = "".join(f"\nwarning: {one}" for one in found["warnings"])
    return f"{text}{warnings}\nwritten to {result.path}"


if __name__ == "__main__":
    raise SystemExit(main())
