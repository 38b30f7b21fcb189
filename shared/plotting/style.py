"""The style of all figures: colours for colour-blind readers, sizes that fit a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Okabe and Ito's palette (2008), without its yellow, which is too faint on white for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Shapes and dashes go with the colours, so that a print in grey can be read too.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")
#: Width of a notebook's output [inch].
WIDTH = 7.2

STYLE = {
    "figure.dpi": 110, "savefig.dpi": 110, "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8,
    "lines.markersize": 5, "hatch.linewidth": 0.6, "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Use :data:`STYLE` inside the block only; the student's own settings stay untouched."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(height: float = 3.4, columns: int = 1, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """An empty figure that pyplot does not know of, so that no notebook shows it a second time.

    Args:
        height: Height [inch].
        columns: Number of axes side by side.
        width: Width [inch].
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)
