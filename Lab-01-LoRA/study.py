"""Lab 01's comparisons over several seeds.

The learning rate of each method and rank is chosen with the first seed, on the first half of the validation rows. The
chosen setting is repeated with two more seeds and reported on the second half. The test rows are not used here; they
belong to the final comparison in 02-Train.

    python Lab-01-LoRA/study.py --profile tiny                  # all parts
    python Lab-01-LoRA/study.py --profile tiny --parts methods  # one part
    python Lab-01-LoRA/study.py --profile tiny --minutes 5      # stop after 5 minutes; the next call continues

The results are written to ``Lab-01-LoRA/study/<profile>.json`` after every run, which is where the notebooks read them.
A run that is already in the file is not repeated; delete the file to measure everything anew.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, prepare_model_for_kbit_training
from transformers import set_seed

from shared.finetune.data import load_rows, to_prompt_completion
from shared.finetune.evaluation import generate_answers, score
from shared.finetune.methods.lora import lora_config
from shared.finetune.models import load_base
from shared.finetune.train import sft_arguments
from shared.finetune.training.language_model_trainer import AnswerLossTrainer
from shared.labs import open_lab

FOLDER = Path(__file__).resolve().parent / "study"
QUIET = {"save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
PARTS = ("methods", "ranks", "merge")
SEEDS = (0, 1, 2)

#: Profile -> validation rows to choose on; as many others are reported.
ROWS = {"tiny": 300, "laptop": 200}
#: Profile -> method -> the learning rates that are tried, at the rank and the α of the configuration.
METHODS = {
    "tiny": {"lora": (2.5e-3, 5e-3, 1e-2), "full": (5e-4, 1e-3, 2e-3)},
    "laptop": {},
}
#: Profile -> ranks and learning rates; each rank chooses its own learning rate. α is the configuration's.
RANKS = {
    "tiny": ((1, 4, 16), (2.5e-3, 5e-3, 1e-2)),
    "laptop": ((1, 8), (5e-4, 1e-3)),
}
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}


class Study:
    """The lab's configuration, its data, and the results that are already there."""

    def __init__(self, profile: str, output: Path):
        self.lab = open_lab("Lab-01-LoRA", profile=profile)
        self.config = self.lab.config.changed(dataset={"max_eval_rows": 2 * ROWS[profile]}, training=QUIET)
        self.nf4 = NF4 | {"bnb_4bit_compute_dtype": self.config.model.dtype}
        self.path, self.profile = output / f"{profile}.json", profile
        splits = {split: load_rows(self.config.dataset, split) for split in ("train", "eval")}
        self.rows = {split: to_prompt_completion(rows, self.config.dataset) for split, rows in splits.items()}
        stored = json.loads(self.path.read_text(encoding="utf8")) if self.path.is_file() else {}
        self.runs: list[dict[str, Any]] = stored.get("runs", [])
        self.merges: list[dict[str, Any]] = stored.get("merges", [])

    def save(self) -> None:
        """Write all results with what is needed to measure them again."""
        import transformers

        training = self.config.training
        about = {
            "command": f"python Lab-01-LoRA/study.py --profile {self.profile}",
            "model": self.config.model.name_or_path, "data": self.config.dataset.name,
            "training rows": len(self.rows["train"]), "rows chosen on": ROWS[self.profile],
            "rows reported": len(self.rows["eval"]) - ROWS[self.profile],
            "steps": self.lab.config.lab.sweep_steps or training.max_steps,
            "batch": training.per_device_train_batch_size, "seeds": list(SEEDS),
            "threads": torch.get_num_threads(), "torch": torch.__version__, "transformers": transformers.__version__,
            "runs": self.runs, "merges": self.merges,
        }  # fmt: skip
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")

    def train(self, method: str, r: int | None, alpha: float | None, rate: float, seed: int) -> tuple[Any, Any, float]:
        """Train a fresh base with the lab's budget: the model, its tokenizer and the seconds."""
        training = {"learning_rate": rate}
        if self.lab.config.lab.sweep_steps:
            training |= {"max_steps": self.lab.config.lab.sweep_steps}
        peft = {} if method == "full" else {"lora_r": r, "lora_alpha": alpha}
        model = {"quantization": self.nf4} if method == "qlora" else {}
        config = self.config.changed(training=training, peft=peft, model=model)
        with tempfile.TemporaryDirectory() as folder:
            args = sft_arguments(config, Path(folder), seed)
            set_seed(seed)
            base, tokenizer = load_base(config, quantized=method == "qlora")
            if method == "qlora":
                base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=args.gradient_checkpointing)
            adapter = None if method == "full" else lora_config(config.peft)
            parts = {"train_dataset": self.rows["train"], "processing_class": tokenizer, "peft_config": adapter}
            trainer = AnswerLossTrainer(model=base, args=args, **parts)
            seconds = trainer.train().metrics["train_runtime"]
        return trainer.model.eval(), tokenizer, seconds

    def score(self, model: Any, tokenizer: Any, rows: Any) -> dict[str, float]:
        """Exact match, format, and the share whose content (what stands before the label) is right."""
        how = self.config.evaluation
        answers = generate_answers(model, tokenizer, rows["prompt"], how.max_new_tokens, how.batch_size, how.stop)
        found = score(answers, rows["completion"], how.format_regex)
        pairs = zip(answers, rows["completion"], strict=True)
        return found | {"content": sum(content(a.text) == content(b) for a, b in pairs) / len(answers)}

    def scores(self, model: Any, tokenizer: Any) -> dict[str, dict[str, float]]:
        """The scores on the rows to choose on, and on the rows that are reported."""
        number, rows = ROWS[self.profile], self.rows["eval"]
        parts = {"chosen on": range(number), "reported": range(number, len(rows))}
        return {name: self.score(model, tokenizer, rows.select(part)) for name, part in parts.items()}

    def run(self, part: str, method: str, r: int | None, alpha: float | None, rate: float, seed: int) -> None:
        """One run and its scores, unless it is stored already."""
        key = {"method": method, "r": r, "alpha": alpha, "learning rate": rate, "seed": seed}
        if any(all(one[name] == value for name, value in key.items()) for one in self.runs):
            return
        model, tokenizer, seconds = self.train(method, r, alpha, rate, seed)
        self.runs.append({"part": part, **key, "seconds": round(seconds, 1), **self.scores(model, tokenizer)})
        self.save()
        print(self.runs[-1], flush=True)

    def best(self, method: str, r: int | None) -> float:
        """The learning rate with the best exact match on the rows to choose on, among the runs of the first seed."""
        tried = [one for one in self.runs if (one["method"], one["r"], one["seed"]) == (method, r, SEEDS[0])]
        return max(tried, key=lambda one: one["chosen on"]["exact_match"])["learning rate"]


