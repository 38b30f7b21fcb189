"""Merge one module at a time by peft's own layer.

peft is shown a model that consists of that module alone, at its place and with its real weights; it builds its layer
there, loads the layer's part of the adapter and merges it, as it would in the whole model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import AuxiliaryTrainingWrapper

from shared.errors import ModelError
from shared.finetune.merging.parts import Part, base_values, refuse_missing, separate, unit_settings
from shared.finetune.merging.plan import PREFIX, Plan, Unit, WholeModelOnly, other_shape
from shared.finetune.merging.probes import outputs, random_inputs, refuse_uncheckable, square, trained_tokens
from shared.finetune.merging.whole_model import SHIP

SAVE_AGAIN = "save the adapter again: model.save_pretrained(folder)"


@dataclass
class Merged:
    """A unit after its merge.

    Attributes:
        tensors: Name in the model -> merged tensor; without values in a dry run.
        checks: For each module the squared norms of: merged minus adapted output, adapted output, base minus adapted.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    checks: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def dry_run(plan: Plan, unit: Unit) -> dict[str, tuple[int, ...]]:
    """Build, load and merge without any values: finds in milliseconds what could not be merged.

    Returns:
        Name in the model -> shape of the merged tensor.

    Raises:
        ModelError: If a tensor of the adapter is not used, is missing or has another shape, or if peft can't merge.
        WholeModelOnly: If a module can't be checked by itself.
    """
    try:
        with _quiet(), torch.no_grad():
            return _shapes(plan, unit)
    except (NotImplementedError, RuntimeError) as error:
        if not _needs_values(error):
            raise
        kind = plan.settings.peft_type.value
        raise WholeModelOnly(f"peft's {kind} layers can't be tried without values ({error})") from error


def _shapes(plan: Plan, unit: Unit) -> dict[str, tuple[int, ...]]:
    part = Part(plan, unit)
    for path in unit.modules:
        refuse_missing(plan, part, path)
    inputs = {path: random_inputs(part.get_submodule(path), []) for path in unit.modules}
    _tuned(plan, unit, part, plan.adapter.without_values, dry=True)
    found = {}
    for path in unit.modules:
        refuse_uncheckable(part.get_submodule(path), inputs[path])
        merged = _merged(plan, part.get_submodule(path), path, safe=False)
        found |= {f"{path}.{name}": tuple(one.shape) for name, one in merged.named_parameters()}
    return found


def merge_unit(plan: Plan, unit: Unit, dtype: Callable[[str], torch.dtype], check: bool = True) -> Merged:
    """Merge a unit, in float32.

    Args:
        plan: The plan.
        unit: The unit.
        dtype: Name in the model -> dtype of the merged tensor.
        check: Compare the module's outputs on random inputs before and after; the rounding to ``dtype`` counts.

    Raises:
        ModelError: If the merged weights are not finite.
    """
    result = Merged()
    with _quiet(), torch.no_grad():
        part = Part(plan, unit)
        part.fill(base_values(plan, unit))
        probes = {
            path: random_inputs(part.get_submodule(path), trained_tokens(plan, path)) for path in unit.modules if check
        }
        plain = {path: outputs(part.get_submodule(path), probe) for path, probe in probes.items()}
        _tuned(plan, unit, part, plan.adapter.read, dry=False)
        separate(part, unit)
        for path in unit.modules:
            layer = part.get_submodule(path)
            want = outputs(layer, probes[path]) if check else None
            merged = _merged(plan, layer, path, safe=True)
            for name, one in merged.named_parameters():
                kept = one.data.to(dtype(f"{path}.{name}"))
                result.tensors[f"{path}.{name}"] = kept
                one.data = kept.float() if check else kept
            if check:
                got = outputs(merged, probes[path])
                result.checks[path] = (square(got - want), square(want), square(plain[path] - want))
        _forget(part)
    return result


def _forget(part: Part) -> None:
    """Free the weights at once: peft's layers refer to each other, and would wait for the garbage collector."""
    for module in part.modules():
        for one in (*module._parameters.values(), *module._buffers.values()):
            if one is not None:
                one.data = one.data.new_empty(0)


