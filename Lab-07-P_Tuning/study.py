"""Lab 07's comparisons over several seeds, on the ``tiny`` models.

Learning rates are chosen by the mean accuracy on the validation rows; reported is the accuracy on the test rows. The
paper's set-up runs the classes and functions of the lab's notebooks, so what is measured is the code that they show.

    python Lab-07-P_Tuning/study.py                      # all parts
    python Lab-07-P_Tuning/study.py --parts length       # one part
    python Lab-07-P_Tuning/study.py --minutes 5          # stop after 5 minutes; the next call continues

The results are in ``Lab-07-P_Tuning/study/tiny.json``, where the notebooks read them. A run that is in the file is not
repeated; delete the file to measure everything anew.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, set_seed

from shared.finetune.data import load_rows
from shared.finetune.evaluation import evaluate_rows
from shared.finetune.models import load_base, resolve
from shared.finetune.training.arguments import task_arguments
from shared.finetune.training.trainers import build_task_trainer
from shared.labs import open_lab

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "study" / "tiny.json"
TEMPLATE = [3, "[X]", 3, "[MASK]", 3]
NEXT_WORD = [3, "[X]", 3]
WORDS = {"bert": ["awful", "wonderful"], "gpt2": [" hated", " liked"]}
SCORED = {"bert": 600, "gpt2": 300}  # validation and test rows
BATCHES = {False: "random batches", True: "group_by_length"}
RATES = {"P-tuning": (1e-3, 2e-3, 5e-3), "prompt tuning": (1e-2, 3e-2, 1e-1)}


def configured(rate: float, few: int = 0, group: bool = False, steps: int = 0, **peft: Any) -> dict:
    """Settings of a run by the lab's configuration; the head of the method ``head`` has the method's learning rate."""
    training = {"learning_rate": rate, "group_by_length": group} | ({"max_steps": steps} if steps else {})
    changes: dict[str, Any] = {"peft": peft, "training": training}
    if peft.get("method") == "head":
        changes["head"] = {"learning_rate": rate}
    return {"kind": "configured", "changes": changes, "few": few, "learning_rate": rate}


def templated(rate: float, few: int = 0, model: str = "bert", **how: Any) -> dict:
    """Settings of a run in the paper's set-up; ``template``, ``encoder``, ``lm_rate``, ``steps``."""
    defaults = {"template": TEMPLATE, "encoder": "lstm", "lm_rate": None, "steps": 300, "words": WORDS[model]}
    return {"kind": "templated", "model": model, "few": few, "learning_rate": rate, **defaults, **how}


def position_and_batches() -> dict[str, list[dict]]:
    """P-tuning and prompt tuning, p = 10: which position is read, how the batches are drawn."""
    found = {}
    for method, pool, group in itertools.product(("P-tuning", "prompt tuning"), ("first", "cls"), (False, True)):
        name = f"{method}, {'position 0' if pool == 'first' else '[CLS]'}, {BATCHES[group]}"
        extra = {} if method == "P-tuning" else {"method": "prompt-tuning", "num_virtual_tokens": 10}
        rates = (3e-2,) if extra and group else RATES[method]
        found[name] = [configured(rate, pool=pool, group=group, **extra) for rate in rates]
    return found


