"""Did it learn? The loss of the same training rows before and after, and whether the end token is predicted."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from shared.finetune.methods import METHODS
from shared.finetune.tasks.batches import IGNORED
from shared.finetune.training.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from shared.finetune.config import Config

WRITING = ("CAUSAL_LM", "SEQ_2_SEQ_LM")  # the tasks whose answers are texts with an end
ROWS = 64  # training rows (with packing: sequences) that are looked at, of a short training fewer
FEWEST, PART = 8, 8  # at least so many, and at most this part of the rows trained on: the two looks stay below a tenth
AT_ONCE = 4  # rows in one forward pass
FEW = 0.5  # the share of rows with a predicted end token below which answers hardly stop
FAST = 10  # how many times a method's usual learning rate makes it the likely cause


@dataclass(frozen=True)
class Look:
    """What the model says to some training rows.

    Attributes:
        loss: The mean loss [nats].
        ends: End tokens that it had to predict there.
        found: Of how many it was the likeliest token.
    """

    loss: float
    ends: int
    found: int


class TrainingHealth(TrainerCallback, ExportableState):
    """Measures the same rows before the first step and after the last one; a checkpoint keeps the first loss.

    Attributes:
        start: The loss before the training; None where it is not known.
    """

    def __init__(self) -> None:
        self.start: float | None = None

    def before(self, trainer: Any, config: Config, resumed: bool) -> None:
        """Measure the model at the start, unless the run is resumed."""
        found = None if resumed else _look_in_memory(trainer, config.task_type)
        self.start = found.loss if found else None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps (transformers' protocol of callbacks with a state)."""
        return {"args": {}, "attributes": {"start": self.start}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.start is None:
            self.start = _stored(state)

    def after(self, trainer: Any, config: Config) -> dict[str, Any]:
        """The metrics of a finished training.

        Returns:
            ``loss_before`` and ``loss_after`` of the same training rows [nats]; for tasks that generate text
            ``end_token_share``, the share of these rows on which the end token is predicted [0–1], and
            ``end_token_rows``, how many of them have one; and the warnings that follow.
        """
        found = _look_in_memory(trainer, config.task_type)
        if found is None:
            return {"warnings": []}
        start = _stored(trainer.state) if self.start is None else self.start
        share = found.found / found.ends if found.ends else None
        metrics = {"loss_before": _rounded(start), "loss_after": _rounded(found.loss)}
        if config.task_type in WRITING:
            metrics |= {"end_token_share": None if share is None else round(share, 4), "end_token_rows": found.ends}
        # a loss that rose explains an end token that is not predicted
        return metrics | {"warnings": _loss_warnings(config, start, found.loss) or _end_warnings(metrics)}


def _look_in_memory(trainer: Any, task_type: str) -> Look | None:
    """:func:`look`; None where the memory does not suffice: a finished training must not be lost for it."""
    try:
        return look(trainer, task_type)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def _stored(state: Any) -> float | None:
    return state.stateful_callbacks.get(TrainingHealth.__name__, {}).get("attributes", {}).get("start")


def look(trainer: Any, task_type: str) -> Look:
    """The loss of the first training rows and, for tasks that write a text, the end tokens predicted on them.

    Args:
        trainer: The trainer; nothing of its training depends on this.
        task_type: ``config.task_type``.
    """
    import torch

    model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
    number, size = _rows_to_look_at(trainer), min(AT_ONCE, trainer.args.per_device_train_batch_size)
    was_training, total, count, ends, found = model.training, 0.0, 0, 0, 0
    model.eval()
    try:
        with torch.no_grad(), trainer.accelerator.autocast():
            for start in range(0, number, size):
                rows = [trainer.train_dataset[place] for place in range(start, min(start + size, number))]
                batch = trainer.data_collator(_without_extras(trainer, rows))
                batch = {key: value.to(model.device) for key, value in batch.items() if hasattr(value, "to")}
                loss, weight, logits, labels = _outputs(model, batch, task_type)
                total, count = total + loss, count + weight
                if logits is not None:
                    wanted = labels == tokenizer.eos_token_id
                    ends += int(wanted.sum())
                    found += int((logits.argmax(-1)[wanted] == tokenizer.eos_token_id).sum())
    finally:
        model.train(was_training)
    return Look(total / max(count, 1), ends, found)


def _rows_to_look_at(trainer: Any) -> int:
    """How many of the first training rows, by the length of the training."""
    args, rows = trainer.args, len(trainer.train_dataset)
    step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    trained = args.max_steps * step if args.max_steps > 0 else args.num_train_epochs * rows
    return min(rows, ROWS, max(FEWEST, int(trained / PART)))


def _without_extras(trainer: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns that the Trainer's own loader hands on."""
    if not trainer.args.remove_unused_columns:
        return rows
    trainer._set_signature_columns_if_needed()
    return [{key: value for key, value in row.items() if key in trainer._signature_columns} for row in rows]


def _outputs(model: Any, batch: dict[str, Any], task_type: str) -> tuple[float, int, Any, Any]:
    """Loss, its weight, and for language models the logits at the positions that predict a label, with the labels."""
    import torch

    if task_type not in WRITING:
        return float(model(**batch).loss), 1, None, None
    labels = batch["labels"]
    if model.config.is_encoder_decoder:
        logits = model(**batch).logits
    else:
        logits, labels = _next_tokens(model, batch, labels)
    chosen = labels != IGNORED
    logits, labels = logits[chosen].float(), labels[chosen]
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return float(loss), len(labels), logits, labels


def _next_tokens(model: Any, batch: dict[str, Any], labels: Any) -> tuple[Any, Any]:
    """The logits at the answers' positions only, where the model allows that: a vocabulary is large."""
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    virtual = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    labels = labels[:, 1:]
    if virtual or "logits_to_keep" not in inspect.signature(type(base).forward).parameters:
        # virtual tokens stand before the text: only the logits of the text's own positions count
        return model(**inputs, use_cache=False).logits[:, -labels.shape[1] - 1 : -1], labels
    columns = (labels != IGNORED).any(dim=0).nonzero().squeeze(-1)
    return model(**inputs, use_cache=False, logits_to_keep=columns).logits, labels[:, columns]


def _loss_warnings(config: Config, start: float | None, end: float) -> list[str]:
    if math.isfinite(end) and (start is None or end <= start):
        return []
    rate, usual = config.training.learning_rate, METHODS[config.peft.method].learning_rate
    shown = f"{end:.3g}" if math.isfinite(end) else "not a finite number"
    why = f"the loss of the training rows is {shown} after the training"
    if start is not None:
        why += f" ({start:.3g} before it)"
    if rate > FAST * usual:
        cause = f"the learning rate of {rate:g} is {rate / usual:,.0f} times what is usual for {config.peft.method}"
        return [f"training.learning_rate: {why}: {cause} -> write learning_rate: {usual:g}"]
    fix = f"write a smaller one (now {rate:g}, usual for {config.peft.method} is {usual:g}), or warmup_ratio: 0.05"
    return [f"training.learning_rate: {why}: the learning rate is probably too high -> {fix}"]


def _end_warnings(metrics: dict[str, Any]) -> list[str]:
    if "end_token_rows" not in metrics:
        return []
    if not metrics["end_token_rows"]:
        return [
            "sft.max_length: no training row that was looked at has its end token within the longest sequence: the "
            "answers will not end -> raise the length"
        ]
    if metrics["end_token_share"] >= FEW:
        return []
    return [
        f"the end token is predicted on {metrics['end_token_share']:.0%} of {metrics['end_token_rows']} training rows: "
        "the answers will often not end -> train longer; if the tokenizer's end token was added, train its row too "
        "(peft.trainable_token_indices or peft.modules_to_save)"
    ]


def _rounded(loss: float | None) -> float | None:
    return None if loss is None or not math.isfinite(loss) else round(loss, 4)
