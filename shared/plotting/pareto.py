"""The figure of a comparison: what a method reaches against how many parameters it trains."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from shared.plotting.style import COLOURS, DASHES, MARKERS, new_figure, style

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
) -> Figure:
    """Scores against trained parameters on a logarithmic axis; a dashed line joins those that none beats.

    Args:
        points: Name -> (trained parameters [1], a score for each seed).
        ylabel: The score, with its unit.
        title: Title; default none.
        references: Name -> score, drawn as horizontal lines (the majority class, for example).
    """
    means = {name: (count, statistics.fmean(scores)) for name, (count, scores) in points.items()}
    heights = _label_heights(means)
    with style():
        figure, (axes,) = new_figure(4.2)
        for i, (name, (count, scores)) in enumerate(points.items()):
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            axes.errorbar(count, means[name][1], yerr=spread or None, fmt=MARKERS[i % 7], color=COLOURS[i % 7],
                          capsize=3)  # fmt: skip
            axes.annotate(name, (count, means[name][1]), (6, heights[name]), textcoords="offset points", fontsize=9)
        front = pareto_front(means)
        axes.plot(*zip(*(means[name] for name in front), strict=True), color="grey", linestyle="--", linewidth=1,
                  zorder=1, label="not beaten")  # fmt: skip
        for i, (name, value) in enumerate((references or {}).items(), start=1):
            axes.axhline(value, color="black", linestyle=DASHES[(i + 2) % 7], linewidth=1.2, label=name)
        axes.set(xscale="log", xlabel="trained parameters [1], the head included", ylabel=ylabel, title=title)
        axes.margins(x=0.15, y=0.15)
        figure.legend(loc="outside upper right", ncols=3)
    return figure
