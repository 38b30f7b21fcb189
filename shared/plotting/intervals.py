"""Figures of estimates with their intervals, which need not be symmetric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from shared.plotting.axes import add_legend, add_references, set_title, set_values_axis
from shared.plotting.roles import colours_of
from shared.plotting.style import MARKERS, new_figure, style


def intervals(
    values: Mapping[str, Sequence[float]],
    xlabel: str,
    title: str = "",
    form: str = "{:.1f}",
    zero: bool = True,
    references: Mapping[str, float] | None = None,
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Points with whiskers, one row each, the first on top.

    Args:
        values: Name -> (estimate, lower end, upper end).
        xlabel: What is estimated, with its unit, and what the whiskers mean.
        title: What the figure shows: the finding, in one sentence.
        form: How numbers are written.
        zero: Whether the axis starts at zero.
        references: Name -> value, drawn as vertical lines.
        own: The lab's own method, drawn in blue; default: that of the opened lab.
        colours: Name -> colour or role, where the name does not say it.
    """
    with style():
        figure, (axes,) = new_figure(1.0 + 0.42 * len(values) + (0.3 if references else 0))
        for row, (name, colour) in enumerate(zip(values, colours_of(values, own, colours), strict=True)):
            middle, low, high = values[name]
            axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], color=colour, label="_nolegend_",
                          marker=MARKERS[row % len(MARKERS)], capsize=4, linestyle="none")  # fmt: skip
            text = f"{form.format(middle)} ({form.format(low)} – {form.format(high)})"
            axes.annotate(text, (high, row), (8, 0), textcoords="offset points", va="center", fontsize=9)
        add_references(axes, references, vertical=True, own=own)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        ends = [end for _, low, high in values.values() for end in (low, high)] + list((references or {}).values())
        set_values_axis(axes, "x", xlabel, ends, form, start=0.0 if zero else min(ends))
        if references:
            add_legend(figure)
        set_title(figure, title)
    return figure
