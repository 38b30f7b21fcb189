"""Merge what is no plain LoRA of a language model: with the whole model in memory, by peft's own merge.

Models with a head are small beside the language models for which :mod:`shared.finetune.merge_adapter` goes shard by
shard. BitFit's biases are in their places as soon as they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    import torch

    from shared.finetune.config import Config

# peft's name of an adapter's kind -> the method; prefix-tuning and P-tuning v2 share one, and neither can be merged
PEFT_TYPES = {method.peft_type: name for name, method in METHODS.items() if method.peft_type}
CURE = "ship the adapter folder beside the base instead"


def refuse_unmergeable(settings: dict[str, Any], about: dict[str, Any], place: Path) -> None:
    """Refuse an adapter that has no merge.

    Args:
        settings: Its ``adapter_config.json``; empty where peft did not write it.
        about: Its ``method.json``; empty where it was not trained here.
        place: Its folder, for the message.

    Raises:
        ModelError: With the reason.
    """
    kind = settings.get("peft_type")
    name = PEFT_TYPES.get(kind) if kind else about.get("peft", {}).get("method")
    if name is None:
        raise ModelError(f"{place} is a {kind} adapter, which has no merge here", fix=CURE)
    if METHODS[name].no_merge:
        raise ModelError(f"{place} ({kind or name}) has no merge: {METHODS[name].no_merge}", fix=CURE)
    if settings.get("trainable_token_indices"):
        raise ModelError(
            f"{place} trains single token embeddings, which are not merged shard by shard",
            fix="use peft's merge_and_unload()",
        )


def merge_whole(config: Config, place: Path, out: Path, dtype: str) -> tuple[int, dict[str, torch.Tensor]]:
    """Load base and adapter in float32, merge, and write the model with its head.

    Args:
        config: The configuration that it was trained with.
        place: The adapter's folder.
        out: Folder to write into.
        dtype: Number format of the merged weights; ``auto`` is float32 here.

    Returns:
        The number of changed tensors, and the outputs before merging: ``tuned`` and those of the ``base``.
    """
    import torch

    from shared.finetune.models import load_base, load_tuned
    from shared.finetune.models.storage import describe

    tuned, _ = load_tuned(config, place, quantized=False, dtype="float32")
    wanted = outputs(tuned.to("cpu"), config)
    merged = tuned.merge_and_unload() if hasattr(tuned, "merge_and_unload") else tuned
    base, _ = load_base(config, quantized=False, dtype="float32", labels=describe(place).get("labels"))
    before = base.state_dict()
    changed = sum(not torch.equal(before[name].to("cpu"), one) for name, one in merged.state_dict().items())
    plain = outputs(base.to("cpu"), config)
    merged.to(torch.float32 if dtype == "auto" else getattr(torch, dtype)).save_pretrained(out)
    return changed, {"tuned": wanted, "base": plain}


def merged_outputs(config: Config, out: Path) -> torch.Tensor:
    """What the written model says to the probes."""
    import torch
    import transformers

    kind = getattr(transformers, TASKS[config.task_type].auto_class)
    return outputs(kind.from_pretrained(out, dtype=torch.float32), config)


def outputs(model: Any, config: Config) -> torch.Tensor:
    """A model's logits for two rows of 16 random tokens, in one row of numbers."""
    import torch

    probes = torch.randint(3, model.config.vocab_size, (2, 16), generator=torch.Generator().manual_seed(0))
    extra = {"decoder_input_ids": probes[:, :8]} if config.task_type == "SEQ_2_SEQ_LM" else {}
    with torch.no_grad():
        out = model.eval()(input_ids=probes, attention_mask=torch.ones_like(probes), **extra)
    return torch.cat([out[name].flatten() for name in ("logits", "start_logits", "end_logits") if name in out])
