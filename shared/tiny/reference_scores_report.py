"""The reference scores as a table and as a figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from shared.tiny.tasks import TASKS


def mean(results: Sequence[dict], task: str, method: str) -> float:
    """Mean score of a method on a task over its seeds, a share."""
    return statistics.mean(r["score"] for r in results if (r["task"], r["method"]) == (task, method))


def table(results: Sequence[dict]) -> str:
    """Markdown table of the results, mean ± standard deviation over the seeds."""
    lines = ["| task | metric | method | trainable | score [%] | seconds |", "|---|---|---|---|---|---|"]
    for task, method in dict.fromkeys((r["task"], r["method"]) for r in results):
        runs = [r for r in results if (r["task"], r["method"]) == (task, method)]
        score = _spread([100 * r["score"] for r in runs])
        seconds = f"{statistics.mean(r['seconds'] for r in runs):.1f}" if runs[0]["seconds"] else "–"
        lines.append(f"| {task} | {TASKS[task].metric} | {method} | {runs[0]['trained']:,} | {score} | {seconds} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def figure(results: Sequence[dict]) -> Any:
    """One panel for each task: a bar for the mean of each method, a mark for each seed, a line at full fine-tuning."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(r["task"] for r in results))
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    fig = Figure(figsize=(4.2 * columns, 2.9 * lines), layout="constrained")
    panels = fig.subplots(lines, columns, squeeze=False).flat
    for panel, task in zip(panels, tasks, strict=False):
        _panel(panel, task, [r for r in results if r["task"] == task])
    fig.legend(*fig.axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False)
    for panel in fig.axes[len(tasks) :]:
        panel.set_visible(False)
    return fig


def _colour(method: str) -> str:
    """The colour of a method in all figures; baselines without a role are grey like the base."""
    from shared.plotting.roles import ROLES, role_of

    role = role_of(method.partition("-r")[0])  # "lora-r16": LoRA of rank 16
    return ROLES[role or "base"]


def _panel(axes: Any, task: str, results: Sequence[dict]) -> None:
    methods = list(dict.fromkeys(r["method"] for r in results))[::-1]
    means = [100 * mean(results, task, method) for method in methods]
    colours = [_colour(method) for method in methods]
    axes.barh(range(len(methods)), means, 0.7, color=colours)
    for at, method in enumerate(methods):
        scores = [100 * r["score"] for r in results if r["method"] == method]
        axes.plot(scores, [at] * len(scores), "k|", markersize=7, label=None if at else "one seed")
    if "full" in methods:
        axes.axvline(
            100 * mean(results, task, "full"),
            color=_colour("full"),
            linewidth=0.8,
            linestyle=":",
            label="mean of full fine-tuning",
        )
    axes.set_yticks(range(len(methods)), methods, fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_title(task, fontsize=10)
    axes.set_xlabel(f"{TASKS[task].metric.replace('_', ' ')} [%]", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
