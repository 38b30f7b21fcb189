"""Diagrams drawn to scale from a layer's true sizes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shared.plotting.axes import set_title
from shared.plotting.roles import OWN, ROLES
from shared.plotting.style import HATCHES, new_figure, style


def low_rank(out_features: int, in_features: int, r: int, title: str = "") -> Figure:
    """LoRA's W + (α/r) B A as rectangles: W of shape (d, k) frozen, B (d, r) and A (r, k) trained.

    Args:
        out_features: Rows d of W.
        in_features: Columns k of W.
        r: Rank.
        title: What the figure shows: the finding, in one sentence.
    """
    d, k = out_features, in_features
    gap = 0.38 * k
    with style():
        figure, (axes,) = new_figure(3.2)
        _box(axes, 0, 0, k, d, f"W\n{d} × {k}\nfrozen", ROLES["base"], HATCHES[0])
        axes.text(k + gap / 2, d / 2, "+ (α/r) ·", ha="center", va="center", fontsize=13)
        left = k + gap
        _box(axes, left, 0, r, d, "", OWN, HATCHES[1])
        _box(axes, left + r + 0.12 * k, d - r, k, r, "", OWN, HATCHES[2])
        axes.text(left + r / 2, -0.04 * d, f"B, {d} × {r}\ntrained, starts at 0", ha="center", va="top")
        axes.text(left + r + 0.62 * k, d - r - 0.04 * d, f"A, {r} × {k}\ntrained, starts random", ha="center", va="top")
        share = r * (d + k) / (d * k)
        count = f"{r * (d + k):,} parameters\ninstead of {d * k:,}: {100 * share:.3g} %"
        axes.text(left + r + 0.62 * k, 0.38 * d, count, ha="center", va="center")
        axes.set(xlim=(-0.02 * k, left + r + 1.16 * k), ylim=(-0.28 * d, 1.03 * d), aspect="equal")
        axes.axis("off")
        set_title(figure, title)
    return figure


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str, hatch: str) -> None:
    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="white", hatch=hatch))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center")
