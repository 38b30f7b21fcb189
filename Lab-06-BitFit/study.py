"""Lab 06's comparisons over several seeds.

Settings are chosen by the mean score on the validation rows. The reported scores are those on the test rows.

    python Lab-06-BitFit/study.py --profile tiny                  # all parts
    python Lab-06-BitFit/study.py --profile tiny --parts rates    # one part
    python Lab-06-BitFit/study.py --profile tiny --minutes 5      # stop after 5 minutes; the next call continues

Candidates of the learning rate that are clearly worse for the first seed need not be repeated for the others: a choice
needs all seeds, so only complete ones are compared. The results are written to ``Lab-06-BitFit/study/<profile>.json``
after every training run, which is where the notebooks read them. A run that is already in the file is not repeated;
delete the file to measure everything anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bitfit_subsets as subsets
import numpy as np
import torch
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from shared.finetune.data.loading import load_rows
from shared.finetune.evaluation.scoring import evaluate_rows, scored_rows
from shared.finetune.methods.support.heads import head_modules, in_head
from shared.finetune.models.loading import load_base
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.batches import batches, collator, pad
from shared.finetune.training.arguments import task_arguments
from shared.finetune.training.task_trainer import TaskTrainer
from shared.labs import open_lab

FOLDER = Path(__file__).resolve().parent / "study"
QUIET = {"save_strategy": "no", "eval_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
PARTS = ("rates", "rows", "kinds")
SPLITS = {"validation": "eval", "test": "test"}

#: Profile -> method -> the learning rates that are tried; 1e-3 is the default of the authors' script for BitFit.
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "tiny": {
        "bitfit": (4e-3, 7e-3, 1e-2, 1.5e-2),
        "full": (1e-4, 2e-4),
        "head": (2e-2, 6e-2),
        "half": (3e-2, 6e-2),
        "random half": (1.5e-2, 3e-2),
        "random entries": (1.5e-2,),
        "without key and value": (1e-2,),
        "with LayerNorm weights": (1e-2,),
        "random rows and columns": (7e-3,),
    },
    "laptop": {
        "bitfit": (5e-3, 1e-2),
        "full": (1e-4, 2e-4),
        "head": (2e-2, 5e-2),
    },
    "full": {
        "bitfit": (1e-4, 4e-4, 1e-3),
        "full": (1e-5, 2e-5, 5e-5),
        "head": (1e-3, 1e-2),
    },
}
ROWS = {"tiny": (64,), "laptop": (), "full": (200,)}
SEEDS = (0, 1, 2)

# --- one run ---------------------------------------------------------------------------------------------------------


class Study:
    """The lab's configuration, its data, and the results that are already there."""

    def __init__(self, profile: str, output: Path):
        self.lab = open_lab("Lab-06-BitFit", profile=profile)
        self.config = self.lab.config.changed(dataset={"max_eval_rows": None}, training=QUIET)
        self.task, self.path = TASKS[self.config.task_type], output / f"{self.lab.profile}.json"
        self.base, self.tokenizer = load_base(self.config)
        self.rows = load_rows(self.config.dataset, "train")
        self.features = self.task.features(self.rows, self.tokenizer, self.config, self.base)
        stored = json.loads(self.path.read_text(encoding="utf8")) if self.path.is_file() else {}
        self.runs: list[dict[str, Any]] = stored.get("runs", [])
        self.kinds: list[dict[str, Any]] = stored.get("kinds", [])

    def save(self) -> None:
        """Write all results with what is needed to measure them again."""
        import transformers

        about = {
            "command": f"python Lab-06-BitFit/study.py --profile {self.lab.profile}",
            "model": self.config.model.name_or_path, "data": self.config.dataset.name,
            "steps": self.config.training.max_steps, "batch": self.config.training.per_device_train_batch_size,
            "training rows": len(self.rows), "validation rows": len(scored_rows(self.config, "eval")),
            "test rows": len(scored_rows(self.config, "test")), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "transformers": transformers.__version__,
        }  # fmt: skip
        self.path.parent.mkdir(exist_ok=True)
        about |= {"chosen": self.chosen(), "kinds": self.kinds, "runs": self.runs}
        text = json.dumps(about, indent=1)
        self.path.write_text(text + "\n", encoding="utf8")

    def subset(self, rows: int | None, seed: int) -> list[int]:
        """The places of the training rows of a run; each seed draws its own."""
        order = np.random.default_rng(seed).permutation(len(self.features))
        return list(range(len(self.features))) if rows is None else order[:rows].tolist()

    def train(self, method: str, rate: float, seed: int, rows: int | None = None) -> tuple[Any, int, dict[str, Any]]:
        """Train a fresh base; return it, the number of trained entries outside the head, and the start values."""
        config = self.config.changed(training={"learning_rate": rate})
        head_rate = rate if method == "head" else config.head.learning_rate
        with tempfile.TemporaryDirectory() as folder:
            args = task_arguments(config, folder, seed)
            set_seed(seed)
            model, _ = load_base(config)
            before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
            trained = subsets.mark(model, method, seed)
            chosen = [self.features[place] for place in self.subset(rows, seed)]
            parts = {"train_dataset": chosen, "processing_class": self.tokenizer}
            parts["data_collator"] = collator(self.tokenizer)
            trainer = TaskTrainer(model=model, args=args, head_learning_rate=head_rate, **parts)
            trainer.remove_callback(PrinterCallback)
            trainer.remove_callback(ProgressCallback)
            trainer.train()
        return model.eval(), trained, before

    def run(self, part: str, method: str, rate: float, seed: int, rows: int | None = None) -> None:
        """One run with its scores on the validation and on the test rows, unless it is stored already."""
        key = {"part": part, "method": method, "learning_rate": rate, "seed": seed}
        key |= {} if rows is None else {"rows": rows}
        if any(all(one.get(name) == value for name, value in key.items()) for one in self.runs):
            return
        start = time.perf_counter()
        model, trained, before = self.train(method, rate, seed, rows)
        heads, biases = head_modules(model), subsets.split_names(model)[0]
        outside = {name: one.detach() for name, one in model.named_parameters() if not in_head(name, heads)}
        changed = sum(int((one != before[name]).sum()) for name, one in outside.items())
        moved = torch.cat([(outside[name] - before[name]).abs().flatten() for name in biases]).mean().item()
        scores = {"validation": self.score(model, "eval"), "test": self.score(model, "test")}
        record = {**key, **scores, "trained": trained, "changed": changed, "moved": moved}
        self.runs.append(record)
        self.save()
        print(record, f"{time.perf_counter() - start:.0f} s", flush=True)

    def score(self, model: Any, split: str) -> float:
        """The accuracy on the rows of a split."""
        return evaluate_rows(model, self.tokenizer, self.config, split)["accuracy"]

    def chosen(self) -> dict[str, float]:
        """Method -> the learning rate with the best mean accuracy on the validation rows."""
        found: dict[str, dict[float, list[float]]] = {}
        for one in self.runs:
            if one["part"] == "rates":
                found.setdefault(one["method"], {}).setdefault(one["learning_rate"], []).append(one["validation"])
        complete = {m: {r: v for r, v in rates.items() if len(v) == len(SEEDS)} for m, rates in found.items()}
        return {m: max(rates, key=lambda rate: np.mean(rates[rate])) for m, rates in complete.items() if rates}


