"""What some methods have to do between the steps of a training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from shared.errors import ConfigError


class AdaLoraSchedule(TrainerCallback):
    """Tells AdaLoRA how long the training is, and lets it prune after each step.

    Args:
        tinit: Steps before pruning begins; None: a tenth of all.
        tfinal: Steps after pruning has ended; None: three tenths of all.
    """

    def __init__(self, tinit: int | None = None, tfinal: int | None = None):
        self.tinit, self.tfinal = tinit, tfinal

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step:
            raise ConfigError(
                "AdaLoRA can't go on from a checkpoint: what it has measured of each rank's importance is not in it",
                cure="train again without --resume",
            )
        settings, total = model.peft_config["default"], state.max_steps
        settings.tinit = total // 10 if self.tinit is None else self.tinit
        settings.tfinal = 3 * total // 10 if self.tfinal is None else self.tfinal
        settings.total_step = total
        if settings.tinit + settings.tfinal >= total:
            raise ConfigError(
                f"AdaLoRA: tinit {settings.tinit} and tfinal {settings.tfinal} leave no step of {total} to prune",
                cure="lower peft.tinit or peft.tfinal, or train longer",
            )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # before the gradients are zeroed: they are the measure of importance. global_step counts after this call
        model.base_model.update_and_allocate(state.global_step + 1)
