"""Distributed runs: which process writes and prints, and how evaluation is split over the processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def world_size() -> int:
    """Number of processes of this run, as set by accelerate, torchrun, DeepSpeed or Slurm; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's rank, from 0; known before a process group exists."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes files and reports."""
    return rank() == 0


def say(text: str) -> None:
    """Print in the main process only, and flush, because a log file may be watched."""
    if is_main():
        print(text, flush=True)


def split_over_processes(number: int, answer: Callable[[list[int]], list[Any]]) -> list[Any]:
    """Let each process of a process group compute its part, and gather all results in every process.

    Args:
        number: Number of items.
        answer: (indices of items) -> one result per item.

    Returns:
        One result per item, in the items' order; each item is computed by exactly one process.
    """
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return answer(list(range(number)))
    ranks, own = torch.distributed.get_world_size(), torch.distributed.get_rank()
    places = list(range(number))[number * own // ranks : number * (own + 1) // ranks]
    parts: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(parts, answer(places) if places else [])
    return [one for part in parts for one in part]


def leave_group() -> None:
    """Destroy the process group if there is one, so that no process waits for another."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