def parts() -> dict[str, dict[str, list[dict]]]:
    """Everything that is measured."""
    first = {"pool": "first"}
    prompt = {"method": "prompt-tuning", "num_virtual_tokens": 10, **first}
    lstm = {"encoder": "lstm", "encoder_hidden_size": 64, **first}
    p_tuning = [configured(rate, **first) for rate in RATES["P-tuning"]]
    from_words = [configured(rate, **prompt) for rate in RATES["prompt tuning"]]
    length = {str(p): [configured(5e-3, num_virtual_tokens=p, **first)] for p in (1, 3, 10, 30)}
    return {
        "position and batches": position_and_batches(),
        "methods": {
            "frozen base, trained head": [configured(5e-3, method="head")],
            "P-tuning, peft": p_tuning,
            "prompt tuning, peft": from_words,
            "P-tuning, paper, LM frozen": [templated(rate) for rate in (3e-3, 1e-2)],
            "P-tuning, paper, LM trained": [templated(1e-2, lm_rate=4e-4)],
            "full fine-tuning": [configured(4e-4, method="full")],
        },
        "length": length | {"10": p_tuning[-1:]},
        "start": {
            "MLP encoder": p_tuning,
            "LSTM encoder": [configured(rate, **lstm) for rate in (5e-3, 1e-2)],
            "plain vectors, from words": from_words,
            "plain vectors, from N(0, 1)": [configured(rate, init="random", **prompt) for rate in (3e-2, 1e-1)],
        },
        "gpt-2": gpt2(),
        "32 rows": few_rows(),
    }


def gpt2() -> dict[str, list[dict]]:
    """Micro-GPT-2 on reviews, answering by its next word."""
    short, word = " In short, it was", " In a word,"
    great, wonderful = [" terrible", " great"], [" awful", " wonderful"]
    how = {"model": "gpt2", "steps": 200}
    untrained = {"model": "gpt2", "steps": 0, "encoder": "none"}
    return {
        "hand-written prompt": [
            templated(0.0, template=["[X]", question], words=words, **untrained)
            for question, words in ((short, great), (word, wonderful), (" I found it", [" dull", " lovely"]))
        ],
        "P-tuning, paper, LM frozen": [templated(1e-2, template=NEXT_WORD, **how)],
        "the same with an anchor": [templated(1e-2, template=[*NEXT_WORD, short], words=great, **how)],
    }


def few_rows(few: int = 32, steps: int = 100) -> dict[str, list[dict]]:
    """Few labelled rows, another draw for each seed; settings as with all rows."""
    how = {"few": few, "steps": steps}
    question = ["[X]", "It was [MASK]."]
    return {
        "hand-written prompt, chosen on the 32 rows": [{"kind": "by hand", "few": few}],
        "linear probe, mean of all tokens": [{"kind": "probe", "few": few}],
        "P-tuning, peft, new head": [configured(5e-3, pool="first", **how)],
        "P-tuning, paper, LM frozen": [templated(1e-2, **how)],
        "P-tuning, paper, LM trained": [templated(1e-2, lm_rate=4e-4, **how)],
        "hand-written prompt, LM trained": [templated(0.0, lm_rate=4e-4, template=question, encoder="none", **how)],
        "full fine-tuning, new head": [configured(4e-4, method="full", **how)],
    }


def notebook_code(stage: str, *names: str, **given: Any) -> dict[str, Any]:
    """Functions, classes and constants of a notebook by name, with the notebook's imports around them."""
    cells = nbformat.read(HERE / f"{stage}.ipynb", as_version=4).cells
    statements = [one for cell in cells if cell.cell_type == "code" for one in ast.parse(cell.source).body]
    imports = [one for one in statements if isinstance(one, (ast.Import, ast.ImportFrom))]
    wanted = [one for one in statements if _name(one) in names]
    if len(wanted) != len(names):
        raise KeyError(f"{stage}.ipynb defines {[_name(one) for one in wanted]}, wanted {names}")
    module = ast.Module(body=imports + wanted, type_ignores=[])
    exec(compile(module, stage, "exec"), given)  # noqa: S102 - the lab's own committed notebook
    return given


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return getattr(statement, "name", "")


