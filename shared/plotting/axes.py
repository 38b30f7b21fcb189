"""What all figures share: titles, per cent axes, reference lines, legends."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from shared.plotting.roles import role_colour
from shared.plotting.style import DASHES

#: Characters of a title that fit into one line of a figure.
TITLE_WIDTH = 88
#: Reference lines: never solid, so that they are not taken for measured lines.
REFERENCE_DASHES = (":", (0, (5, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))


def set_title(figure: Figure, title: str) -> None:
    """Write the finding above the figure, in as many lines as it needs."""
    if title:
        figure.suptitle(textwrap.fill(title, TITLE_WIDTH), x=0.01, ha="left", fontsize=11)


def required(label: str, what: str) -> str:
    """The label of an axis.

    Raises:
        ValueError: If it is empty.
    """
    if not label.strip():
        raise ValueError(f"{what} is empty: name the quantity, with its unit in brackets where it has one")
    return label


def set_values_axis(
    axes: Axes, which: Literal["x", "y"], label: str, values: Sequence[float], form: str = "", start: float = 0.0
) -> None:
    """Label and limit the axis of the measured values; per cent ends at 100 where no value is above it.

    Per cent is recognised by ``[%`` in the label. Shares (``[share`` in the label, or a ``form`` such as ``{:.1%}``)
    are shown as per cent too.

    Args:
        axes: The axes.
        which: Which of its two axes.
        label: Label with its unit.
        values: All values shown, reference lines and ends of error bars included.
        form: How the numbers in the figure are written.
        start: Where the axis begins, unless a value lies below.
    """
    share = form.endswith("%}") or "[share" in label
    if share:
        label = re.sub(r"\[share\b", "[%", label) if "[share" in label else label
        label = label if "[" in label else f"{label} [%]"
        getattr(axes, f"{which}axis").set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=""))
    top, bottom = max(values), min(start, *values)
    whole = 1.0 if share else 100.0
    end = top + 0.08 * (top - bottom) if top > bottom else top + 1
    if share or "[%" in label:
        tolerance = 1e-9 * whole
        end = whole if whole / 2 < top <= whole + tolerance else min(end, whole) if top < whole else end
    getattr(axes, f"set_{which}label")(required(label, f"the {which} label"))
    if sum(value == bottom for value in values):  # a line or a point there would be hidden by the axis
        bottom -= 0.02 * (end - bottom)
    getattr(axes, f"set_{which}lim")(bottom, end)


def add_references(
    axes: Axes, references: Mapping[str, float] | None, vertical: bool = False, own: str | None = None
) -> list[Line2D]:
    """Draw lines for values to compare with, each with its legend entry and, where it has a role, its colour."""
    drawn = []
    for i, (name, value) in enumerate((references or {}).items()):
        line = axes.axvline if vertical else axes.axhline
        drawn.append(
            line(value, color=role_colour(name, own) or "black", linestyle=REFERENCE_DASHES[i % len(REFERENCE_DASHES)],
                 linewidth=1.5, label=name, gid="reference")
        )  # fmt: skip
    return drawn


def add_legend(figure: Figure, columns: int = 3) -> None:
    """One legend under the figure, for every line that has a name; reference lines come last."""
    entries = [entry for axes in figure.axes for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    entries.sort(key=lambda entry: isinstance(entry[0], Line2D) and entry[0].get_gid() == "reference")
    if entries:
        figure.legend(*zip(*entries, strict=True), loc="outside lower left", ncols=columns)


def line_style(place: int, points: int) -> dict[str, object]:
    """Dash for a line of the figure; fewer than three points are no curve and stay unjoined."""
    return {"linestyle": DASHES[place % len(DASHES)] if points > 2 else "none"}
