"""transformers' Trainer for the tasks that TRL has no trainer for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from shared.finetune.methods.support.adalora_schedule import load_importance, save_importance
from shared.finetune.methods.support.heads import head_modules, in_head
from shared.finetune.models.storage import PRUNED
from shared.finetune.training.mixed_precision import float32_sums
from shared.run_files import UNFINISHED, fsync

TRAINED = "trained.safetensors"

# Several processes on the CPU call their device cpu:0, and the Trainer loads a checkpoint's optimizer to that place,
# which torch does not know.
torch.serialization.register_package(
    priority=100,
    tagger=lambda storage: None,
    deserializer=lambda storage, place: storage if place.startswith("cpu:") else None,
)


class Careful:
    """Makes a Trainer leave the model as it was, and write checkpoints that can be resumed.

    What peft saves of a prompt or of AdaLoRA is the result: the encoder that makes a prompt is left out, pruned ranks
    are cut off. Going on from that would train something else, so the checkpoints hold the trained parameters as well.

    Attributes:
        scorer: () -> the task's scores, for each evaluation; None: the loss is all that is measured.
    """

    scorer: Callable[[], dict[str, float]] | None = None
    _writing = False

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:
        """Train; afterwards the model computes in its own dtype again.

        For mixed precision accelerate wraps the model's forward and leaves the wrapper on: logits taken from the
        trained model would be bfloat16 ones, and the same adapter loaded in a fresh process would not reproduce them.
        """
        if resume_from_checkpoint and (state := self._ended(str(resume_from_checkpoint))):
            return self._take(str(resume_from_checkpoint), state)
        plain = self.model.__dict__.get("forward")
        half = self.args.bf16 or self.args.fp16
        try:
            with float32_sums(self.model) if half else nullcontext():
                return super().train(resume_from_checkpoint, **kwargs)
        finally:
            self.model.__dict__.pop("_original_forward", None)
            self.model.__dict__.pop("forward", None)
            if plain is not None:
                self.model.forward = plain

    def _ended(self, checkpoint: str) -> TrainerState | None:
        """The state in a checkpoint that was written when the training had come to its end; None for others.

        Going on from it, the Trainer would do a step more than the uninterrupted run before it looks whether to stop.
        """
        state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        control = state.stateful_callbacks.get("TrainerControl", {})
        return state if control.get("args", {}).get("should_training_stop") else None

    def _inner_training_loop(self, batch_size: int | None = None, **kwargs: Any) -> Any:
        """The loop with the arguments' batch; a resumed Trainer takes the checkpoint's, whatever they say."""
        return super()._inner_training_loop(batch_size=self.args.train_batch_size, **kwargs)

    def _take(self, checkpoint: str, state: TrainerState) -> TrainOutput:
        self._load_from_checkpoint(checkpoint)
        self.state = state
        if self.args.load_best_model_at_end and state.best_model_checkpoint:
            self._load_best_model()
        # transformers' own keys: who reads the metrics finds them, also where nothing was left to do
        return TrainOutput(state.global_step, 0.0, {"train_runtime": 0.0, "train_loss": 0.0})

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint that counts only when all of it is on the disk, then remove those that are too old."""
        folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / UNFINISHED).touch()
        self._writing = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._writing = False
        self.accelerator.wait_for_everyone()  # the other processes write their random states
        if self.args.should_save:
            for path in (*(one for one in folder.rglob("*") if one.is_file()), folder):
                fsync(path)
            (folder / UNFINISHED).unlink()
            fsync(folder)
            # by step, not by time of change: a copied checkpoint is as new as its copy
            self._rotate_checkpoints(use_mtime=False, output_dir=str(folder.parent))

    def _rotate_checkpoints(self, *args: Any, **kwargs: Any) -> None:
        if not self._writing:  # transformers removes the older ones first
            super()._rotate_checkpoints(*args, **kwargs)

    def _determine_best_metric(self, metrics: Any, trial: Any) -> bool:
        """Save the best weights when they are found, also where ``save_steps`` would not come until later."""
        best = super()._determine_best_metric(metrics, trial)
        if best and self.args.load_best_model_at_end:
            self.control.should_save = True
        return best

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """The loss over all processes' rows, and what :attr:`scorer` measures."""
        found = super().evaluation_loop(*args, **kwargs)
        if self.scorer is not None:
            prefix = kwargs.get("metric_key_prefix", "eval")
            found.metrics.update({f"{prefix}_{name}": value for name, value in self.scorer().items()})
        return found

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=PRUNED)
            super()._save(output_dir, state_dict)
        settings = getattr(self.model, "active_peft_config", None)
        if settings is not None and (settings.is_prompt_learning or settings.peft_type == "ADALORA"):
            folder = Path(output_dir or self.args.output_dir)
            named = self.model.named_parameters()
            trained = {name: one.detach().cpu().contiguous() for name, one in named if one.requires_grad}
            save_file(trained, folder / TRAINED)
            if settings.peft_type == "ADALORA":
                save_importance(self.model, folder)

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
        if self.model.active_peft_config.peft_type == "ADALORA":
            load_importance(self.model, Path(folder))
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
