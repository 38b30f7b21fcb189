"""Lab 02's comparisons over several seeds.

Learning rates are chosen by the mean accuracy on the validation rows. The reported accuracy is that on the test rows.

    python Lab-02-AdapterLayers/study.py --profile tiny                  # all parts
    python Lab-02-AdapterLayers/study.py --profile tiny --parts methods  # one part
    python Lab-02-AdapterLayers/study.py --profile tiny --minutes 5      # stop after 5 minutes; the next call continues

The part ``notebooks`` executes the lab's notebooks up to 03 with each seed and keeps what they measure (AdapterDrop,
AdapterFusion, combinations, the comparison with the linear probe). The results are written to
``Lab-02-AdapterLayers/study/<profile>.json`` after every run, which is where the notebooks read them. A run that is
already in the file is not repeated; delete the file to measure everything anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from shared.finetune import train
from shared.finetune.evaluation import evaluate_rows, scored_rows
from shared.labs import open_lab
from shared.runs import RunFolder

LAB = "Lab-02-AdapterLayers"
FOLDER = Path(__file__).resolve().parent / "study"
QUIET = {"save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True}
PARTS = ("methods", "sizes", "notebooks")
SEEDS = (0, 1, 2)
LORA = {"method": "lora", "lora_r": 8, "lora_alpha": 32, "target_modules": ["query", "value"]}

#: Method -> the peft section's changes against the configuration (Houlsby, GELU, LayerNorms trained). From the first to
#: the fourth each line changes one thing: the LayerNorms, the placement, the non-linearity.
METHODS: dict[str, dict[str, Any]] = {
    "Houlsby": {},
    "Houlsby, LayerNorms frozen": {"train_layer_norm": False},
    "Pfeiffer, GELU": {"kind": "pfeiffer", "train_layer_norm": False},
    "Pfeiffer, ReLU": {"kind": "pfeiffer", "train_layer_norm": False, "non_linearity": "relu"},
    "LoRA": LORA,
    "full fine-tuning": {"method": "full"},
    "head": {"method": "head"},
}
#: Profile -> method -> the learning rates that are tried; adapters have the grid of "Houlsby".
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "tiny": {"Houlsby": (2e-3, 4e-3), "LoRA": (1e-3, 2e-3, 4e-3), "full fine-tuning": (2e-4, 4e-4, 8e-4),
             "head": (5e-3, 2e-2, 5e-2)},
    "laptop": {"Houlsby": (1e-3, 3e-3), "LoRA": (1e-3, 3e-3), "full fine-tuning": (1e-4, 2e-4), "head": (5e-2,)},
}  # fmt: skip
#: Profile -> bottleneck sizes m beside the configuration's own, with their reduction factors d / m.
SIZES = {"tiny": {1: 128, 64: 2}, "laptop": {1: 384}}
#: What is kept of the stages that the notebooks write: stage -> file, keys.
KEPT = {
    "02-Train": (
        "metrics.json",
        ("adapter", "pfeiffer", "lora", "full", "second task", "fused", "adapter_drop", "against"),
    ),
    "03-Inference": ("quality.json", ("combined",)),
}


class Study:
    """The lab's configuration and the results that are already there."""

    def __init__(self, profile: str, output: Path):
        self.profile, self.path = profile, output / f"{profile}.json"
        self.config = open_lab(LAB, profile=profile).config.changed(dataset={"max_eval_rows": None}, training=QUIET)
        stored = json.loads(self.path.read_text(encoding="utf8")) if self.path.is_file() else {}
        self.runs: list[dict[str, Any]] = stored.get("runs", [])
        self.notebooks: list[dict[str, Any]] = stored.get("notebooks", [])

    def save(self) -> None:
        """Write all results with what is needed to measure them again."""
        import transformers

        training = self.config.training
        about = {
            "command": f"python {LAB}/study.py --profile {self.profile}",
            "model": self.config.model.name_or_path, "data": self.config.dataset.name,
            "steps": training.max_steps, "batch": training.per_device_train_batch_size, "seeds": list(SEEDS),
            "validation rows": len(scored_rows(self.config, "eval")),
            "test rows": len(scored_rows(self.config, "test")),
            "threads": torch.get_num_threads(), "torch": torch.__version__, "transformers": transformers.__version__,
            "chosen": self.chosen(), "runs": self.runs, "notebooks": self.notebooks,
        }  # fmt: skip
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")

    def run(self, method: str, peft: dict[str, Any], rate: float, seed: int) -> None:
        """One training run with its scores on the validation and on the test rows, unless it is stored already."""
        key = {"method": method, "learning_rate": rate, "seed": seed}
        if any(all(one[name] == value for name, value in key.items()) for one in self.runs):
            return
        head = {"head": {"learning_rate": None}} if method == "head" else {}
        config = self.config.changed(peft=peft, training={"learning_rate": rate}, **head)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):  # the Trainer prints its log
            found = train.run(config, folder, seed, score=False)
        model, tokenizer = found.trainer.model.eval(), found.trainer.processing_class
        scores = {name: evaluate_rows(model, tokenizer, config, split)["accuracy"]
                  for name, split in (("validation", "eval"), ("test", "test"))}  # fmt: skip
        self.runs.append({**key, **scores, "trainable": found.metrics["trainable"],
                          "seconds": round(time.perf_counter() - start, 1)})  # fmt: skip
        self.save()
        print(self.runs[-1], flush=True)

    def chosen(self) -> dict[str, float]:
        """Method -> the learning rate with the best mean accuracy on the validation rows."""
        found: dict[str, dict[float, list[float]]] = {}
        for one in self.runs:
            found.setdefault(one["method"], {}).setdefault(one["learning_rate"], []).append(one["validation"])
        return {method: max(rates, key=lambda rate: statistics.fmean(rates[rate])) for method, rates in found.items()}

    def run_notebooks(self, seed: int) -> None:
        """Execute the notebooks up to 03 with a seed and keep what they measured."""
        if any(one["seed"] == seed for one in self.notebooks):
            return
        from shared.notebooks.runner import run_labs

        name = f"study-{seed}"
        run_labs([LAB], profile=self.profile, stages=("01", "02", "03"), seed=seed, run_name=name, resume=True)
        self.keep(seed, name)

    def keep(self, seed: int, run_name: str) -> None:
        """Store what the notebooks of a run measured."""
        folder, record = RunFolder(LAB, self.profile, run_name), {"seed": seed}
        for stage, (file, names) in KEPT.items():
            values = folder.read(stage).json(file)
            record |= {name: values[name] for name in names if name in values}
        self.notebooks.append(record)
        self.save()


