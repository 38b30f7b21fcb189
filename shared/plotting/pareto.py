"""The figure of a comparison: what a method reaches against how many parameters it trains."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from shared.plotting.axes import add_legend, add_references, required, set_title
from shared.plotting.roles import colours_of
from shared.plotting.style import MARKERS, new_figure, style

LABELS = (5, -12, 17, -24)  # heights of neighbours' names above their marks [points], so that they don't overlap


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other beats: none has a score as high with fewer parameters, or a higher one with as many.

    Args:
        points: Name -> (parameters, score).

    Returns:
        The names, from the fewest parameters on.
    """
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front


def _label_heights(points: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """Name -> height of its label; among neighbours the better one has the higher label.

    A group of more neighbours than there are heights uses some twice.
    """
    heights: dict[str, int] = {}
    for group in _neighbours(points):
        free = sorted(LABELS[: len(group)])
        for at, name in enumerate(sorted(group, key=lambda name: points[name][1])):
            heights[name] = free[at % len(free)]
    return heights


def _neighbours(points: Mapping[str, tuple[float, float]]) -> list[list[str]]:
    """The names in groups whose labels would overlap: less than a factor of 3 and an eighth of all heights apart."""
    scores = [score for _, score in points.values()]
    reach = (max(scores) - min(scores)) / 8
    groups: list[list[str]] = []
    for name, (count, score) in sorted(points.items(), key=lambda item: item[1]):
        near = [g for g in groups if any(count <= 3 * points[o][0] and abs(score - points[o][1]) <= reach for o in g)]
        groups = [g for g in groups if g not in near] + [[*(o for g in near for o in g), name]]
    return groups


def pareto(
    points: Mapping[str, tuple[float, Sequence[float]]],
    ylabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Scores against trainable parameters on a logarithmic axis; a dashed line joins those that none beats.

    Args:
        points: Name -> (trainable parameters, a score for each seed).
        ylabel: The score, with its unit.
        title: What the figure shows: the finding, in one sentence.
        references: Name -> score, drawn as horizontal lines (the majority class, for example).
        own: The lab's own method, drawn in blue; default: that of the opened lab.
        colours: Name -> colour or role, where the name does not say it.
    """
    means = {name: (count, statistics.fmean(scores)) for name, (count, scores) in points.items()}
    heights = _label_heights(means)
    with style():
        figure, (axes,) = new_figure(4.2)
        for i, (name, colour) in enumerate(zip(points, colours_of(points, own, colours, lines=True), strict=True)):
            count, scores = points[name]
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            axes.errorbar(count, means[name][1], yerr=spread or None, fmt=MARKERS[i % len(MARKERS)], color=colour,
                          capsize=3)  # fmt: skip
            axes.annotate(name, (count, means[name][1]), (6, heights[name]), textcoords="offset points", fontsize=9)
        front = pareto_front(means)
        if len(front) > 2:  # two points are no curve
            axes.plot(*zip(*(means[name] for name in front), strict=True), color="grey", linestyle="--", linewidth=1,
                      zorder=1, label="no other method is better with fewer parameters")  # fmt: skip
        add_references(axes, references, own=own)
        axes.set(xscale="log", xlabel="trainable parameters, the head included", ylabel=required(ylabel, "the y label"))
        axes.margins(x=0.15, y=0.15)
        if "[%" in ylabel and axes.get_ylim()[1] > 100 and all(score <= 100 for _, score in means.values()):
            axes.set_ylim(top=100)
        if len(front) > 2 or references:
            add_legend(figure)
        set_title(figure, title)
    return figure
