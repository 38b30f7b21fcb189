"""Figures of a measured quantity against another: latency against batch size, accuracy against rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.plotting.axes import add_legend, add_references, line_style, required, set_title, set_values_axis
from shared.plotting.roles import colours_of
from shared.plotting.style import MARKERS, new_figure, style

Value = float | Sequence[float]


def lines(
    series: Mapping[str, Mapping[float, Value]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    log_x: bool | None = None,
    references: Mapping[str, float] | None = None,
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Lines of a measured quantity; a series with one or two points is drawn as points, not as a curve.

    Args:
        series: Name -> x -> measured value, or the values of several seeds (then mean ± standard deviation).
        xlabel: What is varied, with its unit.
        ylabel: The quantity, with its unit.
        title: What the figure shows: the finding, in one sentence.
        log_x: Logarithmic axis to the base 2. Default: where x spans a factor of 8 and no series is a straight line,
            which a logarithmic axis would show as a curve.
        references: Name -> value, drawn as horizontal lines (the majority class, for example).
        own: The lab's own method, drawn in blue; default: that of the opened lab.
        colours: Name -> colour or role, where the name does not say it.

    Raises:
        ValueError: If ``log_x`` is asked for and a series is a straight line or an x is not positive.
    """
    series = {name: _summary(points) for name, points in series.items()}
    ticks = sorted({x for points in series.values() for x in points})
    log_x = _logarithmic(series, ticks, log_x)
    with style():
        figure, (axes,) = new_figure(3.4)
        for i, (name, colour) in enumerate(zip(series, colours_of(series, own, colours, lines=True), strict=True)):
            xs = sorted(series[name])
            means, spread = zip(*(series[name][x] for x in xs), strict=True)
            axes.errorbar(xs, means, spread if any(spread) else None, label=name, color=colour, capsize=3,
                          marker=MARKERS[i % len(MARKERS)], **line_style(i, len(xs)))  # fmt: skip
        add_references(axes, references, own=own)
        _ticks(axes, ticks, log_x)
        ends = [m + s for points in series.values() for m, s in points.values()]
        ends += [m for points in series.values() for m, _ in points.values()]
        set_values_axis(axes, "y", ylabel, [*ends, *(references or {}).values()])
        axes.set_xlabel(required(xlabel, "the x label"))
        add_legend(figure)
        set_title(figure, title)
    return figure


def latency_lines(
    series: Mapping[str, Mapping[float, Value]],
    xlabel: str,
    ylabel: str = "latency [ms]",
    title: str = "",
    log_x: bool | None = None,
    references: Mapping[str, float] | None = None,
    own: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Latency or throughput against batch size, length or number of clients; see :func:`lines`."""
    return lines(series, xlabel, ylabel, title, log_x, references, own, colours)


def _summary(points: Mapping[float, Value]) -> dict[float, tuple[float, float]]:
    """x -> (mean, standard deviation over the seeds; 0 for one value)."""
    values = {x: [value] if np.ndim(value) == 0 else list(value) for x, value in points.items()}
    return {x: (statistics.fmean(v), statistics.stdev(v) if len(v) > 1 else 0.0) for x, v in values.items()}


def _logarithmic(
    series: Mapping[str, Mapping[float, tuple[float, float]]], ticks: Sequence[float], wanted: bool | None
) -> bool:
    straight = [name for name, points in series.items() if _is_straight({x: mean for x, (mean, _) in points.items()})]
    if wanted and straight:
        raise ValueError(f"{straight[0]!r} is a straight line: a logarithmic axis would show it as a curve")
    if wanted and ticks[0] <= 0:
        raise ValueError(f"x = {ticks[0]:g} has no place on a logarithmic axis")
    if wanted is None:
        return ticks[0] > 0 and ticks[-1] >= 8 * ticks[0] and not straight
    return wanted


def _is_straight(points: Mapping[float, float]) -> bool:
    """Whether three points or more lie exactly on a line that is not level."""
    xs, ys = np.array(sorted(points)), np.array([points[x] for x in sorted(points)])
    if len(xs) < 3 or np.ptp(ys) == 0:
        return False
    residual = ys - np.polyval(np.polyfit(xs, ys, 1), xs)
    return bool(np.abs(residual).max() < 1e-9 * np.ptp(ys))


def _ticks(axes: Axes, ticks: Sequence[float], log_x: bool) -> None:
    """A tick at each measured x, unless a linear axis has them too close together."""
    if log_x:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    gaps = np.diff(ticks)
    if log_x or (len(ticks) <= 12 and (not len(gaps) or gaps.min() > 0.05 * (ticks[-1] - ticks[0]))):
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
