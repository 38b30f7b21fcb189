"""``training.auto_find_batch_size``: when the memory does not suffice, half the batch and twice the accumulation.

transformers itself reduces the batch size only, which changes the effective batch. Here the effective batch stays the
same, and with it the learning rate that was chosen for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils.memory import clear_device_cache

from shared.files import write_json
from shared.finetune.common.processes import say, world_size
from shared.finetune.training.out_of_memory import Batch, first_line, is_out_of_memory, out_of_memory
from shared.run_files import last_checkpoint

if TYPE_CHECKING:
    from shared.finetune.config import Config

RECORD = "batches.json"  # beside the checkpoints: a resumed run begins with the batch that was found


def train_in_memory(
    attempt: Callable[[Config, Any], Any], config: Config, checkpoints: Path, resume: Path | str | None
) -> Any:
    """Train, with ever smaller batches if the memory does not suffice and the configuration asks for that.

    Args:
        attempt: (configuration, checkpoint to resume from or None) -> a TrainResult.
        config: The configuration.
        checkpoints: Their folder. A smaller batch continues from the last one, if this run has saved one.
        resume: The checkpoint to begin with.

    Returns:
        What ``attempt`` returned, with the halvings as ``batches``.

    Raises:
        HardwareError: If the memory does not suffice; with the values to change.
    """
    record, before = checkpoints / RECORD, last_checkpoint(checkpoints)
    found = json.loads(record.read_text(encoding="utf-8")) if resume and record.is_file() else []
    if found:
        config = Batch(**found[-1]["to"]).put_into(config)
    while True:
        try:
            result = attempt(config, resume)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem, said = out_of_memory(config, "training", error), first_line(error)
            old, new = Batch.of(config), Batch.of(config).smaller()
            if not config.training.auto_find_batch_size or new is None or world_size() > 1:
                raise problem from error
        else:
            result.batches = found
            return result
        # here, not above: the failed attempt's model hangs on the error, which is gone now
        clear_device_cache(garbage_collection=True)
        say(f"out of memory with {old} (rows x accumulation): going on with {new}")
        found = [*found, {"from": asdict(old), "to": asdict(new), "error": said}]
        write_json(record, found)
        last = last_checkpoint(checkpoints)
        config, resume = new.put_into(config), last if last != before else resume