def content(text: str) -> str:
    """What an answer says before its label; a base that was never taught the form ends it with a sentence."""
    return re.split(r" - |[.?]", text.strip())[0]


# --- five ways to a merged or quantised model ------------------------------------------------------------------------


def merge_ways(study: Study, method: str, seed: int) -> None:
    """Train an adapter, and measure the five models that 04 builds from it and its base."""
    if any((one["method"], one["seed"]) == (method, seed) for one in study.merges):
        return
    rank, alpha = study.config.peft.lora_r, study.config.peft.lora_alpha
    tuned, tokenizer, _ = study.train(method, rank, alpha, study.best("lora", rank), seed)
    with tempfile.TemporaryDirectory() as folder:
        tuned.save_pretrained(folder)
        del tuned
        record = {"method": method, "seed": seed, "ways": measure_ways(study, Path(folder), tokenizer)}
    study.merges.append(record)
    study.save()
    print(record, flush=True)


def measure_ways(study: Study, adapter: Path, tokenizer: Any) -> dict[str, Any]:
    """Distance of the logits to (a) and to (c), and the scores, for each of the five ways."""
    prompts = tokenizer(study.rows["eval"]["prompt"][:8], return_tensors="pt", padding=True, padding_side="left")
    real, found, logits = prompts["attention_mask"].bool(), {}, {}
    reported = study.rows["eval"].select(range(ROWS[study.profile], len(study.rows["eval"])))
    for way, model in five_ways(study, adapter):
        with torch.no_grad():
            logits[way] = model(**prompts).logits.float()[real]
        found[way] = study.score(model, tokenizer, reported)
    for way in found:
        for other in ("a", "c"):
            found[way][f"rms to ({other})"] = (logits[way] - logits[other]).square().mean().sqrt().item()
    return found


