"""The progress of a run on the terminal or in a log file: steps, loss, learning rate, speed, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from transformers import PrinterCallback, ProgressCallback

SHOWN = {"loss": "loss", "eval_loss": "eval", "learning_rate": "lr"}  # what a log holds -> what is shown


class TrainingBar(ProgressCallback):
    """transformers' bar with loss and learning rate after steps, time left and speed.

    Where nobody watches (a log file), a line at each logged step says the same.
    """

    def __init__(self, watched: bool | None = None):
        super().__init__()
        self.watched = sys.stderr.isatty() if watched is None else watched
        self._start, self._first = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start, self._first = time.monotonic(), state.global_step
        if self.watched:
            super().on_train_begin(args, state, control, **kwargs)
            self.current_step = state.global_step
            if self.training_bar is not None:  # a resumed run's speed is that of the steps it does itself
                self.training_bar.initial = self.training_bar.n = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.watched:
            super().on_step_end(args, state, control, **kwargs)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.watched:
            super().on_prediction_step(args, state, control, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        shown = {short: f"{float(logs[name]):.3g}" for name, short in SHOWN.items() if name in (logs or {})}
        if not shown or not state.is_world_process_zero:
            return
        if self.training_bar is not None:
            self.training_bar.set_postfix(shown)
        elif not self.watched:
            done, seconds = state.global_step - self._first, time.monotonic() - self._start
            values = " ".join(f"{name} {value}" for name, value in shown.items())
            left = (state.max_steps - state.global_step) * seconds / max(done, 1)
            rate = f"{done / max(seconds, 1e-9):.2f} steps/s, {_clock(left)} left"
            print(f"step {state.global_step}/{state.max_steps}: {values}; {rate}", file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.training_bar is not None:
            super().on_train_end(args, state, control, **kwargs)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def watch(trainer: Any) -> None:
    """Show a trainer's progress by :class:`TrainingBar` instead of transformers' way; nothing where disable_tqdm is."""
    for own in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(own)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(TrainingBar())
