"""TRL's SFTTrainer with a loss that costs no more than the answer.

SFTTrainer 1.16 also measures entropy and top-1 accuracy, and where Triton is missing (CPUs, Apple's GPUs) it projects
*every* position onto the vocabulary for that, prompts included. Its documentation names overriding ``compute_loss`` as
the way to another loss; this is that.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import torch
from trl import SFTTrainer

from shared.finetune.tasks.batches import IGNORED
from shared.finetune.training.mixed_precision import float32_adapters
from shared.finetune.training.padding_free import (
    padding_free_pays_off,
    per_row_attention,
    supports_padding_free,
    without_padding,
)
from shared.finetune.training.task_trainer import Careful


class AnswerLossTrainer(Careful, SFTTrainer):
    """SFTTrainer whose output head is computed at the positions that predict an answer's token only.

    The loss is the same number: the mean negative log-likelihood over the answers' tokens of the whole (accumulated)
    batch. On CUDA, where TRL's fused kernel scores the answers only as well, TRL's own loss is used.

    Attributes:
        answer_loss: Whether this trainer computes the loss itself; :attr:`loss_reason` says why (not).
        loss_reason: The reason, for the log.
        padding_free: Whether the rows of a batch may be laid end to end (:mod:`shared.finetune.training.padding_free`).
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.answer_loss, self.loss_reason = self._choose_loss()
        # the Trainer switches checkpointing on later, when it begins
        self.padding_free = (
            self.answer_loss and not self.args.gradient_checkpointing and supports_padding_free(self.model)
        )
        float32_adapters(self.model)

    def _choose_loss(self) -> tuple[bool, str]:
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        if self.accelerator.device.type == "cuda":
            return False, "TRL's fused kernel scores the answers only on this device"
        if self.args.loss_type != "nll" or self.args.label_smoothing_factor or self.aux_loss_enabled:
            return False, "loss_type, label smoothing or a router loss needs TRL's own path"
        if getattr(getattr(self.model, "active_peft_config", None), "is_prompt_learning", False):
            return False, "virtual tokens shift the positions"
        if getattr(getattr(self.model, "active_peft_config", None), "peft_type", None) == "ADALORA":
            return False, "AdaLoRA adds its penalty to the model's own loss"
        if "logits_to_keep" not in inspect.signature(type(base).forward).parameters:
            return False, f"{type(base).__name__} can't restrict its output head"
        return True, "the output head is computed at the answers' positions only"

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the answers' tokens; see the class."""
        if not self.answer_loss or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        mask = inputs.get("attention_mask")  # packed rows have none
        without = self.padding_free and mask is not None and padding_free_pays_off(mask, self.model.config.hidden_size)
        inputs = without_padding(inputs) if without else inputs
        targets = inputs.pop("labels")[:, 1:]  # position t predicts token t + 1
        columns = (targets != IGNORED).any(dim=0).nonzero().squeeze(-1)
        with per_row_attention(self.model.config) if without else nullcontext():
            logits = model(**inputs, use_cache=False, logits_to_keep=columns).logits
        targets = targets[:, columns]
        wanted = targets != IGNORED
        logits, targets = logits[wanted].float(), targets[wanted]
        total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        number = targets.numel() if num_items_in_batch is None else num_items_in_batch
        self._note(inputs, logits, targets)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            total = total * self.accelerator.num_processes  # DDP averages what num_items counts over all processes
        return total / torch.as_tensor(number, device=total.device).clamp(min=1)

    def _note(self, inputs: dict[str, Any], logits: torch.Tensor, targets: torch.Tensor) -> None:
        """The two of SFTTrainer's metrics that come for free: answer-token accuracy and tokens seen."""
        mode = "train" if self.model.training else "eval"
        hits = logits.argmax(-1) == targets
        counts = torch.stack([hits.sum(), torch.tensor(hits.numel(), device=hits.device)])
        right, number = self.accelerator.gather_for_metrics(counts[None]).sum(0).tolist()
        self._metrics[mode]["mean_token_accuracy"].append(right / number if number else 0.0)
        if mode == "train":
            mask = inputs.get("attention_mask")  # packed and padding-free batches have none
            seen = torch.tensor(inputs["input_ids"].numel(), device=logits.device) if mask is None else mask.sum()
            self._total_train_tokens += int(self.accelerator.gather_for_metrics(seen[None]).sum())
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
