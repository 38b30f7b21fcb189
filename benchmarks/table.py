"""Results as tables of Markdown, put between two marks of ``benchmarks/README.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import median, spread
from shared.files import write_text

HERE = Path(__file__).parent
RESULTS, README = HERE / "results", HERE / "README.md"
BEGIN, END = "<!-- tables: made by `python -m benchmarks table` -->", "<!-- end of tables -->"
# benchmark -> (measurement, its heading, whether more is better; None: neither, so that no ratio is shown)
COLUMNS: dict[str, Sequence[tuple[str, str, bool | None]]] = {
    "sft": (("rate", "tokens/s", True), ("rss", "peak RSS [MiB]", False), ("loss", "mean loss", None)),
    "merge": (("seconds", "time [s]", False), ("rss", "peak RSS [MiB]", False)),
    "inference": (("rate", "rows/s", True), ("rss", "peak RSS [MiB]", False)),
}


def table(result: Mapping[str, Any]) -> str:
    """One benchmark's table: medians, their range in brackets, and how many times peft-labs is better.

    Args:
        result: What a benchmark's ``run`` returned; its first contestant is peft-labs'.
    """
    columns, runs = COLUMNS[result["benchmark"]], result["runs"]
    first = next(iter(runs))
    heads = [part for _, title, more in columns for part in ((title,) if more is None else (title, "ratio"))]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for name, each in runs.items():
        own = runs[_own_row(first, name, runs)]
        cells = []
        for key, _, more in columns:
            low, high = spread(each, key)
            cells.append(f"{median(each, key):,.4g} ({low:,.4g}–{high:,.4g})")
            if more is not None:
                cells.append(_ratio(own, each, key, more))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _own_row(first: str, name: str, runs: Mapping[str, Any]) -> str:
    """peft-labs' row that a row is compared with: that of the same precision where there is one."""
    same = f"{first.partition(',')[0]},{name.partition(',')[2]}"
    return same if same in runs else first


def _ratio(own: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]], key: str, more: bool) -> str:
    if own is other:
        return "1"
    a, b = median(own, key), median(other, key)
    return f"{a / b if more else b / a:.2f}"


def section(name: str, result: Mapping[str, Any]) -> str:
    """A benchmark's table with its settings."""
    machine, settings = result["machine"], result["settings"]
    listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())
    on = f"{machine['cores']} cores ({', '.join(machine['flags'])}), {machine['threads']} threads"
    packages = ", ".join(f"{key} {value}" for key, value in machine["packages"].items())
    repeats = len(next(iter(result["runs"].values())))
    text = f"### {name}\n\n{table(result)}\n\nMedian of {repeats} interleaved runs (range). {listed}. {on}. {packages}."
    for peer, found in result.get("peers", {}).items():
        text += f" {peer}: {', '.join(f'{key} {value}' for key, value in found.items())}."
    if "equal" in result:
        text += f" {_equal(result)}"
    return text


def _equal(result: Mapping[str, Any]) -> str:
    equal = result["equal"]
    if result["benchmark"] == "merge":
        if equal["elements"] == 0:
            return f"All {equal['tensors']} tensors of the two merged models are equal to the bit."
        return (
            f"The two merged models: {equal['tensors']} tensors, at most {equal['relative']:.1e} of a tensor's norm "
            f"apart; {equal['elements']:.2%} of the weights differ, by rounding."
        )
    return "Same answer as peft-labs: " + ", ".join(f"{name} {share:.1%}" for name, share in equal.items()) + "."


def refresh() -> str:
    """Put all results' tables into the README.

    Returns:
        The README's new text.
    """
    files = sorted(RESULTS.glob("*.json"))
    parts = [section(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in files]
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    text = before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + rest.split(END)[1]
    write_text(README, text)
    return text
