"""Reference scores of the micro-models: ``python -m shared.tiny.reference_scores`` (``--quick`` for one seed).

For each task the baselines (majority answer, bag of words, frozen base), every method of its model's recipe and full
fine-tuning, all trained by ``shared.finetune`` as the labs do and scored on held-out rows. Two at a time, each on one
thread, which is faster on two cores than one after the other on two threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from shared.paths import repo_root
from shared.tiny import MODELS, TASKS, model_path
from shared.tiny.measure import BASELINES, cells
from shared.tiny.recipes import budget, config_for, methods
from shared.tiny.reference_scores_report import figure, table

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
MEASURED = tuple(name for name, task in TASKS.items() if task.model in MODELS)
QUICK_EVERYTHING = ("conll2003",)  # where --quick measures each method, since its runs are short; elsewhere these:
QUICK = (*BASELINES, "head", "lora", "lora-r16", "full")
QUICK_ROWS = 80
QUICK_BASELINES = ("metamathqa",)  # gsm8k's reworded sibling takes as long: its fine-tuning is left to the whole run
SLOW = ("gsm8k", "imdb", "code_feedback")  # begun first, so that no core waits for them at the end


def plan(tasks: Sequence[str], methods: Sequence[str] | None, seeds: Sequence[int]) -> list[tuple[str, str, int]]:
    """What is to be measured: (task, method, seed). Baselines do not depend on a seed and are measured once."""
    return [
        (task, name, seed)
        for task in tasks
        for name in cells(task)
        if methods is None or name in methods
        for seed in (seeds[:1] if name in BASELINES else seeds)
    ]


def _is_quick(task: str, name: str) -> bool:
    """Whether ``--quick`` measures a cell."""
    if task in QUICK_BASELINES:
        return name in BASELINES
    return task in QUICK_EVERYTHING or name in QUICK


def run(todo: Sequence[tuple[str, str, int]], jobs: int, **changes) -> Iterator[dict]:
    """Measure, several at a time.

    Args:
        todo: As :func:`plan` makes it.
        jobs: Processes.
        changes: What :func:`shared.tiny.recipes.config_for` takes.

    Yields:
        Results as they come, in no fixed order.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_quietly) as pool:
        for done in as_completed([pool.submit(_measure, cell, changes) for cell in todo]):
            yield done.result()


def _quietly() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    from shared.library_notices import hide_library_notices

    torch.set_num_threads(1)
    hide_library_notices()


def _measure(cell: tuple[str, str, int], changes: dict) -> dict:
    from shared.tiny.measure import measure

    with redirect_stdout(StringIO()):  # the Trainer prints its log
        return measure(*cell, **changes) | {"cores": os.cpu_count()}


