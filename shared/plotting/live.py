"""A loss curve that grows while the Trainer trains."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from shared.plotting.show import bundle, in_notebook
from shared.plotting.training import loss_curves


class LiveLossCallback(TrainerCallback):
    """Redraw one figure in place while training, and leave the final one; silent outside a notebook.

    The losses stay in :attr:`series`, so that a notebook can draw or save them later.

    Args:
        title: The figure's title.
        per: What the loss is a mean over, see :func:`shared.plotting.loss_curves`.
        seconds: At least so long between two drawings [s], so that drawing takes little time.
    """

    def __init__(self, title: str = "", per: str = "token", seconds: float = 2.0):
        self.title, self.per, self.seconds = title, per, seconds
        self.series: dict[str, list[tuple[int, float]]] = {"training": [], "validation": []}
        self._handle: Any = None
        self._drawn = 0.0

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Start with the history of a resumed training run."""
        self.series = {"training": [], "validation": []}
        self._handle, self._drawn = None, time.monotonic()
        for entry in state.log_history:
            self._add(entry, entry.get("step", 0))

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        """Add a logged loss, and redraw if the last drawing is old enough."""
        self._add(logs or {}, state.global_step)
        if time.monotonic() - self._drawn >= self.seconds:
            self._draw(state)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        """Draw the final figure with its alternative text."""
        self._draw(state)

    def alt(self) -> str:
        """The curve in words, from its values."""
        parts = []
        for name, points in self.series.items():
            if len(points) > 1:
                (first, start), (last, end) = points[0], points[-1]
                parts.append(f"{name} loss goes from {start:.2f} at step {first} to {end:.2f} at step {last}")
            elif points:
                parts.append(f"{name} loss is {points[0][1]:.2f} at step {points[0][0]}")
        return "Loss over training steps: " + ("; ".join(parts) or "nothing was logged") + "."

    def _add(self, logs: dict[str, Any], step: int) -> None:
        for key, name in (("loss", "training"), ("eval_loss", "validation")):
            if key in logs:
                self.series[name].append((step, float(logs[key])))

    def _draw(self, state: Any) -> None:
        self._drawn = time.monotonic()
        if not (state.is_world_process_zero and in_notebook() and any(self.series.values())):
            return
        from IPython.display import display

        drawn = {name: points for name, points in self.series.items() if points}
        figure = loss_curves(drawn, self.title, self.per)
        data, metadata = bundle(figure, self.alt())
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(data, metadata=metadata, raw=True)
