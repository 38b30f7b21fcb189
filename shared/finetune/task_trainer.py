"""transformers' Trainer for the tasks that TRL has no trainer for."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from shared.finetune.heads import head_modules, in_head


class PlainForward:
    """Makes a Trainer leave the model as it was found."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; afterwards the model computes in its own number format again.

        For mixed precision accelerate wraps the model's forward and leaves the wrapper on: logits taken from the
        trained model would be bfloat16 ones, and the same adapter loaded in a fresh process would not reproduce them.
        """
        plain = self.model.__dict__.get("forward")
        try:
            return super().train(*args, **kwargs)
        finally:
            self.model.__dict__.pop("_original_forward", None)
            self.model.__dict__.pop("forward", None)
            if plain is not None:
                self.model.forward = plain


class TaskTrainer(PlainForward, Trainer):
    """transformers' Trainer with a learning rate of its own for the head.

    Args:
        head_learning_rate: The head's; None: the same as all else's.
    """

    def __init__(self, *args: Any, head_learning_rate: float | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # every one of these models averages its loss over the batch itself; the adapters library's hide that
        self.model_accepts_loss_kwargs = False
        self.head_learning_rate = head_learning_rate

    def create_optimizer(self) -> Any:
        """The optimizer of ``training.optim``, its groups split into head and all else."""
        optimizer = super().create_optimizer()
        if self.head_learning_rate is None:
            return optimizer
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        heads = head_modules(base)
        head = {id(parameter) for name, parameter in self.model.named_parameters() if in_head(name, heads)}
        for group in list(optimizer.param_groups):
            parameters = group["params"]
            group["params"] = [one for one in parameters if id(one) not in head]
            own = {**group, "params": [one for one in parameters if id(one) in head], "lr": self.head_learning_rate}
            if own["params"]:
                optimizer.add_param_group(own)
        return optimizer