def drawn(rows: list[dict], few: int, seed: int) -> list[dict]:
    """All training rows, or a few that depend on the seed."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1000 + seed)).tolist()
    return [rows[i] for i in order[:few]] if few else rows


class Bench:
    """Runs settings and scores them; loads each model's rows once."""

    def __init__(self) -> None:
        self.config = open_lab(HERE.name, profile="tiny").config
        names = ("fill_template", "PromptEncoder", "TemplateModel", "texts_of", "batches", "fit_template")
        self.train = notebook_code("02-Train", *names, "template_accuracy", config=self.config, PSEUDO=-1)
        self.rows: dict[str, tuple[Any, dict[str, list[dict]]]] = {}

    def measure(self, settings: dict, seed: int) -> dict[str, float]:
        """Validation and test accuracy [0–1] of one run."""
        run = {"configured": self.configured, "templated": self.templated, "probe": self.probe, "by hand": self.by_hand}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return run[settings["kind"]](settings, seed)

    def configured(self, settings: dict, seed: int) -> dict[str, float]:
        """A run as the command line does it; with ``few`` rows, each seed draws its own."""
        config = self.config.changed(**settings["changes"]).changed(training={"save_strategy": "no"})
        with tempfile.TemporaryDirectory() as folder:
            set_seed(seed)
            model, tokenizer = load_base(config)
            rows = load_rows(config.dataset, "train")
            if settings["few"]:
                rows = rows.shuffle(seed=seed).select(range(settings["few"]))
            trainer = build_task_trainer(config, model, tokenizer, rows, None, task_arguments(config, folder, seed))
            trainer.train()
            splits = {"validation": "eval", "test": "test"}
            return {n: evaluate_rows(trainer.model, tokenizer, config, s)["accuracy"] for n, s in splits.items()}

    def rows_of(self, model: str) -> tuple[Any, dict[str, list[dict]]]:
        """Tokenizer and rows of BERT's opinions or GPT-2's reviews, as ``texts_of`` takes them."""
        if model not in self.rows:
            tokenizer = AutoTokenizer.from_pretrained(resolve(f"tiny:{model}"))
            name, column = {"bert": ("tiny:sst2", "sentence"), "gpt2": ("tiny:imdb", "text")}[model]
            section = self.config.changed(dataset={"name": name, "text_columns": [column]}).dataset
            found = {}
            for split, number in (("train", 4800), ("eval", SCORED[model]), ("test", SCORED[model])):
                rows = load_rows(section, split)
                rows = rows.select(range(min(number, len(rows))))
                ids = tokenizer(list(rows[column]), add_special_tokens=False)["input_ids"]
                pairs = zip(ids, rows["label"], strict=True)
                found[split] = [{"input_ids": [0, *one, 0], "labels": label} for one, label in pairs]
            self.rows[model] = tokenizer, found
        return self.rows[model]

    def templated(self, settings: dict, seed: int) -> dict[str, float]:
        """A run in the paper's set-up, by the loop of 02-Train."""
        tokenizer, rows = self.rows_of(settings["model"])
        auto = AutoModelForMaskedLM if settings["model"] == "bert" else AutoModelForCausalLM
        torch.manual_seed(seed)
        lm = auto.from_pretrained(resolve(f"tiny:{settings['model']}")).requires_grad_(False)
        count, d = sum(part for part in settings["template"] if isinstance(part, int)), lm.config.hidden_size
        encoder = self.train["PromptEncoder"](max(1, count), d, d // 2, settings["encoder"])
        model = self.train["TemplateModel"](lm, tokenizer, settings["template"], settings["words"], encoder)
        some = drawn(rows["train"], settings["few"], seed)
        how = (settings["steps"], settings["learning_rate"], seed, settings["lm_rate"])
        self.train["fit_template"](model, some, *how)
        score = self.train["template_accuracy"]
        return {"validation": score(model.eval(), rows["eval"]), "test": score(model, rows["test"])}

    def probe(self, settings: dict, seed: int) -> dict[str, float]:
        """Logistic regression (C = 1) on the mean of the frozen base's token vectors."""
        _, rows = self.rows_of("bert")
        base = load_base(self.config)[0].eval()

        @torch.no_grad()
        def features(some: list[dict]) -> list:
            ids = [torch.tensor([2, *row["input_ids"][1:-1], 3]) for row in some]
            batch = nn.utils.rnn.pad_sequence(ids, batch_first=True)
            mask = (batch != 0)[..., None]
            return ((base.bert(batch, mask[..., 0].long()).last_hidden_state * mask).sum(1) / mask.sum(1)).numpy()

        some = drawn(rows["train"], settings["few"], seed)
        fitted = LogisticRegression(max_iter=3000).fit(features(some), [row["labels"] for row in some])
        ends = {"validation": rows["eval"], "test": rows["test"]}
        return {n: fitted.score(features(part), [row["labels"] for row in part]) for n, part in ends.items()}

    def by_hand(self, settings: dict, seed: int) -> dict[str, float]:
        """The best of 01-Setup's hand-written prompts on a few training rows."""
        tokenizer, rows = self.rows_of("bert")
        lm = AutoModelForMaskedLM.from_pretrained(resolve("tiny:bert")).eval()
        names = ("QUESTIONS", "LABEL_WORDS", "ask", "accuracy_of")
        code = notebook_code("01-Setup", *names, lm=lm, tokenizer=tokenizer)

        def accuracy(some: list[dict], question: str, second: bool, words: tuple[str, str]) -> float:
            texts = [tokenizer.decode(row["input_ids"][1:-1]) for row in some]
            return code["accuracy_of"](code["ask"](texts, question, second), words, [row["labels"] for row in some])

        few = drawn(rows["train"], settings["few"], seed)
        prompts = itertools.product(code["QUESTIONS"], (True, False), code["LABEL_WORDS"])
        best = max(prompts, key=lambda prompt: accuracy(few, *prompt))
        return {"validation": accuracy(rows["eval"], *best), "test": accuracy(rows["test"], *best)}


def key_of(settings: dict, seed: int) -> str:
    """What a run depends on."""
    return json.dumps([settings, seed if settings.get("steps", 1) else 0], sort_keys=True)  # no training: no seed


def seeds_of(part: str) -> range:
    """Few rows vary most from draw to draw."""
    return range(5 if part == "32 rows" else 3)


def chosen(part: str, name: str, candidates: list[dict], runs: dict[str, dict]) -> list[dict]:
    """The runs with the learning rate of the best mean validation accuracy; none while one is missing."""
    found = [[runs.get(key_of(one, seed)) for seed in seeds_of(part)] for one in candidates]
    if any(None in scores for scores in found):
        return []
    means = [statistics.fmean(one["validation"] for one in scores) for scores in found]
    best = means.index(max(means))
    what = {"part": part, "name": name, "learning_rate": candidates[best].get("learning_rate")}
    return [{**what, "seed": seed, **one} for seed, one in zip(seeds_of(part), found[best], strict=True)]


def write(runs: dict[str, dict[str, float]]) -> None:
    """Write all finished runs, and for each part those that count."""
    every = ((part, name, candidates) for part, names in parts().items() for name, candidates in names.items())
    about = {
        "command": "python Lab-07-P_Tuning/study.py",
        "data": "tiny:bert on tiny:sst2, 4,800 / 600 / 600 rows; tiny:gpt2 on tiny:imdb, 4,800 / 300 / 300 rows",
        "chosen": "of several learning rates the one with the best mean validation accuracy",
        "results": [one for what in every for one in chosen(*what, runs)],
        "runs": runs,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=list(parts()), default=list(parts()))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(RESULTS.read_text(encoding="utf8"))["runs"] if RESULTS.is_file() else {}
    bench, began = Bench(), time.perf_counter()
    todo = [(part, *one) for part in args.parts for one in itertools.product(parts()[part].items(), seeds_of(part))]
    for part, (name, candidates), seed in todo:
        for settings in candidates:
            if time.perf_counter() - began > 60 * args.minutes:
                return
            if key_of(settings, seed) not in runs:
                found = runs[key_of(settings, seed)] = bench.measure(settings, seed)
                write(runs)
                scores = ", ".join(f"{split} {value:.1%}" for split, value in found.items())
                print(f"{part}: {name}, {settings.get('learning_rate')}, seed {seed}: {scores}", flush=True)
    write(runs)


if __name__ == "__main__":
    main()
