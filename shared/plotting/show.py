"""Show a figure in a notebook, with an alternative text."""

from __future__ import annotations

import base64
import io
from typing import Any

from matplotlib.figure import Figure

from shared.plotting.style import style


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel (and not in a script, a test or a plain IPython)."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", metadata={"Software": None})  # no version in it: outputs stay comparable
    return buffer.getvalue()


def bundle(figure: Figure, alt: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What a notebook's output is made of: data and metadata; for HTML see :mod:`shared.plotting.export`.

    Raises:
        ValueError: If the alternative text is empty.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say in a sentence or two what it shows")
    data = {"image/png": base64.b64encode(png(figure)).decode(), "text/plain": f"[figure] {alt}"}
    return data, {"image/png": {"alt": alt}}


def show(figure: Figure, alt: str) -> None:
    """Display a figure as PNG with alternative text and close it; outside a notebook nothing is shown.

    Args:
        figure: Any matplotlib figure.
        alt: What it shows, in a sentence or two with the numbers that matter.

    Raises:
        ValueError: If the alternative text is empty.
    """
    data, metadata = bundle(figure, alt)
    if in_notebook():
        from IPython.display import display

        display(data, metadata=metadata, raw=True)
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:  # only a figure made with pyplot is registered there
        pyplot.close(figure)
