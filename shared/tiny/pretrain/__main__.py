"""Pretrain a micro-model from nothing: ``python -m shared.tiny.pretrain bert``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from shared.tiny.pretrain import RECIPES
from shared.tiny.pretrain.loop import save


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m shared.tiny.pretrain", description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--out", type=Path, default=None, help="folder to write (default: the package's own)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cuda: on a GPU, where only making the text takes long")
    parser.add_argument("--no-compile", action="store_true", help="where there is no C++ compiler")
    parser.add_argument("--steps", type=int, help="stop after so many steps; the schedule stays the recipe's")
    parser.add_argument("--go-on", action="store_true", help="go on after the last finished phase kept in the folder")
    args = parser.parse_args()

    import torch
    from transformers import set_seed

    module = importlib.import_module(f"shared.tiny.pretrain.{args.name}")
    recipe, folder = module.Recipe(), args.out or Path(__file__).parents[1] / "models" / args.name
    torch.set_num_threads(args.threads)
    set_seed(recipe.seed)
    kept = folder / "pretraining.json"
    if args.go_on and not kept.is_file():
        sys.exit(f"{kept} is not there, so nothing can be gone on with\n  fix: run again without --go-on")
    log = json.loads(kept.read_text(encoding="utf8"))["log"] if args.go_on else []

    def keep(model, tokenizer, log):
        save(args.name, model, tokenizer, recipe, log, folder)

    module.train(recipe, steps=args.steps, compiled=not args.no_compile, keep=keep, log=log,
                 start=folder if args.go_on else None, device=args.device)  # fmt: skip


if __name__ == "__main__":
    main()
