"""Out of memory: which values to change, and the next smaller batch of the same effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import HardwareError

if TYPE_CHECKING:
    from shared.finetune.config import Config


@dataclass(frozen=True)
class Batch:
    """Rows per step: ``size`` at once on each device, ``accumulation`` times before the weights move."""

    size: int
    accumulation: int

    @classmethod
    def of(cls, config: Config) -> Batch:
        """What a configuration asks for."""
        training = config.training
        return cls(training.per_device_train_batch_size, training.gradient_accumulation_steps)

    def smaller(self) -> Batch | None:
        """Half the rows at once (an odd number: divided by its smallest divisor), accumulated as many times more;
        None where there is one row already."""
        divisor = next((number for number in range(2, self.size + 1) if self.size % number == 0), None)
        return divisor and Batch(self.size // divisor, self.accumulation * divisor)

    def put_into(self, config: Config) -> Config:
        """The configuration with this batch."""
        values = {"per_device_train_batch_size": self.size, "gradient_accumulation_steps": self.accumulation}
        return config.changed(training=values)

    def __str__(self) -> str:
        return f"{self.size} x {self.accumulation}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a GPU's or the machine's memory did not suffice."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def out_of_memory(config: Config, stage: str, error: BaseException) -> HardwareError:
    """The error to raise, with every value that may be changed.

    Args:
        config: The configuration that was too large.
        stage: ``"loading"``, ``"training"`` or ``"scoring"``.
        error: What the library said.
    """
    fixes = {"loading": _load_fixes, "training": _train_fixes, "scoring": _score_fixes}[stage](config)
    listed = "".join(f"\n    - {fix}" for fix in fixes)
    return HardwareError(
        f"out of memory while {stage}: {first_line(error)}", fix=f"one of these, the first costs least:{listed}"
    )


@contextmanager
def memory_errors(config: Config, stage: str) -> Iterator[None]:
    """Turns the libraries' errors of a block into :func:`out_of_memory`'s."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(config, stage, error) from error


def _train_fixes(config: Config) -> list[str]:
    training, batch = config.training, Batch.of(config)
    fixes, smaller = [], batch.smaller()
    if smaller:
        fixes.append(
            f"training.per_device_train_batch_size: {smaller.size} (now {batch.size}) with "
            f"training.gradient_accumulation_steps: {smaller.accumulation} (now {batch.accumulation}): the same "
            "effective batch"
        )
        if training.auto_find_batch_size:  # it was tried, were there not other processes that would wait for this one
            fixes[-1] += " (training.auto_find_batch_size does it for a single process only)"
        else:
            fixes.append("training.auto_find_batch_size: true (now false) does just that, as often as is needed")
    if not training.gradient_checkpointing:
        fixes.append("training.gradient_checkpointing: true (now false): about a third slower, far fewer activations")
    key, length = _length(config)
    fixes.append(f"{key}: {max(8, (length or 512) // 2)} (now {length if length else 'null: up to 512'}): fewer tokens")
    if training.eval_strategy != "no":
        fixes.append(f"training.per_device_eval_batch_size, if it came in an evaluation (now {_eval_batch(config)})")
    if config.peft.method == "full":
        fixes.append("peft.method: lora (now full): no gradients and optimizer states for the base")
    elif "paged" not in str(training.optim):
        fixes.append(f"training.optim: paged_adamw_8bit (now {training.optim}): 2 instead of 8 bytes per weight")
    return [*fixes, *_load_fixes(config)]


def _eval_batch(config: Config) -> int:
    return config.training.per_device_eval_batch_size


def _load_fixes(config: Config) -> list[str]:
    from shared.finetune.methods import METHODS

    section, fixes = config.model, []
    four = section.quantization is not None and section.quantization.load_in_4bit
    if not four and not METHODS[config.peft.method].no_quantized:
        fixes.append("model.quantization: {load_in_4bit: true} (now none): half a byte per frozen weight")
    if section.dtype == "float32" and section.quantization is None:
        fixes.append("model.dtype: bfloat16 (now float32): 2 instead of 4 bytes per weight of the base")
    return [*fixes, f"a smaller model.name_or_path (now {section.name_or_path})"]


def _score_fixes(config: Config) -> list[str]:
    size = config.evaluation.batch_size
    fixes = [f"evaluation.batch_size: {max(1, size // 2)} (now {size})"] if size > 1 else []
    if config.task_type in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        fixes.append(f"evaluation.max_new_tokens: fewer (now {config.evaluation.max_new_tokens})")
    return [*fixes, "--no_score, then `peft-labs evaluate` apart from the training"]


def _length(config: Config) -> tuple[str, int | None]:
    if config.task_type == "CAUSAL_LM":
        return "sft.max_length", config.sft.max_length
    return "dataset.max_length", config.dataset.max_length
