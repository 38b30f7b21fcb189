"""transformers' Trainer for the tasks that TRL has no trainer for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer

from shared.finetune.heads import head_modules, in_head

TRAINED = "trained.safetensors"


class Careful:
    """Makes a Trainer leave the model as it was found, and write checkpoints that it can go on from.

    What peft saves of a prompt or of AdaLoRA is the result: the encoder that makes a prompt is left out, pruned ranks
    are cut off. Going on from that would train something else, so the checkpoints hold the trained parameters as well.
    """

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

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        settings = getattr(self.model, "active_peft_config", None)
        if settings is not None and (settings.is_prompt_learning or settings.peft_type == "ADALORA"):
            named = self.model.named_parameters()
            trained = {name: one.detach().cpu().contiguous() for name, one in named if one.requires_grad}
            save_file(trained, Path(output_dir or self.args.output_dir) / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self._load_trained(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self._load_trained(self.state.best_model_checkpoint):
            super()._load_best_model()

    def _load_trained(self, folder: str) -> bool:
        """Put back what :meth:`_save` wrote; False where there is no such file."""
        file = Path(folder) / TRAINED
        if not file.is_file():
            return False
        with torch.no_grad():
            for name, stored in load_file(file).items():
                self.model.get_parameter(name).copy_(stored)
        return True


class TaskTrainer(Careful, Trainer):
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
