"""Ctrl-C (SIGINT) and a scheduler's SIGTERM: finish the step, save a checkpoint, stop, and print how to resume."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from shared.finetune.common.processes import say, world_size

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal ended the training.

    Attributes:
        number: The signal.
        checkpoint: What it was saved to; None if no step was finished.
    """

    def __init__(self, number: int, checkpoint: Path | None):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.checkpoint = number, checkpoint


class SaveOnSignal(TrainerCallback):
    """Saves and stops after the step in which a signal came; a second signal stops at once.

    Attributes:
        number: The signal that came, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._agreed = False

    @contextmanager
    def listening(self) -> Iterator[SaveOnSignal]:
        """Take the signals over inside the block. Python allows that in the main thread only; elsewhere nothing is."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        # no print: a signal may come in the middle of one, and the buffer is not reentrant
        os.write(2, b"\nstopping: saving a checkpoint after this step (once more stops at once)\n")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._somebody_was_asked(args):
            self._agreed = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # By an exception, and here: a Trainer that is told to stop loads the best weights, and with save_total_limit 1
        # it removes the checkpoint that was saved for resuming
        if self._agreed:
            raise Stopped(self.number or signal.SIGTERM, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def check(self, args: Any) -> None:
        """Raise if a signal came after the last step.

        Args:
            args: The Trainer's arguments.

        Raises:
            Stopped: Without a checkpoint of its own; the latest is what there is.
        """
        if self._somebody_was_asked(args):
            raise Stopped(self.number or signal.SIGTERM, None)

    def _somebody_was_asked(self, args: Any) -> bool:
        """Whether a signal came to any process: all have to stop after the same step, or they wait for each other."""
        if args.world_size == 1:
            return self.number is not None
        import torch
        import torch.distributed as group

        asked = torch.tensor(self.number or 0, device=args.device)
        group.all_reduce(asked, op=group.ReduceOp.MAX)
        self.number = int(asked) or None
        return self.number is not None


def resume_command(arguments: Sequence[str]) -> str:
    """The command that resumes the run: this one with ``--resume``.

    Args:
        arguments: What the verb was called with.
    """
    arguments = list(arguments)
    own = list(sys.orig_argv)
    if world_size() > 1 or "ACCELERATE_DYNAMO_BACKEND" in os.environ:
        own = _launcher() or own
    if arguments and own[-len(arguments) :] == arguments and "-c" not in own[:2]:
        start = own[: -len(arguments)]
        if len(start) > 1 and Path(start[1]).stem in ("peft-labs", "accelerate", "torchrun"):
            start = [Path(start[1]).stem, *start[2:]]  # the console script, as it was typed
    else:
        start = ["peft-labs", "train"]
    # in front: overrides are positional, and argparse takes a run of them only once
    again = [*start, *(["--resume"] if "--resume" not in arguments else []), *arguments]
    return shlex.join(again)


def _launcher() -> list[str] | None:
    """The command line of ``accelerate launch`` or ``torchrun``, which started this process."""
    import psutil

    try:
        found = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return None
    return found if any("shared.finetune.train" in part for part in found) else None


def report(error: KeyboardInterrupt, arguments: Sequence[str], last: Path | None) -> int:
    """Print what was saved and how to resume.

    Args:
        error: What ended the training.
        arguments: What the verb was called with.
        last: The latest whole checkpoint, or None.

    Returns:
        The exit code: 128 and the signal's number, so 130 after Ctrl-C.
    """
    if last is None:
        say("stopped before a checkpoint was there: the same command starts anew")
    else:
        say(f"stopped; saved as {last}\nresume with: {resume_command(arguments)}")
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)
