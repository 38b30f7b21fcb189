"""Try learning rates of one method on one task: ``python -m shared.tiny.sweep mrpc lora --rates 2e-3 5e-3 1e-2``.

Scored on the validation split, so that no setting is chosen on test rows.
"""

from __future__ import annotations

import argparse
from contextlib import redirect_stdout
from io import StringIO

from shared.library_notices import hide_library_notices
from shared.tiny.measure import measure
from shared.tiny.recipes import methods


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m shared.tiny.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("task")
    parser.add_argument("method")
    parser.add_argument("--rates", nargs="+", type=float, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--model", help="another model folder")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other values of the peft section")
    args = parser.parse_args()

    import torch
    import yaml

    changed = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in args.set)}
    peft = methods(args.task)[args.method].peft | changed
    torch.set_num_threads(args.threads)
    hide_library_notices()
    for rate in args.rates:
        for seed in args.seeds:
            with redirect_stdout(StringIO()):  # the Trainer prints its log
                found = measure(args.task, args.method, seed, rate=rate, peft=peft, model=args.model,
                                split="validation", steps=args.steps)  # fmt: skip
            what = " ".join([args.task, args.method, *args.set])
            print(
                f"{what} learning rate {rate:g} seed {seed}: {found['score']:.1%} in {found['seconds']} s", flush=True
            )


if __name__ == "__main__":
    main()