def steps(study: Study, parts: list[str]) -> Iterator[Callable[[], None]]:
    """All runs of the given parts, one call each."""
    grids = GRIDS[study.profile]
    for seed in SEEDS:
        if "methods" in parts:
            for method, peft in METHODS.items():
                for rate in grids.get(method, grids["Houlsby"]):
                    yield lambda m=method, p=peft, r=rate, s=seed: study.run(m, p, r, s)
        if "sizes" in parts:
            for size, factor in SIZES[study.profile].items():
                for rate in grids["Houlsby"]:
                    peft = {"reduction_factor": factor}
                    yield lambda z=size, p=peft, r=rate, s=seed: study.run(f"Houlsby, m = {z}", p, r, s)
    for seed in SEEDS if "notebooks" in parts else ():
        yield lambda s=seed: study.run_notebooks(s)


def main(argv: list[str] | None = None) -> int:
    """Measure what is not stored yet.

    Returns:
        0 when all runs of the wanted parts are stored, 3 when the time was not enough.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="tiny", choices=sorted(GRIDS))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the results")
    args = parser.parse_args(argv)
    study, end = Study(args.profile, args.output), time.monotonic() + 60 * args.minutes
    for step in steps(study, args.parts):
        if time.monotonic() > end:
            return 3
        step()
    return 0


if __name__ == "__main__":
    sys.exit(main())
