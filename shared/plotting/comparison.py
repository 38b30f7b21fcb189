"""Figures that compare: bars, and memory against card sizes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.plotting.axes import add_legend, add_references, required, set_title, set_values_axis
from shared.plotting.roles import NEUTRAL, colours_of
from shared.plotting.style import HATCHES, new_figure, style


def bars(
    values: Mapping[str, float | Sequence[float]],
    xlabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    form: str = "{:.2f}",
    log: bool = False,
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Horizontal bars, the first on top, each with its number; several values become mean ± standard deviation.

    Args:
        values: Name -> value, or the values of several seeds.
        xlabel: What is compared, with its unit.
        title: What the figure shows: the finding, in one sentence.
        references: Name -> value, drawn as vertical lines (majority class, for example).
        form: How numbers are written; a per cent form such as ``{:.1%}`` makes the axis one of per cent.
        log: Logarithmic axis; for values that lie orders of magnitude apart.
        own: The lab's own method, drawn in blue; default: that of the opened lab.
        colours: Name -> colour or role, where the name does not say it.
    """
    parts = {name: [value] if isinstance(value, (int, float)) else list(value) for name, value in values.items()}
    means = [statistics.fmean(part) for part in parts.values()]
    spread = [statistics.stdev(part) if len(part) > 1 else 0.0 for part in parts.values()]
    with style():
        figure, (axes,) = new_figure(1.0 + 0.42 * len(parts) + (0.3 if references else 0))
        rows = range(len(parts))
        axes.barh(rows, means, color=colours_of(parts, own, colours), height=0.7)
        for row, mean, deviation in zip(rows, means, spread, strict=True):
            if deviation:
                axes.errorbar(mean, row, xerr=deviation, color="black", capsize=3, linewidth=1.2)
        ends = [mean + deviation for mean, deviation in zip(means, spread, strict=True)]
        add_references(axes, references, vertical=True, own=own)
        axes.set_yticks(rows, list(parts))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        if log:
            _logarithmic_values(axes, means, xlabel)
        else:
            lows = [mean - deviation for mean, deviation in zip(means, spread, strict=True) if mean < 0]
            set_values_axis(axes, "x", xlabel, [*ends, *lows, *(references or {}).values()], form)
        _write_numbers(axes, means, spread, form)
        if references:
            add_legend(figure)
        set_title(figure, title)
    return figure


def _logarithmic_values(axes: Axes, means: Sequence[float], xlabel: str) -> None:
    positive = [mean for mean in means if mean > 0] or [1.0]
    axes.set(xscale="log", xlim=(min(positive) / 10, max(positive) * 10), xlabel=required(xlabel, "the x label"))


def _write_numbers(axes: Axes, means: Sequence[float], spread: Sequence[float], form: str) -> None:
    """Each bar's number at its end; a zero, which has no place on a logarithmic axis, at the left edge."""
    left = axes.get_xlim()[0]
    for row, (mean, deviation) in enumerate(zip(means, spread, strict=True)):
        text = form.format(mean) + (f" ± {form.format(deviation)}" if deviation else "")
        axes.annotate(text, (max(mean + deviation, left), row), (5, 0), textcoords="offset points", va="center",
                      fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip


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
        title: What the figure shows: the finding, in one sentence.
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
            axes.barh(range(len(setups)), sizes, left=left, label=name, color=NEUTRAL[i % len(NEUTRAL)],
                      hatch=HATCHES[i % len(HATCHES)], edgecolor="white", height=0.65)  # fmt: skip
            left = [a + b for a, b in zip(left, sizes, strict=True)]
        for place, total in enumerate(totals):
            _total_label(axes, total, place, end)
        for i, card in enumerate(cards):
            axes.axvline(card, color="black", linestyle="--", linewidth=1, label=None if i else "GPU memory")
            axes.annotate(f"{card:g} GB", (card, 1), (0, 2), xycoords=("data", "axes fraction"), ha="center",
                          textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set_yticks(range(len(setups)), list(setups))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="memory [GB, 1e9 bytes]", xlim=(0, end))
        add_legend(figure)
        set_title(figure, f"{title}\n" if title else "")  # the sizes of the cards stand in the free line
    return figure


def _total_label(axes: Axes, total: float, place: int, end: float) -> None:
    """Write a bar's total at its end, or inside at the end of the axis where the bar is cut off."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    cut = total > 0.9 * end
    text = f"{total:.1f} GB" + (" →" if total > end else "")
    at, align, shift = (end, "right", -6) if cut else (total, "left", 5)
    axes.annotate(text, (at, place), (shift, 0), textcoords="offset points", va="center", ha=align, fontsize=9,
                  bbox=box)  # fmt: skip