def mark(cell: tuple[str, str, int], weights: dict[str, str], changes: dict) -> str:
    """Checksum of what a result depends on: the weights and the whole configuration."""
    task, name, seed = cell
    config = config_for(task, name if name in methods(task) else "full", **changes).model_dump(mode="json")
    text = json.dumps([task, name, seed, weights[TASKS[task].model], config], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def measured(todo: Sequence[tuple[str, str, int]], jobs: int, go_on: bool, changes: dict) -> Iterator[dict]:
    """As :func:`run`, keeping each result as it comes; with ``go_on``, those kept before of the same marks come first.

    Yields:
        Results.
    """
    weights, kept = hashes(), repo_root() / "runs" / "tiny-reference-scores.jsonl"
    marks = {cell: mark(cell, weights, changes) for cell in todo}
    lines = kept.read_text(encoding="utf8").splitlines() if go_on and kept.is_file() else []
    before = {one["mark"]: one["result"] for one in map(json.loads, lines)}
    yield from (before[marks[cell]] for cell in todo if marks[cell] in before)
    kept.parent.mkdir(parents=True, exist_ok=True)
    for result in run([cell for cell in todo if marks[cell] not in before], jobs, **changes):
        of = marks[result["task"], result["method"], result["seed"]]
        with kept.open("a", encoding="utf8") as file:
            file.write(json.dumps({"mark": of, "result": result}) + "\n")
        yield result


def hashes() -> dict[str, str]:
    """SHA-256 of each micro-model's weights."""
    return {name: hashlib.sha256((model_path(name) / "model.safetensors").read_bytes()).hexdigest() for name in MODELS}


def _scored() -> dict[str, int]:
    """Model -> test rows that its tasks are scored on."""
    return {TASKS[task].model: budget(task).scored for task in MEASURED}


def load() -> dict:
    """reference_scores.json, or an empty report."""
    file = HERE / "reference_scores.json"
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else {"sha256": {}, "results": []}


def report(results: list[dict], seeds: Sequence[int]) -> dict:
    """The content of reference_scores.json: the new results, and earlier ones of the same weights.

    So a task can be measured alone; results of other weights are removed.
    """
    weights, before = hashes(), load()
    measured = {(r["task"], r["method"]) for r in results}
    kept = [
        r
        for r in before["results"]
        if (r["task"], r["method"]) not in measured
        and r["task"] in MEASURED
        and r["method"] in cells(r["task"])
        and before["sha256"].get(TASKS[r["task"]].model) == weights[TASKS[r["task"]].model]
    ]
    order = {(task, name): at for at, (task, name, _) in enumerate(plan(MEASURED, None, (0,)))}
    return {
        "sha256": weights,
        "data": "load_task(task, split, seed=0, difficulty='normal'); the first test rows: "
        + ", ".join(f"{rows} for {name}" for name, rows in _scored().items()),
        "seeds": list(seeds),
        "command": "python -m shared.tiny.reference_scores",
        "machine": _machine(kept + results),
        "results": sorted(kept + results, key=lambda r: (order[r["task"], r["method"]], r["seed"])),
    }


def _machine(results: list[dict]) -> str:
    """The machine of the results: the seconds depend on it, the scores hardly do."""
    cores = sorted({one["cores"] for one in results})
    return f"CPU, {' or '.join(map(str, cores))} cores, one thread for each run"


def write(found: dict) -> None:
    """Write reference_scores.json, REFERENCE_SCORES.md, reference_scores.png and the tables in the model cards."""
    (HERE / "reference_scores.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    lines = [f"| `{name}` | `{value}` |" for name, value in found["sha256"].items()]
    text = (
        "# Reference scores of the micro-models\n\n"
        f"The score of each method on each task: data `{found['data']}`, seeds {found['seeds']}, command "
        f"`{found['command']}`, machine: {found['machine']}. Mean ± standard deviation over the seeds, in per cent; "
        "*trainable* is the number of trainable parameters, the head included; seconds are those of training, measured "
        "while other processes were running. *majority*: always the most frequent answer; *words*: logistic regression "
        "on a bag of words; *base*: the base model without training; *plain*: the base model asked in the format of "
        "its pretraining text, where it does not know the format of the task (of guanaco's and alpaca's answers only "
        "the part from the story is scored then, not the label after it; a chat with feedback is reduced to its first "
        "request); *head*: the frozen base with a trained head.\n\n"
        f"{table(found['results'])}\n\n"
        "![Score of each method on each task, one panel for each task, with a mark for each seed: the values are in "
        "the table](reference_scores.png)\n\n"
        "| model | SHA-256 of its weights |\n|---|---|\n" + "\n".join(lines) + "\n"
    )
    (HERE / "REFERENCE_SCORES.md").write_text(text, encoding="utf8")
    figure(found["results"]).savefig(HERE / "reference_scores.png", dpi=100)
    from shared.tiny.card import write_card

    for name in MODELS:
        write_card(name)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m shared.tiny.reference_scores", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, fewer methods and rows; nothing is written")
    parser.add_argument("--tasks", nargs="+", choices=MEASURED, default=MEASURED)
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--go-on", action="store_true", help="keep what an interrupted run has measured")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    args = parser.parse_args()
    todo = plan(args.tasks, args.methods, SEEDS[:1] if args.quick else SEEDS)
    changes = {}
    if args.quick:
        changes["scored"] = QUICK_ROWS
        todo = [cell for cell in todo if args.methods or _is_quick(*cell[:2])]
        todo.sort(key=lambda cell: cell[0] not in SLOW)
    began, results = time.perf_counter(), []
    for result in measured(todo, args.jobs, args.go_on, changes):
        results.append(result)
        about = f"{result['task']:14} {result['method']:14} seed {result['seed']}: {result['score']:6.1%}"
        print(f"{time.perf_counter() - began:5.0f} s  {len(results):3}/{len(todo)}  {about}", flush=True)
    order = {cell: at for at, cell in enumerate(todo)}
    results.sort(key=lambda r: order[r["task"], r["method"], r["seed"]])
    print(table(results))
    if not args.quick:
        write(report(results, SEEDS))


if __name__ == "__main__":
    main()
