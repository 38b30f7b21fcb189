"""What limits a training step on the CPU: the share of padding, and the time of each part of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import sft
from benchmarks.models import stories

NAMES = {"padding": "of the places of a padded batch are padding", "products": "of a step's time are matrix products",
         "thin": "of the products' time are LoRA's thin matrices", "lost": "difference of the loss, bf16 to fp32",
         "cosine": "smallest cosine of a B's gradient, bf16 to fp32"}  # fmt: skip


def run(folder: Path, steps: int = 16, threads: int = 2, model: str = "SmolLM2-135M") -> dict[str, Any]:
    """Measure one training set-up of :mod:`benchmarks.sft`, on an untrained adapter.

    Args:
        folder: Where the configuration goes.
        steps: Batches for the share of padding.
        threads: Threads.
        model: A key of :data:`benchmarks.sft.MODELS`.

    Returns:
        The settings, and each of :data:`NAMES` as a share or number.
    """
    import torch

    torch.set_num_threads(threads)
    trainer = _trainer(folder, stories(steps * sft.BATCH), steps, model)
    batches = [trainer._prepare_inputs(batch) for batch in trainer.get_train_dataloader()]
    real = sum(int(batch["attention_mask"].sum()) for batch in batches)
    places = sum(batch["attention_mask"].numel() for batch in batches)
    found = {"padding": 1 - real / places, **_times(trainer, batches[:2]), **_rounding(trainer, batches[0])}
    settings = {"model": model, "steps": steps, "batch": sft.BATCH, "threads": threads}
    return {"settings": settings, "limits": {name: round(value, 4) for name, value in found.items()}}


def _trainer(folder: Path, rows: list[dict[str, str]], steps: int, model: str) -> Any:
    from shared.finetune import train
    from shared.finetune.config import load_config
    from shared.finetune.data import load_rows, to_prompt_completion
    from shared.finetune.models import load_base

    folder.mkdir(parents=True, exist_ok=True)
    sft._own(folder, sft.MODELS[model](), rows, steps, "fp32")
    config = load_config(folder / "config.yaml")
    base, tokenizer = load_base(config)
    pairs = to_prompt_completion(load_rows(config.dataset, "train"), config.dataset)
    return train.build_trainer(config, base, tokenizer, pairs, None, train.sft_arguments(config, folder / "out"))


def _times(trainer: Any, batches: list[dict[str, Any]]) -> dict[str, float]:
    """The second batch under torch's profiler; the first one warms up."""
    from torch.profiler import ProfilerActivity, profile

    model = trainer.model.train()
    trainer.compute_loss(model, dict(batches[0])).backward()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        trainer.compute_loss(model, dict(batches[1])).backward()
    events = found.key_averages(group_by_input_shape=True)
    products = [event for event in events if event.key == "aten::mm"]
    thin = [event for event in products if any(sft.RANK in shape for shape in event.input_shapes)]
    spent = sum(event.self_cpu_time_total for event in products)
    return {
        "products": spent / sum(event.self_cpu_time_total for event in events),
        "thin": sum(event.self_cpu_time_total for event in thin) / spent,
    }


def _rounding(trainer: Any, batch: dict[str, Any]) -> dict[str, float]:
    """One batch in float32 and under bfloat16 autocast."""
    import torch

    losses, gradients = [], []
    for half in (False, True):
        trainer.model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = trainer.compute_loss(trainer.model, dict(batch))
        loss.backward()
        losses.append(loss.item())
        named = trainer.model.named_parameters()
        gradients.append([one.grad.flatten().clone() for name, one in named if "lora_B" in name])
    cosines = [torch.cosine_similarity(a, b, dim=0).item() for a, b in zip(*gradients, strict=True)]
    return {"lost": abs(losses[1] - losses[0]), "cosine": min(cosines)}


def text(result: dict[str, Any]) -> str:
    """The results, one per line."""
    return "\n".join(f"{value:.4g} {NAMES[name]}" for name, value in result["limits"].items())
