"""Measured peaks of memory: of this process, and of a CUDA device."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MIB = 2**20


@dataclass
class Peak:
    """A measured peak.

    Attributes:
        before: Memory when the block began [MiB].
        peak: Largest seen while it ran [MiB].
        seconds: How long it ran [s].
    """

    before: float = 0.0
    peak: float = 0.0
    seconds: float = 0.0
    _started: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def added(self) -> float:
        """What the block took on top [MiB]."""
        return self.peak - self.before


@contextmanager
def peak_rss(interval: float = 0.01) -> Iterator[Peak]:
    """Measure the largest resident memory of this process while a block runs.

    A thread looks every ``interval`` seconds, so a shorter peak can be missed; the first and last moment are included.

    Args:
        interval: Time between two looks [s].

    Yields:
        A :class:`Peak`, complete when the block has ended.
    """
    import psutil

    process, found, stop = psutil.Process(), Peak(), threading.Event()

    def look() -> None:
        found.peak = max(found.peak, process.memory_info().rss / MIB)

    def watch() -> None:
        while not stop.wait(interval):
            look()

    found.before = process.memory_info().rss / MIB
    thread = threading.Thread(target=watch, daemon=True, name="peak_rss")
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        look()
        found.seconds = time.perf_counter() - found._started


@contextmanager
def cuda_peak(device: int | None = None) -> Iterator[Peak]:
    """Measure the largest memory that torch's tensors took on a CUDA device while a block runs.

    The CUDA context and other processes are not in it.

    Args:
        device: Index of the device; None takes the current one.

    Yields:
        A :class:`Peak`, complete when the block has ended.

    Raises:
        HardwareError: If there is no CUDA device.
    """
    import torch

    from shared.errors import HardwareError

    if not torch.cuda.is_available():
        raise HardwareError("cuda_peak: this machine has no CUDA device", fix="measure with memory.peak_rss instead")
    found = Peak()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    found.before = torch.cuda.memory_allocated(device) / MIB
    try:
        yield found
    finally:
        torch.cuda.synchronize(device)
        found.peak = torch.cuda.max_memory_allocated(device) / MIB
        found.seconds = time.perf_counter() - found._started
