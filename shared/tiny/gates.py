"""Measure what the micro-models can and cannot do: ``python -m shared.tiny.gates`` (``--quick`` for one seed).

For each task: the majority answer, the frozen base as it is, LoRA at three ranks, QLoRA and full fine-tuning, all
trained by ``shared.finetune`` as the labs do and scored on held-out rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from shared.tiny.recipes import METHODS, config_for

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)


def measure(task: str, method: str, seed: int, model: str = "tiny:llama", rows: int = 200, steps: int | None = None):
    """Train one method on one task and score it.

    Args:
        task: Name of the task.
        method: One of ``shared.tiny.recipes.METHODS``, or "majority" or "base".
        seed: Seed of the adapter, the order of rows and the rows themselves.
        model: Model to start from.
        rows: Held-out rows to score.
        steps: Another number of training steps than the recipe's.

    Returns:
        A dict with ``exact_match`` and ``format`` (shares), ``seconds`` of training and ``trainable`` parameters.
    """
    from shared.finetune import evaluate, train
    from shared.finetune.data import load_rows, response_of
    from shared.finetune.models import load_base

    config = config_for(task, method if method in METHODS else "full", model, rows, steps)
    if method == "majority":
        answers = [response_of(row, config.dataset) for row in load_rows(config.dataset, "train")]
        common = evaluate.majority(answers)["answer"]
        tests = [response_of(row, config.dataset) for row in load_rows(config.dataset, "test")][:rows]
        return {"exact_match": tests.count(common) / len(tests), "format": 1.0, "seconds": 0.0, "trainable": 0}
    if method == "base":
        base, tokenizer = load_base(config)
        scores = evaluate.evaluate_rows(base, tokenizer, config)
        return {"exact_match": scores["exact_match"], "format": scores["format"], "seconds": 0.0, "trainable": 0}
    with tempfile.TemporaryDirectory() as folder:
        found = train.run(config, folder, seed=seed).metrics
    return {key: found[key] for key in ("exact_match", "format", "seconds", "trainable")}


def table(results: list[dict]) -> str:
    """Markdown table of the results, mean ± standard deviation over the seeds."""
    lines = ["| task | method | trained | exact match % | format % | seconds |", "|---|---|---|---|---|---|"]
    for task, method in dict.fromkeys((r["task"], r["method"]) for r in results):
        runs = [r for r in results if (r["task"], r["method"]) == (task, method)]
        cells = [_spread([100 * r[key] for r in runs]) for key in ("exact_match", "format")]
        seconds = f"{statistics.mean(r['seconds'] for r in runs):.1f}" if runs[0]["seconds"] else "–"
        lines.append(f"| {task} | {method} | {runs[0]['trainable']:,} | {cells[0]} | {cells[1]} | {seconds} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def figure(results: list[dict]):
    """Bars of the exact match for each task and method, with one standard deviation."""
    from matplotlib.figure import Figure

    okabe_ito = {"guanaco": "#0072B2", "alpaca": "#E69F00"}
    methods, tasks = list(dict.fromkeys(r["method"] for r in results)), list(dict.fromkeys(r["task"] for r in results))
    fig = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = fig.add_subplot()
    for offset, task in enumerate(tasks):
        scores = [[100 * r["exact_match"] for r in results if (r["task"], r["method"]) == (task, m)] for m in methods]
        at = [i + 0.4 * offset - 0.2 for i in range(len(methods))]
        spread = [statistics.stdev(s) if len(s) > 1 else 0 for s in scores]
        axes.bar(
            at, [statistics.mean(s) for s in scores], 0.38, yerr=spread, label=task, color=okabe_ito[task], capsize=3
        )
    axes.set_xticks(range(len(methods)), [m.replace("-", "\n", 1) for m in methods])
    axes.set_ylabel("exact match [%]")
    axes.set_ylim(0, 105)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return fig


def report(results: list[dict], seeds, command: str) -> dict:
    """Everything that is written to gates.json."""
    weights = HERE / "models" / "llama" / "model.safetensors"
    return {
        "model": "llama",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "data": "load_task(task, split, seed=0, difficulty='normal'), test rows 0–199",
        "seeds": list(seeds),
        "command": command,
        "machine": f"CPU, {os.cpu_count()} cores",
        "results": results,
    }


def _measured_before(tasks: list[str]) -> list[dict]:
    """Results of other tasks that were measured on the same weights, so that one task can be measured alone."""
    file = HERE / "gates.json"
    known = json.loads(file.read_text(encoding="utf8")) if file.is_file() else {}
    same = known.get("sha256") == report([], [], "")["sha256"]
    return [r for r in known["results"] if r["task"] not in tasks] if same else []


def write(found: dict) -> None:
    """Write gates.json, GATES.md, gates.png and the table in the model card."""
    (HERE / "gates.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    text = (
        "# Gates of the tiny world\n\n"
        f"Model `llama` (SHA-256 `{found['sha256']}`), data `{found['data']}`, seeds {found['seeds']}, "
        f"command `{found['command']}`, machine: {found['machine']}. Mean ± standard deviation over the seeds; "
        "exact match and format on 200 held-out rows, greedy decoding. "
        "Seconds of training, beside whatever else ran.\n\n"
        f"{table(found['results'])}\n\n"
        "![Exact match for each task and method: see the table for the numbers](gates.png)\n"
    )
    (HERE / "GATES.md").write_text(text, encoding="utf8")
    figure(found["results"]).savefig(HERE / "gates.png", dpi=110)
    from shared.tiny.card import write_card

    write_card("llama")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, nothing is written")
    parser.add_argument("--tasks", nargs="+", choices=["guanaco", "alpaca"], default=["guanaco", "alpaca"])
    parser.add_argument("--methods", nargs="+", default=["majority", "base", *METHODS])
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import logging

    logging.set_verbosity_error()
    seeds, results, began = SEEDS[:1] if args.quick else SEEDS, [], time.perf_counter()
    for task in args.tasks:
        for method in args.methods:
            for seed in seeds if method in METHODS else seeds[:1]:
                results.append({"task": task, "method": method, "seed": seed, **measure(task, method, seed)})
                print(f"{time.perf_counter() - began:5.0f} s  {results[-1]}", flush=True)
    print(table(results))
    if not args.quick:
        write(report(_measured_before(args.tasks) + results, seeds, "python -m shared.tiny.gates"))


if __name__ == "__main__":
    main()
