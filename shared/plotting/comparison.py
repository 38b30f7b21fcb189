"""Figures that compare: bars, memory against card sizes, latency lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.plotting.style import COLOURS, DASHES, HATCHES, MARKERS, new_figure, style


def bars(
    values: Mapping[str, float | Sequence[float]],
    xlabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    form: str = "{:.2f}",
    log: bool = False,
) -> Figure:
    """Horizontal bars, the first on top, each with its number; several values become mean ± standard deviation.

    Args:
        values: Name -> value, or the values of several seeds.
        xlabel: What is compared, with its unit.
        title: Title; default none.
        references: Name -> value, drawn as vertical lines (majority class, for example).
        form: How numbers are written.
        log: Logarithmic axis; for values that lie orders of magnitude apart.
    """
    parts = {name: [value] if isinstance(value, (int, float)) else list(value) for name, value in values.items()}
    means = [statistics.fmean(part) for part in parts.values()]
    spread = [statistics.stdev(part) if len(part) > 1 else 0.0 for part in parts.values()]
    with style():
        figure, (axes,) = new_figure(0.9 + 0.42 * len(parts))
        places = range(len(parts))
        colours = [COLOURS[i % len(COLOURS)] for i in places]
        axes.barh(places, means, color=colours, height=0.7)
        for place, mean, deviation in zip(places, means, spread, strict=True):
            if deviation:
                axes.errorbar(mean, place, xerr=deviation, color="black", capsize=3, linewidth=1.2)
            text = form.format(mean) + (f" ± {form.format(deviation)}" if deviation else "")
            at = mean + deviation if mean > 0 or not log else min(m for m in [*means, 1.0] if m > 0) / 10
            axes.annotate(text, (at, place), (5, 0), textcoords="offset points", va="center", fontsize=9,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        for i, (name, value) in enumerate((references or {}).items(), start=1):
            axes.axvline(value, color="black", linestyle=DASHES[i % 7], linewidth=1.2, label=name)
        axes.set_yticks(places, list(parts))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=xlabel, title=title)
        if log:  # a zero has no place on it; its number stands at the left edge
            positive = [mean for mean in means if mean > 0] or [1.0]
            axes.set(xscale="log", xlim=(min(positive) / 10, max(positive) * 10))
        else:
            axes.set_xlim(0, 1.25 * max(m + s for m, s in zip(means, spread, strict=True)) or 1)
        if references:
            figure.legend(loc="outside upper right")
    return figure


def memory_bars(
    setups: Mapping[str, Mapping[str, float]],
    cards: Sequence[float] = (8, 16, 24),
    title: str = "",
    limit: float | None = None,
) -> Figure:
    """Stacked memory of several set-ups against the sizes of cards.

    Args:
        setups: Name of the set-up -> part (weights, gradients, optimizer, activations, logits) -> size
            [GB, 1e9 bytes].
        cards: Memory of cards [GB], drawn as vertical lines.
        title: Title; default none.
        limit: Where the axis ends [GB]; longer bars are cut there and marked, so that short ones stay readable.
    """
    names = list(dict.fromkeys(part for parts in setups.values() for part in parts))
    totals = [sum(parts.values()) for parts in setups.values()]
    end = limit if limit is not None else 1.15 * max([*totals, *cards])
    with style():
        figure, (axes,) = new_figure(1.6 + 0.5 * len(setups))
        left = [0.0] * len(setups)
        for i, name in enumerate(names):
            sizes = [parts.get(name, 0.0) for parts in setups.values()]
            axes.barh(range(len(setups)), sizes, left=left, label=name, color=COLOURS[i % 7], hatch=HATCHES[i % 7],
                      edgecolor="white", height=0.65)  # fmt: skip
            left = [a + b for a, b in zip(left, sizes, strict=True)]
        for place, total in enumerate(totals):
            _total_label(axes, total, place, end)
        for card in cards:
            axes.axvline(card, color="black", linestyle="--", linewidth=1)
            axes.annotate(f"{card:g} GB", (card, 1), (0, 2), xycoords=("data", "axes fraction"), ha="center",
                          textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set_yticks(range(len(setups)), list(setups))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="memory [GB, 1e9 bytes]; dashed: a card's size", xlim=(0, end))
        axes.set_title(title, pad=18)
        figure.legend(loc="outside lower center", ncols=len(names))
    return figure


def _total_label(axes: Axes, total: float, place: int, end: float) -> None:
    """Write a bar's total behind it, or inside at the axis' end where the bar is cut off."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    cut = total > 0.9 * end
    text = f"{total:.1f} GB" + (" →" if total > end else "")
    at, align, shift = (end, "right", -6) if cut else (total, "left", 5)
    axes.annotate(text, (at, place), (shift, 0), textcoords="offset points", va="center", ha=align, fontsize=9,
                  bbox=box)  # fmt: skip


def latency_lines(
    series: Mapping[str, Mapping[float, float]],
    xlabel: str,
    ylabel: str = "latency [ms]",
    title: str = "",
    log_x: bool = True,
) -> Figure:
    """Lines of a measured quantity against batch size or length.

    Args:
        series: Name -> x -> measured value.
        xlabel: Batch size or length, with its unit.
        ylabel: The quantity, with its unit.
        title: Title; default none.
        log_x: Logarithmic axis to the base 2.
    """
    with style():
        figure, (axes,) = new_figure(3.2)
        ticks = sorted({x for points in series.values() for x in points})
        for i, (name, points) in enumerate(series.items()):
            xs = sorted(points)
            axes.plot(xs, [points[x] for x in xs], label=name, color=COLOURS[i % 7], linestyle=DASHES[i % 7],
                      marker=MARKERS[i % 7])  # fmt: skip
        if log_x:
            axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if len(series) > 1:
            axes.legend()
    return figure
