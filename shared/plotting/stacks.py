"""Block diagrams: what follows what in a layer, and which of it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from shared.plotting.axes import set_title
from shared.plotting.roles import OWN
from shared.plotting.style import HATCHES, new_figure, style

LOOKS = {
    "frozen": ("#D9D9D9", HATCHES[0]),
    "trained": (OWN, HATCHES[1]),
    "sum": ("white", HATCHES[0]),
}  # what a block is -> its colour and hatch


def stacks(columns: Mapping[str, Sequence[tuple[str, str]]], title: str = "") -> Figure:
    """Columns of blocks, read from the bottom upwards, joined by arrows.

    Args:
        columns: Name of a column -> its blocks from the bottom to the top: (text, one of ``frozen``, ``trained``,
            ``sum``).
        title: What the figure shows: the finding, in one sentence.

    Raises:
        ValueError: If a block is of another kind.
    """
    unknown = {kind for blocks in columns.values() for _, kind in blocks} - LOOKS.keys()
    if unknown:
        raise ValueError(f"stacks: a block is one of {', '.join(LOOKS)}, not {', '.join(sorted(unknown))}")
    most = max(len(blocks) for blocks in columns.values())
    with style():
        figure, (axes,) = new_figure(1.2 + 0.45 * most)
        for place, (name, blocks) in enumerate(columns.items()):
            _column(axes, 1.2 * place, name, blocks)
        axes.set(xlim=(-0.1, 1.2 * len(columns) - 0.1), ylim=(-0.9, most))
        axes.axis("off")
        set_title(figure, title)
        used = [kind for kind in ("frozen", "trained") if any(kind == k for b in columns.values() for _, k in b)]
        handles = [Patch(facecolor=LOOKS[k][0], hatch=LOOKS[k][1], edgecolor="#404040", label=k) for k in used]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(used))
    return figure


def _column(axes: Axes, left: float, name: str, blocks: Sequence[tuple[str, str]]) -> None:
    axes.text(left + 0.5, -0.55, name, ha="center", va="center", fontweight="bold")
    for height, (text, kind) in enumerate(blocks):
        colour, hatch = LOOKS[kind]
        edge = "none" if kind == "sum" else "#404040"
        shape = FancyBboxPatch((left + 0.03, height + 0.08), 0.94, 0.56, boxstyle="round,pad=0,rounding_size=0.06",
                               facecolor=colour, hatch=hatch, edgecolor=edge, linewidth=0.8)  # fmt: skip
        axes.add_patch(shape)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if hatch else None
        axes.text(left + 0.5, height + 0.36, text, ha="center", va="center", fontsize=9, bbox=box)
        if height:
            axes.annotate("", (left + 0.5, height + 0.1), (left + 0.5, height - 0.34),
                          arrowprops={"arrowstyle": "->", "color": "#404040", "linewidth": 1})  # fmt: skip
