"""Generate a model's answers and score them."""

from __future__ import annotations

import argparse
from pathlib import Path

from shared.finetune.common.exit_codes import exit_code
from shared.finetune.evaluation import Generation, evaluate_rows, generate_answers, score, scored_rows, scores_text

__all__ = ["Generation", "evaluate_rows", "generate_answers", "main", "score", "scored_rows", "scores_text"]


def main(argv: list[str] | None = None) -> int:
    """``peft-labs evaluate``: the task's metrics on a split.

    Returns:
        0, or 1 after an error, which is printed with its fix.
    """
    parser = argparse.ArgumentParser(prog="peft-labs evaluate", description="Score a model on a split.")
    parser.add_argument("--config", required=True, help="the YAML file")
    parser.add_argument("--model_path", help="an adapter or model folder; without it the untuned base is scored")
    parser.add_argument("--split", default="test", choices=["train", "eval", "test"])
    parser.add_argument("--output_file", help="write metrics and answers here (.json)")
    parser.add_argument("overrides", nargs="*", help="key=value, for example evaluation.rows=50")
    args = parser.parse_args(argv)
    return exit_code(lambda: print(_report(args)))


def _report(args: argparse.Namespace) -> str:
    from shared.files import write_json
    from shared.finetune.common.progress import bar
    from shared.finetune.models import load_tuned
    from shared.finetune.validation.all_checks import checked_config

    config = checked_config(args.config, args.overrides, trains=False, scored=args.split)
    model, tokenizer = load_tuned(config, args.model_path)
    with bar("answers") as progress:
        found = evaluate_rows(model, tokenizer, config, args.split, progress)
    if args.output_file:
        write_json(Path(args.output_file), {"model_path": args.model_path, "split": args.split, **found})
    return f"{config.task_name}, {args.split} split: {scores_text(found)}"


if __name__ == "__main__":
    raise SystemExit(main())
