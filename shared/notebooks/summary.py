"""The closing table of a lab, made from the results its notebooks saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.runs import RunFolder

WIDTH = 110
SHARES = ("exact match", "accuracy", "format")  # columns between 0 and 1, shown in per cent
BASES = {"exact_match": "base, untrained", "accuracy": "frozen base + trained head"}  # by the metric of the lab's task


def summary(lab: str, profile: str = "tiny", run_name: str = "default") -> str:
    """Results of a run: baselines and scores, trainable share, merge error, and the deployment table.

    Args:
        lab: The lab's folder name.
        profile: ``tiny``, ``laptop`` or ``full``.
        run_name: The notebooks' ``RUN_NAME``.

    Returns:
        A table for a terminal.

    Raises:
        RunError: If the lab was not trained, or a file of the run folder is damaged.
    """
    run = RunFolder(lab, profile, run_name)
    metrics, deployed = run.read("02-Train").json("metrics.json"), run.read("04-Merge_and_Deploy")
    differences = deployed.json("merge_error.json")["max_logit_difference"]
    share = 100 * metrics["trainable"] / metrics["total"]
    parts = [
        _table(f"{lab}, {profile} profile: held-out rows", list(_score_rows(metrics))),
        f"trainable: {metrics['trainable']:,} of {metrics['total']:,} parameters = {share:.2f} %",
        _table("merge: largest difference of a logit", [{"": k, "difference": v} for k, v in differences.items()]),
        _table("deployment", deployed.json("deployment.json")["rows"]),
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def _score_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for the majority class, the frozen base and each method."""
    scored = {name: scores for name, scores in metrics.items() if isinstance(scores, Mapping)}
    metric = next((one for one in BASES if any(one in scores for scores in scored.values())), "exact_match")
    column = metric.replace("_", " ")
    if "majority" in metrics:
        yield {"": "most frequent answer", column: metrics["majority"]}
    for name, scores in scored.items():
        if metric in scores:
            row = {"": BASES[metric] if name == "base" else name, column: scores[metric]}
            yield row | ({"format": scores["format"]} if "format" in scores else {})


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned text; columns are the keys of the first row and whatever later rows add."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # plain text: '[ms]' would be read as markup

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(Text(column.replace("_", " ")), justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(Text(_cell(column, row.get(column, ""))) for column in columns))
    console = Console(width=WIDTH, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}" if column in SHARES else f"{value:.3g}"
    return str(value)
