"""AdaLoRA's pruning schedule during training, and its state in a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from shared.errors import ConfigError


class AdaLoraSchedule(TrainerCallback):
    """Sets AdaLoRA's number of steps, and lets it prune after each step.

    Args:
        tinit: Steps before pruning begins; None: a tenth of all steps.
        tfinal: Steps after pruning has ended; None: three tenths of all steps.
    """

    def __init__(self, tinit: int | None = None, tfinal: int | None = None):
        self.tinit, self.tfinal = tinit, tfinal

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        settings, total = model.peft_config["default"], state.max_steps
        settings.tinit = total // 10 if self.tinit is None else self.tinit
        settings.tfinal = 3 * total // 10 if self.tfinal is None else self.tfinal
        settings.total_step = total
        if settings.tinit + settings.tfinal >= total:
            raise ConfigError(
                f"AdaLoRA: tinit {settings.tinit} and tfinal {settings.tfinal} leave no step of {total} for pruning",
                fix="lower peft.tinit or peft.tfinal, or train longer",
            )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # before the gradients are zeroed: they are the measure of importance. global_step counts after this call
        model.base_model.update_and_allocate(state.global_step + 1)


IMPORTANCE = "importance.safetensors"
MEASURES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # peft's names: importance, its running mean, its uncertainty


def save_importance(model: Any, folder: Path) -> None:
    """Write AdaLoRA's importance scores, and which ranks it keeps, into a checkpoint.

    Args:
        model: A PeftModel with AdaLoRA.
        folder: The checkpoint.
    """
    from safetensors.torch import save_file

    allocator = model.base_model.rankallocator
    measured = {
        f"{measure}/{name}": one.detach().cpu().contiguous()
        for measure in MEASURES
        for name, one in getattr(allocator, measure).items()
    }
    pattern = json.dumps(model.active_peft_config.rank_pattern)
    save_file(measured, folder / IMPORTANCE, metadata={"rank_pattern": pattern})


def load_importance(model: Any, folder: Path) -> None:
    """Restore what :func:`save_importance` wrote."""
    from safetensors import safe_open

    allocator = model.base_model.rankallocator
    allocator.reset_ipt()
    with safe_open(folder / IMPORTANCE, "pt", device=str(model.device)) as file:
        model.active_peft_config.rank_pattern = json.loads(file.metadata()["rank_pattern"])
        for key in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            measure, name = key.split("/", 1)
            getattr(allocator, measure)[name] = file.get_tensor(key)
