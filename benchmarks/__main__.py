"""``python -m benchmarks``: measure, or make the tables of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import inference, limits, merge, sft
from benchmarks import table as tables
from shared.files import write_json

app = typer.Typer(help=__doc__, no_args_is_help=True)
Repeats = Annotated[int, typer.Option(help="runs of each contestant, interleaved")]
Threads = Annotated[int, typer.Option(help="threads of each contestant")]
Folder = Annotated[Path, typer.Option(help="where logs and outputs go")]
OUT = Path("runs/benchmarks")


def _keep(name: str, result: dict[str, Any]) -> None:
    write_json(tables.RESULTS / f"{name}.json", result)
    print(tables.section(name, result))
    print(f"\nwritten to benchmarks/results/{name}.json; python -m benchmarks table puts it into benchmarks/README.md")


@app.command("sft")
def _sft(
    model: Annotated[str, typer.Option(help=f"one of {', '.join(sft.MODELS)}")] = "SmolLM2-135M",
    steps: Annotated[int, typer.Option(help="optimizer steps of 4 rows")] = 16,
    repeats: Repeats = 3,
    threads: Threads = 2,
    folder: Folder = OUT,
) -> None:
    """(a) LoRA training: peft-labs train, trl sft, LLaMA-Factory."""
    place = folder.resolve() / f"sft-{model}"
    _keep(f"sft-{model}", sft.run(place, steps, repeats, threads, model))


@app.command("merge")
def _merge(repeats: Repeats = 3, threads: Threads = 2, folder: Folder = OUT) -> None:
    """(b) Merging into 2 B parameters: peft-labs merge-adapter, peft's merge_and_unload. Needs 14 GB of disk."""
    _keep("merge", merge.run(folder.resolve() / "merge", repeats, threads))


@app.command("inference")
def _inference(
    work: Annotated[str, typer.Option(help="generate or classify")] = "generate",
    rows: Annotated[int, typer.Option(help="inputs")] = 200,
    repeats: Repeats = 3,
    threads: Threads = 2,
    folder: Folder = OUT,
) -> None:
    """(c) Answers for a file: peft-labs inference, transformers' pipeline."""
    place = folder.resolve() / f"inference-{work}"
    _keep(f"inference-{work}", inference.run(place, rows, repeats, threads, work))


@app.command("limits")
def _limits(
    model: Annotated[str, typer.Option(help=f"one of {', '.join(sft.MODELS)}")] = "SmolLM2-135M",
    threads: Threads = 2,
    folder: Folder = OUT,
) -> None:
    """What limits (a): the shares of padding and matrix products, and the rounding of bfloat16."""
    result = limits.run(folder.resolve() / f"limits-{model}", threads=threads, model=model)
    print(limits.text(result))


@app.command("table")
def _table() -> None:
    """Write the tables of benchmarks/results into benchmarks/README.md."""
    tables.refresh()


if __name__ == "__main__":
    app()