def _tuned(plan: Plan, unit: Unit, part: Part, read: Callable[[str], torch.Tensor], dry: bool) -> PeftModel:
    """peft's model of a part, with the unit's share of the adapter in it."""
    tuned = PeftModel(part, unit_settings(plan, unit, dry), low_cpu_mem_usage=dry)
    tensors = {key: read(key) for key in (*unit.keys, *plan.shared)}
    if not dry:
        set_peft_model_state_dict(tuned, tensors)
        return tuned.eval()
    expected = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    try:
        found = set_peft_model_state_dict(tuned, tensors, low_cpu_mem_usage=True)
    except KeyError as error:
        raise ModelError(f"the adapter's file lacks {error.args[0]}", fix=SAVE_AGAIN) from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise _other_shape(plan, unit, expected, error) from error
    unused = [key for key in found.unexpected_keys if not _is_copy(plan, unit, key, found.unexpected_keys)]
    if unused:
        raise ModelError(
            f"peft's {plan.settings.peft_type.value} layer does not use {unused[0]}, which is in the "
            f"adapter's file ({len(unused)} such tensors in {unit.modules[0]})",
            fix="adapter_config.json and adapter_model.safetensors do not belong together: " + SAVE_AGAIN,
        )
    inside = tuple(PREFIX + path + "." for path in unit.modules)
    missing = [key for key in expected if key.startswith(inside) and key not in tensors]
    if missing:
        raise ModelError(f"the adapter's file lacks {missing[0]}", fix=SAVE_AGAIN)
    return tuned.eval()


def _is_copy(plan: Plan, unit: Unit, key: str, unused: list[str]) -> bool:
    """Whether a tensor is in the file a second time, under a name that is used.

    peft saves embeddings whose size has changed with everything around them.
    """
    used = (one for one in unit.keys if one not in unused and plan.adapter.kinds[one] == plan.adapter.kinds[key])
    return any(torch.equal(plan.adapter.read(one), plan.adapter.read(key)) for one in used)


def _other_shape(plan: Plan, unit: Unit, expected: dict[str, torch.Tensor], error: Exception) -> ModelError:
    for key in unit.keys:
        new, there = plan.adapter.kinds[key][1], tuple(expected[key].shape) if key in expected else None
        if there is None:
            name = key.removeprefix(PREFIX).replace(".base_layer.", ".")
            there = plan.base.kinds[plan.stored[name]][1] if name in plan.stored else new
        if new != there:
            text = f"{key} has shape {new} in the adapter's file, this base needs {there}"
            return ModelError(text, fix=other_shape(there, new))
    return ModelError(f"peft can't load {unit.modules[0]}: {error}", fix=SAVE_AGAIN)


def _merged(plan: Plan, layer: Any, path: str, safe: bool) -> torch.nn.Module:
    try:
        return _merge(layer, safe)
    except Exception as error:
        if _needs_values(error):
            raise
        text = f"peft can't merge its {plan.settings.peft_type.value} layer of {path}: {error}"
        raise ModelError(text, fix=SHIP) from error


def _merge(layer: Any, safe: bool) -> torch.nn.Module:
    """The module without peft's layer, as peft's ``merge_and_unload`` makes it of each module."""
    if isinstance(layer, AuxiliaryTrainingWrapper):
        return layer.unload_and_optionally_merge_module(merge=True, safe_merge=safe, adapter_names=None)
    while isinstance(layer, BaseTunerLayer):
        if hasattr(layer, "unload_and_optionally_merge_module"):
            return layer.unload_and_optionally_merge_module(merge=True, safe_merge=safe, adapter_names=None)
        layer.merge(safe_merge=safe)
        layer = layer.base_layer  # peft nests its layers where two parameters of one module are adapted
    return layer


def _needs_values(error: Exception) -> bool:
    """Whether a step failed because there were no values, and not because it can't be done."""
    return any(words in str(error) for words in ("meta tensor", "register_meta", "meta device", "device='meta'"))


@contextmanager
def _quiet() -> Iterator[None]:
    """peft warns of tied weights, of patterns that match nothing in this part, and of Conv1D layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
