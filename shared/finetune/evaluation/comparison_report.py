"""A comparison as rows, as a table for the terminal and for Markdown, and as a figure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

HEADS = ("method", "score %", "trainable", "share %", "learning rate", "seconds", "Pareto-optimal")


@dataclass(frozen=True)
class Summary:
    """One method over its seeds.

    Attributes:
        method: Its name.
        scores: One share per seed.
        trained: Trainable parameters, including the head.
        total: All parameters.
        rate: Learning rate.
        seconds: Mean time of a training run [s].
        on_front: Whether no other method is as good with fewer parameters, or better with as many (Pareto-optimal).
    """

    method: str
    scores: tuple[float, ...]
    trained: int
    total: int
    rate: float
    seconds: float
    on_front: bool

    @property
    def mean(self) -> float:
        """Mean score, a share."""
        return statistics.fmean(self.scores)


def summaries(report: dict[str, Any]) -> list[Summary]:
    """The methods of a report, best first."""
    from shared.plotting.pareto import pareto_front

    runs: dict[str, list[dict]] = {}
    for result in report["results"]:
        runs.setdefault(result["method"], []).append(result)
    means = {name: (own[0]["trainable"], statistics.fmean(one["score"] for one in own)) for name, own in runs.items()}
    front = pareto_front(means)
    found = [
        Summary(
            name, tuple(one["score"] for one in own), own[0]["trainable"], own[0]["total"], own[0]["learning_rate"],
            statistics.fmean(one["seconds"] for one in own), name in front,
        )
        for name, own in runs.items()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one.mean, one.trained))


def cells(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table's cells under :data:`HEADS`: the methods, the baselines, then the methods that were left out."""
    rows = [
        (
            one.method, _spread([100 * score for score in one.scores]), f"{one.trained:,}",
            f"{100 * one.trained / one.total:.3g}", f"{one.rate:g}", f"{one.seconds:.1f}",
            "yes" if one.on_front else "",
        )
        for one in summaries(report)
    ]  # fmt: skip
    for name, found in report["baselines"].items():
        rows.append((name, f"{100 * found[report['metric']]:.1f}", "0", "0", "", "", ""))
    return rows + [(name, "left out", "", "", "", "", "") for name in report["refused"]]


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def title(report: dict[str, Any]) -> str:
    """What is compared, in one line."""
    seeds = ", ".join(map(str, report["seeds"]))
    return f"{report['task']}: {report['metric']} of {report['model']} on {report['dataset']}, seeds {seeds}"


def markdown(report: dict[str, Any]) -> str:
    """The comparison as a Markdown page, with the reasons why methods were left out."""
    lines = [f"# {title(report)}", "", f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(row)} |" for row in cells(report)]
    budget = ", ".join(f"{name} {value}" for name, value in report["budget"].items() if value is not None)
    lines += ["", f"The same budget for all: {budget}."]
    lines += ["*majority*: the most frequent answer of the training rows, given to every row.", ""]
    lines += [f"- {name} was left out: {why}" for name, why in report["refused"].items()]
    if report["results"]:
        lines += ["", "![Score against trainable parameters; the numbers are in the table](comparison.png)"]
    return "\n".join(lines) + "\n"


def rich_table(report: dict[str, Any]) -> Table:
    """The comparison for a terminal."""
    from rich.table import Table

    table = Table(title=title(report), title_justify="left")
    for head in HEADS:
        table.add_column(head, justify="left" if head in ("method", "Pareto-optimal") else "right", overflow="fold")
    for row in cells(report):
        table.add_row(*row)
    return table


def figure(report: dict[str, Any]) -> Figure:
    """Score against trainable parameters. (A radar plot of several scores would not show the cost.)"""
    from shared.plotting import pareto

    points = {one.method: (one.trained, [100 * score for score in one.scores]) for one in summaries(report)}
    references = {name: 100 * found[report["metric"]] for name, found in report["baselines"].items()}
    return pareto(points, f"{report['metric'].replace('_', ' ')} [%]", title(report), references)
