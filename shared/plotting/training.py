"""Figures of data and training: lengths, losses, sweeps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.plotting.style import COLOURS, DASHES, HATCHES, MARKERS, new_figure, style


def token_lengths(
    lengths: Mapping[str, Sequence[int]], limit: int | None = None, bins: int = 30, title: str = ""
) -> Figure:
    """Histograms of token counts, one colour per split.

    Args:
        lengths: Name of the split -> number of tokens of each row.
        limit: ``max_length``: rows beyond it are cut; drawn as a line with the share that fits.
        bins: Number of bins over the whole range.
        title: Title; default none.
    """
    values = [length for part in lengths.values() for length in part]
    if not values:
        raise ValueError("token_lengths: there are no rows")
    edges = np.histogram_bin_edges(values, bins=min(bins, max(values) - min(values) + 1))
    with style():
        figure, (axes,) = new_figure(3.0)
        for (name, part), colour, hatch in zip(lengths.items(), COLOURS, HATCHES, strict=False):
            label = f"{name}: {len(part):,} rows, median {statistics.median(part):.0f}, longest {max(part)}"
            shares = np.full(len(part), 100 / len(part))
            axes.hist(part, edges, weights=shares, label=label, alpha=0.55, color=colour, hatch=hatch, edgecolor=colour)
        if limit is not None:
            fits = 100 * sum(value <= limit for value in values) / len(values)
            label = f"max_length {limit}: {fits:.1f} % of the rows fit"
            axes.axvline(limit, color="black", linestyle="--", label=label)
        axes.set(xlabel="length of a row [tokens]", ylabel="share of the split's rows [%]", title=title)
        axes.set_ylim(top=axes.get_ylim()[1] * (1.12 + 0.1 * len(lengths)))  # room for the legend
        axes.legend(loc="upper left")
    return figure


def draw_losses(axes: Axes, series: Mapping[str, Sequence[tuple[float, float]]], per: str = "token") -> None:
    """Draw named lines of (step, loss) into axes; short ones with markers, so that single points are seen."""
    for i, (name, points) in enumerate(series.items()):
        if points:
            steps, losses = zip(*points, strict=True)
            marker = MARKERS[i % len(MARKERS)] if len(points) <= 25 else None
            axes.plot(steps, losses, label=name, color=COLOURS[i % 7], linestyle=DASHES[i % 7], marker=marker)
    axes.set(xlabel="training step", ylabel=f"loss [nats per {per}]")
    axes.set_ylim(bottom=0)
    axes.legend()


def loss_curves(series: Mapping[str, Sequence[tuple[float, float]]], title: str = "", per: str = "token") -> Figure:
    """Losses over training steps.

    Args:
        series: Name -> list of (step, loss [nats]); see :func:`split_history` for the Trainer's history.
        title: Title; default none.
        per: What the loss is a mean over: a token where text is generated or tagged, a row where rows are classified.
    """
    with style():
        figure, (axes,) = new_figure(3.2)
        draw_losses(axes, series, per)
        axes.set_title(title)
    return figure


def split_history(history: Sequence[Mapping]) -> dict[str, list[tuple[int, float]]]:
    """The Trainer's ``state.log_history`` as the two lines of :func:`loss_curves`: training and validation."""
    return {
        "training": [(entry["step"], entry["loss"]) for entry in history if "loss" in entry],
        "validation": [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry],
    }


def sweep(
    scores: Mapping[float, Sequence[float]],
    xlabel: str,
    ylabel: str,
    references: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Mean and standard deviation over seeds against a swept value, on a logarithmic axis to the base 2.

    Args:
        scores: Swept value (a rank, for example) -> the score of each seed.
        xlabel: What is swept, with its unit.
        ylabel: The score, with its unit.
        references: Name -> score, drawn as horizontal lines (base model, full fine-tuning).
        title: Title; default none.
    """
    points = sorted(scores.items())
    means = [statistics.fmean(values) for _, values in points]
    spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in points]
    seeds = max(len(values) for _, values in points)
    label = f"mean ± standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    with style():
        figure, (axes,) = new_figure(3.4)
        ticks = [value for value, _ in points]
        axes.errorbar(ticks, means, spread if seeds > 1 else None, color=COLOURS[0], marker="o", capsize=4, zorder=3,
                      label=label)  # fmt: skip
        for value, parts in points:
            axes.plot([value] * len(parts), parts, "o", color=COLOURS[0], alpha=0.35, markersize=4)
        for i, (name, score) in enumerate((references or {}).items(), start=1):
            axes.axhline(score, color=COLOURS[i % 7], linestyle=DASHES[i % 7], label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.legend()
    return figure
