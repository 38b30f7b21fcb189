"""Figures of estimates with their intervals, which need not be symmetric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from shared.plotting.style import COLOURS, MARKERS, new_figure, style


def intervals(
    values: Mapping[str, Sequence[float]], xlabel: str, title: str = "", form: str = "{:.1f}", zero: bool = True
) -> Figure:
    """Points with whiskers, one row each, the first on top.

    Args:
        values: Name -> (estimate, lower end, upper end).
        xlabel: What is estimated, with its unit, and what the whiskers mean.
        title: Title; default none.
        form: How numbers are written.
        zero: Whether the axis starts at zero.
    """
    with style():
        figure, (axes,) = new_figure(0.9 + 0.42 * len(values))
        for place, (name, (middle, low, high)) in enumerate(values.items()):
            axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color=COLOURS[place % 7],
                          marker=MARKERS[place % 7], capsize=4, linestyle="none", label=name)  # fmt: skip
            text = f"{form.format(middle)} ({form.format(low)} – {form.format(high)})"
            axes.annotate(text, (high, place), (8, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        top = max(high for _, _, high in values.values())
        bottom = 0 if zero else min(low for _, low, _ in values.values())
        axes.set(xlabel=xlabel, title=title, xlim=(bottom - 0.02 * top, top * 1.35))
        axes.set_xticks([tick for tick in axes.get_xticks() if bottom <= tick <= 1.05 * top])  # the rest: text
    return figure