def five_ways(study: Study, adapter: Path) -> Iterator[tuple[str, Any]]:
    """(a) attached to NF4, (b) merged into NF4, (c) merged in full precision, (d) that in NF4, (e) dequantised + ΔW."""
    quantized = study.config.changed(model={"quantization": study.nf4})

    def attached(config: Any, four_bit: bool) -> Any:
        return PeftModel.from_pretrained(load_base(config, quantized=four_bit)[0], adapter).eval()

    yield "a", attached(quantized, True)
    yield "b", attached(quantized, True).merge_and_unload()
    merged = attached(study.config, False).merge_and_unload()
    yield "c", merged
    with tempfile.TemporaryDirectory() as folder:
        merged.save_pretrained(folder)
        load_base(study.config)[1].save_pretrained(folder)
        yield "d", load_base(quantized.changed(model={"name_or_path": folder}), quantized=True)[0].eval()
    yield "e", read_back(study, quantized, adapter)


def read_back(study: Study, quantized: Any, adapter: Path) -> Any:
    """The 4-bit weights read back into full precision, with the update added."""
    from bitsandbytes.functional import dequantize_4bit

    frozen, model = load_base(quantized, quantized=True)[0], load_base(study.config, quantized=False)[0]
    for name, module in frozen.named_modules():
        if hasattr(getattr(module, "weight", None), "quant_state"):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            model.get_submodule(name).weight.data.copy_(weight)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()


# --- the parts -------------------------------------------------------------------------------------------------------


def steps(study: Study, parts: list[str]) -> Iterator[Callable[[], None]]:
    """All runs of the given parts, one call each; the part ``merge`` uses the learning rate chosen for LoRA."""
    rank, alpha = study.config.peft.lora_r, study.config.peft.lora_alpha
    ranks, rates = RANKS[study.profile]
    if "methods" in parts:
        for method, tried in METHODS[study.profile].items():
            size = (None, None) if method == "full" else (rank, alpha)
            yield from choose_and_repeat(study, "methods", method, size, tried)
    for r in ranks if "ranks" in parts else ():
        yield from choose_and_repeat(study, "ranks", "lora", (r, alpha), rates)
    for seed in SEEDS if "merge" in parts and METHODS[study.profile] else ():
        for method in ("lora", "qlora"):
            yield lambda m=method, s=seed: merge_ways(study, m, s)


def choose_and_repeat(
    study: Study, part: str, method: str, size: tuple[int | None, float | None], rates: tuple[float, ...]
) -> Iterator[Callable[[], None]]:
    """Every learning rate with the first seed, then the best one with the other seeds."""
    for rate in rates:
        yield lambda x=rate: study.run(part, method, *size, x, SEEDS[0])
    for seed in SEEDS[1:]:
        yield lambda s=seed: study.run(part, method, *size, study.best(method, size[0]), s)


def main(argv: list[str] | None = None) -> int:
    """Measure what is not stored yet.

    Returns:
        0 when all runs of the wanted parts are stored, 3 when the time was not enough.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="tiny", choices=sorted(ROWS))
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
