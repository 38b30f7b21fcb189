"""The loop that all micro-models are pretrained with: phases, AdamW, warm-up and cosine, progress, a log."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

EVERY = 100  # steps between two entries of the log


@dataclass(frozen=True)
class Phase:
    """A stretch of pretraining with one mixture of text and one learning-rate curve.

    Attributes:
        name: For the log, for example "span corruption".
        steps: Optimizer steps.
        rate: Peak learning rate.
        batches: Step of the whole run -> the batch, whatever ``loss_of`` takes; seeded by the step.
        warmup: Steps until the peak is reached.
        horizon: Step of the phase at which the rate would reach its end; by default its last.
    """

    name: str
    steps: int
    rate: float
    batches: Callable[[int], Any]
    warmup: int = 100
    horizon: int | None = None

    def rate_at(self, step: int) -> float:
        """Learning rate of the phase's own step: warm-up, then cosine down to 2 %."""
        cosine = (1 + math.cos(math.pi * step / (self.horizon or self.steps))) / 2
        return self.rate * min(1.0, (step + 1) / self.warmup) * (0.02 + 0.98 * cosine)


@dataclass(frozen=True)
class Run:
    """How a recipe is run, whatever the model.

    Attributes:
        steps: Stop after so many steps of the whole run; the schedule stays the recipe's.
        compiled: Compile the forward pass, where the module does so (needs a C++ compiler).
        report: Called with one line of progress every 100 steps.
        keep: Called with model, tokenizer and log every 500 steps, to keep what there is.
        start: Folder that an earlier run kept, to go on with the phase after the last finished one.
        log: Its log.
        tokenizer: A ready tokenizer instead of a new one.
        device: Where the model is trained, for example "cuda"; its first weights and its text come from the CPU.
    """

    steps: int | None = None
    compiled: bool = True
    report: Callable[..., None] = print
    keep: Callable[..., None] | None = None
    start: Path | str | None = None
    log: Sequence[dict] = ()
    tokenizer: Any = None
    device: str = "cpu"

    def kept_by(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        """What :func:`train` takes of this, for a model and its tokenizer."""
        keep = self.keep and (lambda log: self.keep(model, tokenizer, log))
        return {"steps": self.steps, "report": self.report, "log": self.log, "keep": keep}


def on(device: torch.device | str, batch: Any) -> Any:
    """A batch on a device: a tensor, or a tuple or dataclass of tensors."""
    if is_dataclass(batch):
        return type(batch)(*(getattr(batch, field.name).to(device) for field in fields(batch)))
    return batch.to(device) if torch.is_tensor(batch) else tuple(part.to(device) for part in batch)


def new_optimizer(model: torch.nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW with weight decay on the matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def train(
    model: torch.nn.Module,
    phases: Sequence[Phase],
    loss_of: Callable[[Any], torch.Tensor],
    measure: Callable[[], dict[str, float]],
    decay: float = 0.05,
    steps: int | None = None,
    report: Callable[..., None] = print,
    keep: Callable[[list[dict]], None] | None = None,
    log: Sequence[dict] = (),
    new_optimizer: Callable[..., torch.optim.Optimizer] = new_optimizer,
) -> list[dict]:
    """Pretrain a model in place.

    Args:
        model: The model; batches are brought to its device.
        phases: What it learns from, in order. Each starts with a fresh optimizer, and from the weights as they would
            be kept: in 16 bit. So a phase can be repeated from what the one before has written.
        loss_of: Batch -> loss [nats]; may call a compiled forward pass.
        measure: Held-out figures of the model as it stands.
        decay: Weight decay of the matrices.
        steps: Stop after so many steps of the whole run; the schedule stays the recipe's.
        report: Called with one line of progress every 100 steps.
        keep: Called with the log every 500 steps, to write what there is.
        log: Entries of phases that were run before; those phases are passed over.
        new_optimizer: (model, rate, decay) -> optimizer; a group's "share" scales its learning rate.

    Returns:
        The log: a dict for every 100 steps and the last one.
    """
    log, done, device = list(log), 0, next(model.parameters()).device
    began, total = time.perf_counter(), min(steps or 10**9, sum(phase.steps for phase in phases))
    for phase in phases:
        first, done = done, done + phase.steps
        if log and log[-1]["step"] >= done:
            continue
        if first:
            _round_to_16_bit(model)
        optimizer = new_optimizer(model, phase.rate, decay)
        for step in range(first, min(done, total)):
            loss = _step(model, optimizer, loss_of(on(device, phase.batches(step))), phase.rate_at(step - first))
            if (step + 1) % EVERY == 0 or step + 1 == total:
                log.append({"step": step + 1, "phase": phase.name, "train_loss": loss, **_measured(model, measure)})
                report(_line(log[-1], total, time.perf_counter() - began), flush=True)
            if keep and ((step + 1) % 500 == 0 or step + 1 == total):
                keep(log)
    return log


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def _measured(model: torch.nn.Module, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        found = measure()
    model.train()
    return found


def _round_to_16_bit(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()


def _line(entry: dict, total: int, seconds: float) -> str:
    figures = " ".join(f"{key} {value:.3f}" for key, value in entry.items() if isinstance(value, float))
    left = seconds / max(entry["step"], 1) * (total - entry["step"])
    return f"step {entry['step']:5d}/{total} {entry['phase']}: {figures} {seconds:5.0f} s, about {left:.0f} s left"


def weighted_loss(logits: torch.Tensor, target: torch.Tensor, marks: torch.Tensor, weight: float) -> torch.Tensor:
    """Cross-entropy in which words that the text determines count more than those that could be others as well.

    Most of what a language model of short stories pays for is chance: whose name comes next, what is bought. What has
    to be understood is one word in twelve.

    Args:
        logits: [rows, tokens, vocabulary].
        target: [rows, tokens]; -100 where there is no loss.
        marks: Which of them begin a word that is determined, [rows, tokens].
        weight: Their weight; that of the others is 1.

    Returns:
        The weighted mean [nats].
    """
    losses = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), target.flatten(), reduction="none")
    weights = (target.flatten() >= 0) * (1.0 + (weight - 1.0) * marks.flatten())
    return (losses * weights).sum() / weights.sum()


def save(name: str, model: Any, tokenizer: Any, recipe: Any, log: list[dict], folder: Path) -> None:
    """Write a micro-model in 16 bit with its tokenizer, recipe, log and card.

    Args:
        name: Name of the micro-model.
        model: A transformers model.
        tokenizer: Its tokenizer.
        recipe: A dataclass: everything that determines the model.
        log: What :func:`train` returned.
        folder: Where to; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.float16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors makes its file private; in a package others have to read it
    about = {"recipe": asdict(recipe), "parameters": model.num_parameters(), "log": log}
    (folder / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")
    from shared.tiny.card import write_card

    write_card(name, folder)