# --- the parts -------------------------------------------------------------------------------------------------------


def steps(study: Study, parts: list[str]) -> Iterator[Callable[[], None]]:
    """All runs of the given parts, one call each; later parts use the learning rates chosen by the first."""
    profile = study.lab.profile
    if "rates" in parts:
        for seed in SEEDS:
            for method, rates in GRIDS[profile].items():
                for rate in rates:
                    yield lambda m=method, r=rate, s=seed: study.run("rates", m, r, s)
    if "rows" in parts:
        yield from rows_steps(study)
    if "kinds" in parts:
        for seed in SEEDS:
            yield lambda s=seed: measure_kinds(study, s)


def rows_steps(study: Study) -> Iterator[Callable[[], None]]:
    """BitFit, full fine-tuning and a linear probe on few rows and on many, all with the same number of steps."""
    for rows in ROWS[study.lab.profile]:
        for method in ("bitfit", "full"):
            best = study.chosen()[method]
            for rate in (best, round(best / 3, 6)):
                for seed in SEEDS:
                    yield lambda m=method, r=rate, s=seed, n=rows: study.run("rows", m, r, s, rows=n)
    for rows in (*ROWS[study.lab.profile], len(study.features)):
        for seed in SEEDS:
            yield lambda s=seed, n=rows: probe(study, n, s)


