"""The precision of a run's matrix products, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import HardwareError

if TYPE_CHECKING:
    from shared.finetune.config import Config


@dataclass(frozen=True)
class Precision:
    """A choice with its reason.

    Attributes:
        value: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        reason: Why.
        emulated: Why bfloat16 is slow here, where the configuration wants it and the processor lacks it.
    """

    value: str
    reason: str
    emulated: str = ""


def choose_precision(config: Config) -> Precision:
    """The precision of training: as configured, else what is fast on this machine.

    Args:
        config: ``training.bf16`` / ``training.fp16``; where neither is set, bfloat16 is taken where the device has
            instructions for it and the base is not a micro-model.

    Raises:
        HardwareError: If the configuration asks for what the device can't do.
    """
    from shared.machine import choose_device

    training = config.training
    device = "cpu" if training.use_cpu else choose_device().value
    cuda = device == "cuda"
    if training.fp16 and not cuda:
        raise HardwareError("training.fp16: true needs a CUDA GPU", fix="write training.fp16: false")
    if training.fp16:
        return Precision("fp16", "training.fp16 is true")
    has, which = _bf16(device)
    if training.bf16 and device != "cpu" and not has:
        fix = "write training.fp16: true, bf16: false" if cuda else "write training.bf16: false"
        raise HardwareError(f"training.bf16: true, but {which}", fix=fix)
    if "bf16" in training.model_fields_set:
        slow = which if training.bf16 and not has else ""
        return Precision("bf16" if training.bf16 else "fp32", f"training.bf16 is {str(training.bf16).lower()}", slow)
    if config.model.name_or_path.startswith("tiny:"):
        return Precision("fp32", "a micro-model gains nothing from fewer bits")
    return (
        Precision("bf16", f"training.bf16 is not set, and {which}")
        if has
        else Precision("fp32", f"training.bf16 is not set, and {which}")
    )


def _bf16(device: str) -> tuple[bool, str]:
    import torch

    if device == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return has, "this GPU has bfloat16" if has else "this GPU has no bfloat16 (it came with Ampere)"
    if device == "mps":
        return False, "bfloat16 on MPS is not used"
    fast = [
        name
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if getattr(torch.cpu, name, lambda: False)()
    ]
    return bool(fast), "this CPU has bfloat16 instructions" if fast else "this CPU has no bfloat16 instructions"


def check_optimizer(config: Config) -> None:
    """Refuse an optimizer of bitsandbytes where that is missing, and say what it does without a CUDA GPU.

    Raises:
        HardwareError: If bitsandbytes is not installed.
    """
    import importlib.util
    import warnings

    from shared.finetune.common.processes import say
    from shared.machine import choose_device

    name = str(config.training.optim)
    if not any(part in name for part in ("8bit", "paged", "bnb")):
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise HardwareError(
            f"training.optim: {name} needs bitsandbytes, which is not installed",
            fix="pip install -r requirements.lock (it has no build for some systems: there write optim: adamw_torch)",
        )
    if "paged" in name and (config.training.use_cpu or choose_device().value != "cuda"):
        say(f"training.optim: {name}: without a CUDA GPU nothing is paged; the optimizer is the same otherwise")
        warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
