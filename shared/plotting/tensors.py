"""Figures of weights: matrices and code books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shared.plotting.axes import set_title
from shared.plotting.roles import NEUTRAL, OWN
from shared.plotting.style import new_figure, style


def _array(values: Any) -> np.ndarray:
    values = values.detach().float().cpu() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=float)


def matrix_heatmap(
    matrices: Mapping[str, Any], unit: str = "weight", title: str = "", own_scales: bool = False
) -> Figure:
    """Matrices side by side on one colour scale that is symmetric around zero.

    Args:
        matrices: Name -> array or tensor of shape (rows, columns).
        unit: What the colours mean.
        title: What the figure shows: the finding, in one sentence.
        own_scales: A colour scale for each matrix, where one has much smaller values than another.
    """
    arrays = {name: _array(matrix) for name, matrix in matrices.items()}
    if any(array.ndim != 2 for array in arrays.values()):
        raise ValueError("matrix_heatmap: every matrix needs the shape (rows, columns)")
    tops = [float(np.abs(array).max()) for array in arrays.values()]
    tops = [top or 1.0 for top in (tops if own_scales else [max(tops)] * len(tops))]
    with style():
        figure, axes = new_figure(3.0, columns=len(arrays))
        for axis, top, (name, array) in zip(axes, tops, arrays.items(), strict=True):
            # PuOr: purple and orange can be distinguished with all common kinds of colour blindness
            image = axis.imshow(array, cmap="PuOr", vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
            axis.set(title=f"{name}\n{array.shape[0]} × {array.shape[1]}", xlabel="input feature")
            axis.grid(False)
            if own_scales:
                figure.colorbar(image, ax=axis, label=unit, shrink=0.85)
        axes[0].set_ylabel("output feature")
        if not own_scales:
            figure.colorbar(image, ax=axes, label=unit, shrink=0.85)
        set_title(figure, title)
    return figure


def codebook(levels: Mapping[str, Sequence[float]], sample: Any = None, title: str = "") -> Figure:
    """Quantisation levels on a line, one row per code book, over the histogram of a sample.

    Args:
        levels: Name -> levels in [-1, 1], for example NF4's 16 beside 16 evenly spaced ones.
        sample: Values scaled to [-1, 1] whose histogram shows where levels are needed; None leaves it out.
        title: What the figure shows: the finding, in one sentence.
    """
    with style():
        figure, (axes,) = new_figure(1.2 + 0.45 * len(levels) + (1.2 if sample is not None else 0))
        height = len(levels)
        if sample is not None:
            counts, edges = np.histogram(_array(sample).ravel(), bins=81, range=(-1, 1))
            axes.stairs(height - 0.3 + 2.4 * counts / max(counts.max(), 1), edges, baseline=height - 0.3, fill=True,
                        color="#BBBBBB", label="the weights (each block divided by its largest)")  # fmt: skip
            figure.legend(loc="outside lower left")
        for row, values in enumerate(levels.values()):
            place = height - 1 - row
            axes.hlines(place, -1, 1, color="#BBBBBB", linewidth=0.8)
            axes.plot(
                values, [place] * len(values), "|", color=(OWN, *NEUTRAL)[row % 7], markersize=18, markeredgewidth=2.2
            )
        names = [f"{name}\n{len(values)} levels" for name, values in levels.items()]
        axes.set_yticks(range(height - 1, -1, -1), names)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="value of the level [fraction of the block's largest weight]", xlim=(-1.05, 1.05))
        axes.set_ylim(bottom=-0.6)
        set_title(figure, title)
    return figure
