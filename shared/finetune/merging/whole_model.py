"""Merge what is no plain LoRA of a language model: with the whole model in memory, by peft's own merge.

Models with a head are small beside the language models for which :mod:`shared.finetune.merge_adapter` goes shard by
shard. BitFit's biases are in their places as soon as they are loaded.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    import torch

    from shared.finetune.config import Config

SHIP = "ship the adapter folder beside the base instead"


def refuse_unmergeable(settings: dict[str, Any], about: dict[str, Any], place: Path) -> None:
    """Refuse an adapter that can't be merged.

    Args:
        settings: Its ``adapter_config.json``; empty where peft did not write it.
        about: Its ``method.json``; empty where it was not trained here.
        place: Its folder, for the message.

    Raises:
        ModelError: With the reason.
    """
    kind = settings.get("peft_type")
    if kind:
        own = [method for method in METHODS.values() if method.peft_type == kind]
    elif about.get("peft", {}).get("method") in METHODS:
        own = [METHODS[about["peft"]["method"]]]
    else:
        raise ModelError(f"{place} can't be merged: no method.json there says how it was trained", fix=SHIP)
    reason = own[-1].no_merge if own else _no_merge_in_peft(kind)
    if reason:
        raise ModelError(f"{place} ({kind or own[-1].name}) can't be merged: {reason}", fix=SHIP)


def _no_merge_in_peft(kind: str | None) -> str:
    """Why peft can't merge a type of adapter that is no method of this project; empty if it can."""
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTuner

    if kind not in PeftType.__members__.values():
        return "the installed peft does not know this type"
    tuner = PEFT_TYPE_TO_TUNER_MAPPING.get(PeftType(kind))
    if tuner is None or not issubclass(tuner, BaseTuner):
        return "it does not change the base's weights"
    return ""


def merge_whole(config: Config, place: Path, out: Path, dtype: str) -> tuple[int, dict[str, torch.Tensor]]:
    """Load base and adapter in float32, merge, and write the model with its head.

    Args:
        config: The configuration that it was trained with.
        place: The adapter's folder.
        out: Folder to write into.
        dtype: dtype of the merged weights; ``auto`` is float32 here.

    Returns:
        The number of changed tensors, and the outputs before merging: ``tuned`` and those of the ``base``.
    """
    import torch

    from shared.finetune.models import load_base, load_tuned
    from shared.finetune.models.storage import describe

    tuned, _ = load_tuned(config, place, quantized=False, dtype="float32")
    wanted = outputs(tuned.to("cpu"), config)
    if hasattr(tuned, "merge_and_unload"):
        _separate_shared(tuned)
        merged = _without_wrappers(tuned.merge_and_unload(safe_merge=True))
    else:
        merged = tuned
    base, _ = load_base(config, quantized=False, dtype="float32", labels=describe(place).get("labels"))
    before = base.state_dict()
    changed = sum(not torch.equal(before[name].to("cpu"), one) for name, one in merged.state_dict().items())
    plain = outputs(base.to("cpu"), config)
    merged.to(torch.float32 if dtype == "auto" else getattr(torch, dtype)).save_pretrained(out)
    return changed, {"tuned": wanted, "base": plain}


def _without_wrappers(model: Any) -> Any:
    """A merged model whose fully trained modules are plain modules: peft 0.21's LN tuning leaves them wrapped."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    wrapped = [name for name, one in model.named_modules() if isinstance(one, AuxiliaryTrainingWrapper)]
    for name in wrapped:
        model.set_submodule(name, model.get_submodule(name).unload_and_optionally_merge_module(True, True, None))
    return model


def _separate_shared(model: Any) -> None:
    """Give each adapted module its own copy of shared weights: peft merges in place, and would change both."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    places = Counter(id(one) for _, one in model.named_parameters(remove_duplicate=False))
    for layer in model.modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        for name, one in layer.get_base_layer()._parameters.items():
            if one is not None and places[id(one)] > 1:
                layer.get_base_layer()._parameters[name] = torch.nn.Parameter(one.detach().clone())


def merged_outputs(config: Config, out: Path) -> torch.Tensor:
    """The written model's outputs for the probes."""
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