def probe(study: Study, rows: int, seed: int) -> None:
    """A linear probe on frozen features of the same training rows; all its settings are chosen on validation rows."""
    key = {"part": "rows", "method": "linear probe", "seed": seed, "rows": rows}
    if any(all(one.get(name) == value for name, value in key.items()) for one in study.runs):
        return
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = frozen_features(study)
    places, found = study.subset(rows, seed), []
    for kind, inputs in features.items():
        for c in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0):
            one = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=3000))
            one.fit(inputs["train"][places], labels["train"][places])
            scores = {name: float(one.score(inputs[split], labels[split])) for name, split in SPLITS.items()}
            found.append({"features": kind, "C": c, **scores})
    study.runs.append({**key, "learning_rate": None, **max(found, key=lambda one: one["validation"])})
    study.save()
    print(study.runs[-1], flush=True)


def frozen_features(study: Study) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Two vectors of the untouched encoder for each row (classifier input, mean of tokens), and the row's class."""
    if not hasattr(study, "frozen"):
        found: dict[str, dict[str, np.ndarray]] = {"classifier input": {}, "mean of tokens": {}}
        labels, names = {}, study.task.labels(study.config)
        for split in ("train", "eval", "test"):
            rows = study.rows if split == "train" else scored_rows(study.config, split)
            coded = study.task.features(rows, study.tokenizer, study.config, study.base)
            pooled, mean = vectors_of(study, [{k: v for k, v in one.items() if k != "labels"} for one in coded])
            found["classifier input"][split], found["mean of tokens"][split] = pooled, mean
            labels[split] = np.array(study.task.references(rows, study.config, names))
        study.frozen = found, labels
    return study.frozen


def vectors_of(study: Study, coded: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Pooler output and mean over the tokens of the last layer, both of shape (rows, hidden size)."""
    pooled = np.zeros((len(coded), study.base.config.hidden_size), dtype=np.float32)
    mean, model = pooled.copy(), study.base.eval()
    for places in batches(coded, study.config.evaluation.batch_size):
        inputs = pad([coded[place] for place in places], study.tokenizer.pad_token_id)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        with torch.no_grad():
            out = model.base_model(**inputs)
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled[places] = out.pooler_output.cpu().numpy()
        mean[places] = ((out.last_hidden_state * mask).sum(1) / mask.sum(1)).cpu().numpy()
    return pooled, mean


def measure_kinds(study: Study, seed: int) -> None:
    """How far each kind of bias moves, and what the validation accuracy loses when this kind alone is put back."""
    if any(one["seed"] == seed for one in study.kinds):
        return
    import re

    rate = study.chosen()["bitfit"]
    model, _, before = study.train("bitfit", rate, seed)
    biases = subsets.split_names(model)[0]
    tuned = {name: model.get_parameter(name).detach().clone() for name in biases}
    kind_of = {name: re.sub(r".*encoder\.layer\.\d+\.|^\w+\.|\.bias$", "", name) for name in biases}

    def accuracy(names: set[str]) -> float:
        with torch.no_grad():
            for name in biases:
                model.get_parameter(name).copy_(tuned[name] if name in names else before[name])
        return evaluate_rows(model, study.tokenizer, study.config, "eval")["accuracy"]

    record: dict[str, Any] = {"seed": seed, "all": accuracy(set(biases)), "none": accuracy(set()), "kinds": {}}
    for kind in dict.fromkeys(kind_of.values()):
        names = {name for name in biases if kind_of[name] == kind}
        moved = torch.cat([(tuned[name] - before[name]).abs().flatten() for name in names]).mean().item()
        record["kinds"][kind] = {"moved": moved, "put back": accuracy(set(biases) - names), "alone": accuracy(names)}
    pair = {name for name in biases if kind_of[name].endswith(("query", "intermediate.dense"))}
    record["query and intermediate only"] = accuracy(pair)
    study.kinds.append(record)
    study.save()
    print(record, flush=True)


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
