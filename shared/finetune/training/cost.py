"""The cost of a run: seconds, tokens, memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from shared.memory import Peak, cuda_peak, peak_rss

LOOKS = 0.05  # time between two looks at the process's memory [s]


class TrainingCost(TrainerCallback):
    """Measures a run."""

    def __init__(self) -> None:
        self.seconds, self._peak, self._before = 0.0, Peak(), 0

    @contextmanager
    def measured(self, trainer: Any) -> Iterator[None]:
        """Measure while the block lasts.

        Args:
            trainer: The trainer; it counts the tokens of its batches without padding, if it does not count them
                otherwise.
        """
        if trainer.args.include_num_input_tokens_seen in ("no", False):
            trainer.args.include_num_input_tokens_seen = "non_padding"
        cuda, start = trainer.args.device.type == "cuda", time.perf_counter()
        peak = cuda_peak(trainer.args.device.index) if cuda else peak_rss(LOOKS)
        with peak as self._peak, warnings.catch_warnings():
            # transformers 4.57 counts the tokens by copying a tensor in a way that torch advises against
            warnings.filterwarnings("ignore", message="To copy construct from a tensor")
            yield
        self.seconds = time.perf_counter() - start

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._before = state.num_input_tokens_seen  # of a run that was resumed

    def metrics(self, trainer: Any) -> dict[str, Any]:
        """The metrics of the finished training.

        Returns:
            ``seconds`` and ``train_seconds`` (the same) [s] of this run, ``steps``, ``tokens_seen`` [tokens] of all
            steps, ``tokens_per_second`` of this run, and ``peak_memory_mib`` [MiB]: of the GPU's tensors, or else of
            the whole process.
        """
        seen = int(trainer.state.num_input_tokens_seen)
        speed = (seen - self._before) / self.seconds if self.seconds else 0.0
        return {
            "seconds": round(self.seconds, 2),
            "train_seconds": round(self.seconds, 2),
            "steps": trainer.state.global_step,
            "tokens_seen": seen,
            "tokens_per_second": round(speed, 1),
            "peak_memory_mib": round(self._peak.peak, 1),
        }
