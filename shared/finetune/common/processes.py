"""What concerns several processes: which one writes and speaks, and how they share the rows of a test."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def world_size() -> int:
    """How many processes this training has, as accelerate, torchrun, DeepSpeed or Slurm's launchers say; 1 alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number, from 0; known before a process group is there."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes files and reports."""
    return rank() == 0


def say(text: str) -> None:
    """Print once, not once for each process; at once, because a log file may be watched."""
    if is_main():
        print(text, flush=True)


def shared_out(number: int, answer: Callable[[list[int]], list[Any]]) -> list[Any]:
    """Let each process of a running process group do its share, and give all of it to all.

    Args:
        number: How many items there are.
        answer: (places of the items) -> one result for each.

    Returns:
        One result per item, in the items' order; each item is done by exactly one process.
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
    """End the process group, where there is one, so that no process is waited for in vain."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
