"""Data in, figure out. Every function returns a matplotlib Figure; :func:`show` displays it with alternative text."""

from __future__ import annotations

from typing import Any

from shared.plotting.comparison import bars, memory_bars
from shared.plotting.diagrams import low_rank
from shared.plotting.intervals import intervals
from shared.plotting.lines import latency_lines, lines
from shared.plotting.pareto import pareto
from shared.plotting.roles import OWN, ROLES, colours_of, role_colour, role_of
from shared.plotting.show import show
from shared.plotting.style import COLOURS, new_figure, style
from shared.plotting.tensors import codebook, matrix_heatmap
from shared.plotting.training import loss_curves, split_history, sweep, token_lengths

__all__ = [
    "COLOURS", "OWN", "ROLES", "LiveLossCallback", "bars", "codebook", "colours_of", "intervals", "latency_lines",
    "lines", "loss_curves", "low_rank", "matrix_heatmap", "memory_bars", "new_figure", "pareto", "role_colour",
    "role_of", "show", "split_history", "style", "sweep", "token_lengths",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "LiveLossCallback":  # late: it imports transformers, which takes seconds
        from shared.plotting.live import LiveLossCallback

        return LiveLossCallback
    raise AttributeError(f"module 'shared.plotting' has no attribute {name!r}")
