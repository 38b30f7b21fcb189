"""Figures of data and training: lengths, losses, sweeps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.plotting.axes import add_legend, add_references, line_style, required, set_title, set_values_axis
from shared.plotting.roles import NEUTRAL, OWN, colours_of
from shared.plotting.style import DASHES, MARKERS, new_figure, style


def token_lengths(
    lengths: Mapping[str, Sequence[int]], limit: int | None = None, bins: int = 30, title: str = ""
) -> Figure:
    """Histograms of token counts as outlines, which hide nothing where they overlap; one colour per split.

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
        figure, (axes,) = new_figure(3.6)
        for (name, part), colour, dash in zip(lengths.items(), (OWN, *NEUTRAL), DASHES, strict=False):
            label = f"{name}: {len(part):,} rows, median {statistics.median(part):.0f}, longest {max(part)}"
            shares = np.full(len(part), 100 / len(part))
            axes.hist(part, edges, weights=shares, label=label, histtype="step", color=colour, linestyle=dash)
        if limit is not None:
            fits = 100 * sum(value <= limit for value in values) / len(values)
            label = f"max_length {limit}: {fits:.1f} % of the rows fit"
            axes.axvline(limit, color="black", linestyle="--", label=label)
        axes.set(xlabel="length of a row [tokens]", ylabel="share of the split's rows [%]")
        axes.set_ylim(top=min(100, 1.08 * axes.get_ylim()[1]))
        add_legend(figure, columns=2)
        set_title(figure, title)
    return figure


def draw_losses(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[float, float]]],
    per: str = "token",
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw named lines of (step, loss) into axes; short ones with markers, so that single points are seen."""
    for i, (name, colour) in enumerate(zip(series, colours_of(series, own, colours, lines=True), strict=True)):
        points = series[name]
        if points:
            steps, losses = zip(*points, strict=True)
            marker = MARKERS[i % len(MARKERS)] if len(points) <= 25 else None
            axes.plot(steps, losses, label=name, color=colour, marker=marker, **line_style(i, len(points)))
    axes.set(xlabel="training step", ylabel=f"loss [nats per {per}]")
    axes.set_ylim(bottom=0)


def loss_curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str = "",
    per: str = "token",
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Losses over training steps.

    Args:
        series: Name -> list of (step, loss [nats]); see :func:`split_history` for the Trainer's history.
        title: What the figure shows: the finding, in one sentence.
        per: What the loss is a mean over: a token where text is generated or tagged, a row where rows are classified.
        own: The lab's own method, drawn in blue; default: that of the opened lab.
        colours: Name -> colour or role, where the name does not say it.
        references: Name -> loss, drawn as horizontal lines (the loss of guessing, for example).
    """
    with style():
        figure, (axes,) = new_figure(3.4)
        draw_losses(axes, series, per, own, colours)
        add_references(axes, references, own=own)
        add_legend(figure)
        set_title(figure, title)
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
    own: str | None = None,
    colour: str = OWN,
) -> Figure:
    """Mean and standard deviation over seeds against a swept value, on a logarithmic axis to the base 2.

    Args:
        scores: Swept value (a rank, for example) -> the score of each seed.
        xlabel: What is swept, with its unit.
        ylabel: The score, with its unit.
        references: Name -> score, drawn as horizontal lines (base model, full fine-tuning).
        title: What the figure shows: the finding, in one sentence.
        own: The lab's own method; default: that of the opened lab.
        colour: Colour or role of the swept method; default: the lab's own.
    """
    points = sorted(scores.items())
    means = [statistics.fmean(values) for _, values in points]
    spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in points]
    seeds = max(len(values) for _, values in points)
    label = f"mean ± standard deviation, {seeds} seeds" if seeds > 1 else "one seed"
    (drawn,) = colours_of(["swept"], own, {"swept": colour})
    with style():
        figure, (axes,) = new_figure(3.6)
        ticks = [value for value, _ in points]
        axes.errorbar(ticks, means, spread if seeds > 1 else None, color=drawn, marker="o", capsize=4, zorder=3,
                      label=label, **line_style(0, len(ticks)))  # fmt: skip
        for i, (value, parts) in enumerate(points if seeds > 1 else []):
            axes.plot([value] * len(parts), parts, "D", color="black", markersize=3, zorder=4,
                      label=None if i else "each seed")  # fmt: skip
        add_references(axes, references, own=own)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        shown = [score for _, values in points for score in values] + list((references or {}).values())
        shown += [mean + deviation for mean, deviation in zip(means, spread, strict=True) if mean + deviation <= 100]
        set_values_axis(axes, "y", ylabel, shown, start=min(shown))
        axes.set_xlabel(required(xlabel, "the x label"))
        add_legend(figure)
        set_title(figure, title)
    return figure
