"""Figures that compare: bars, memory against card sizes, latency lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from shared.plotting.style import COLOURS, DASHES, HATCHES, MARKERS, new_figure, style


def bars(
    values: Mapping[str, float | Sequence[float]],
    xlabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    form: str = "{:.3g}",
    log: bool = False,
) -> Figure:
    """Horizontal bars, the first on top, each with its number; several values become mean ± standard deviation.

    Args:
        values: Name -> value, or the values of several seeds.
        xlabel: What is compared, with its unit.
        title: Title; default none.
        references: Name -> value, drawn as vertical lines (majority class, for example).
        form: How numbers are written.
        log: Logarithmic axis.
    """
    parts = {name: [value] if isinstance(value, (int, float)) else list(value) for name, value in values.items()}
    means = [statistics.fmean(part) for part in parts.values()]
    spread = [statistics.stdev(part) if len(part) > 1 else 0.0 for part in parts.values()]
    with style():
        figure, (axes,) = new_figure(0.9 + 0.42 * len(parts))
        places = range(len(parts))
        colours = [COLOURS[i % len(COLOURS)] for i in places]
        drawn = axes.barh(places, means, xerr=spread if any(spread) else None, color=colours, capsize=3, height=0.7)
        labels = [form.format(m) + (f" ± {form.format(s)}" if s else "") for m, s in zip(means, spread, strict=True)]
        axes.bar_label(drawn, labels, padding=4, fontsize=9)
        for i, (name, value) in enumerate((references or {}).items(), start=1):
            axes.axvline(value, color="black", linestyle=DASHES[i % 7], linewidth=1.2, label=name)
        axes.set_yticks(places, list(parts))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=xlabel, title=title)
        if log:
            axes.set_xscale("log")
        axes.margins(x=0.18)
        if references:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def memory_bars(
    setups: Mapping[str, Mapping[str, float]], cards: Sequence[float] = (8, 16, 24), title: str = "", log: bool = False
) -> Figure:
    """Stacked memory of several set-ups against the sizes of cards.

    Args:
        setups: Name of the set-up -> part (weights, gradients, optimizer, activations, logits) -> size
            [GB, 1e9 bytes].
        cards: Memory of cards [GB], drawn as vertical lines.
        title: Title; default none.
        log: Logarithmic axis is refused: stacked parts cannot be read on it.

    Raises:
        ValueError: If ``log`` is asked for.
    """
    if log:
        raise ValueError("memory_bars: stacked bars cannot be read on a logarithmic axis")
    names = list(dict.fromkeys(part for parts in setups.values() for part in parts))
    totals = [sum(parts.values()) for parts in setups.values()]
    with style():
        figure, (axes,) = new_figure(1.5 + 0.5 * len(setups))
        left = [0.0] * len(setups)
        for i, name in enumerate(names):
            sizes = [parts.get(name, 0.0) for parts in setups.values()]
            axes.barh(range(len(setups)), sizes, left=left, label=name, color=COLOURS[i % 7], hatch=HATCHES[i % 7],
                      edgecolor="white", height=0.65)  # fmt: skip
            left = [a + b for a, b in zip(left, sizes, strict=True)]
        for place, total in enumerate(totals):
            axes.annotate(f"{total:.1f} GB", (total, place), (5, 0), textcoords="offset points", va="center",
                          fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        for card in cards:
            axes.axvline(card, color="black", linestyle="--", linewidth=1)
            axes.annotate(f"{card:g}", (card, 1), (0, 2), xycoords=("data", "axes fraction"), ha="center",
                          textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set_yticks(range(len(setups)), list(setups))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="memory [GB, 1e9 bytes]; dashed: a card's size", xlim=(0, 1.15 * max([*totals, *cards])))
        axes.set_title(title, pad=16)
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2 - 0.4 / len(setups)), ncols=len(names))
    return figure


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
