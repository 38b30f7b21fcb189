"""A few modules of a model, by themselves, and peft's configuration for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.constants import DUMMY_TARGET_MODULES

from shared.errors import ModelError
from shared.finetune.merging.plan import PREFIX, Plan, Unit, WholeModelOnly


class Part(torch.nn.Module):
    """Some modules of a model at their places; peft sees nothing else of the model.

    Args:
        plan: The plan; its model has no weights.
        unit: The modules. Where peft's layers share tensors whose size follows from all modules, all are there.
    """

    def __init__(self, plan: Plan, unit: Unit):
        super().__init__()
        model = plan.model
        self.config = model.config
        self.is_gradient_checkpointing = False
        self._tied_weights_keys = getattr(model, "_tied_weights_keys", None)
        self._ends = plan.embeddings
        memo: dict[int, Any] = {}  # shared weights stay shared
        for path in _paths(plan, unit):
            *steps, last = path.split(".")
            parent: torch.nn.Module = self
            for step in steps:
                if step not in parent._modules:
                    parent.add_module(step, torch.nn.Module())
                parent = parent._modules[step]
            parent.add_module(last, copy.deepcopy(model.get_submodule(path), memo))

    def get_input_embeddings(self) -> Any:
        """As in transformers' models; None if they are not in this part."""
        return self._end(0)

    def get_output_embeddings(self) -> Any:
        """As in transformers' models; None if they are not in this part."""
        return self._end(1)

    def _end(self, number: int) -> Any:
        try:
            return self.get_submodule(self._ends[number]) if self._ends[number] else None
        except AttributeError:
            return None

    def fill(self, values: Callable[[str], torch.Tensor]) -> None:
        """Give each parameter its values by its name."""
        made: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
        for path, module in self.named_modules():
            for name, old in module._parameters.items():
                if old is None:
                    continue
                if old not in made:
                    made[old] = torch.nn.Parameter(values(f"{path}.{name}"), requires_grad=False)
                module._parameters[name] = made[old]


def _paths(plan: Plan, unit: Unit) -> tuple[str, ...]:
    tuner = PEFT_TYPE_TO_TUNER_MAPPING[plan.settings.peft_type]
    if tuner._pre_injection_hook is BaseTuner._pre_injection_hook:
        return unit.modules
    return tuple(dict.fromkeys([*unit.modules, *(path for one in plan.units for path in one.modules)]))


def base_values(plan: Plan, unit: Unit) -> Callable[[str], torch.Tensor]:
    """Name in the model -> the base's values in float32; for modules outside the unit one zero that looks like many."""

    def values(name: str) -> torch.Tensor:
        if name.startswith(tuple(path + "." for path in unit.modules)):
            stored = name if name in plan.stored else _twin(plan, unit, name)
            values = plan.base.read(plan.stored[stored]).float()
            more = plan.model.get_parameter(name).shape[0] - values.shape[0]  # added tokens, which the adapter brings
            return torch.cat([values, values.new_zeros(more, *values.shape[1:])]) if more > 0 else values
        return torch.zeros(()).expand(plan.model.get_parameter(name).shape)

    return values


def _twin(plan: Plan, unit: Unit, name: str) -> str:
    """The name under which a tied weight is stored."""
    weight = plan.model.get_parameter(name)
    names = [f"{path}.{name.rpartition('.')[2]}" for path in unit.modules]
    return next(one for one in names if one in plan.stored and plan.model.get_parameter(one) is weight)


def refuse_missing(plan: Plan, part: Part, path: str) -> None:
    """Make sure that the base's files hold a module's tensors, in its shapes.

    Raises:
        ModelError: If one has another shape.
        WholeModelOnly: If one is not stored by itself, as the experts of some models.
    """
    for name, one in part.get_submodule(path).named_parameters():
        full = f"{path}.{name}"
        names = [full]
        if plan.model.get_parameter(full) is getattr(plan.model.get_input_embeddings(), "weight", None):
            names = [f"{end}.weight" for end in plan.embeddings]
        stored = next((plan.stored[each] for each in names if each in plan.stored), None)
        if stored is None:
            raise WholeModelOnly(f"the base's files hold no tensor {full}")
        there = plan.base.kinds[stored][1]
        if there != tuple(one.shape) and not plan.added_tokens(path):
            raise ModelError(
                f"{stored} has shape {there} in the base's files and {tuple(one.shape)} by its config.json",
                fix="download or save the base again",
            )


def unit_settings(plan: Plan, unit: Unit, dry: bool) -> Any:
    """peft's configuration for this unit alone: what it says of other modules would be missed there."""
    settings = copy.deepcopy(plan.settings)
    settings.inference_mode, settings.base_model_name_or_path = True, None
    if (saved := getattr(settings, "modules_to_save", None)) is not None:
        settings.modules_to_save = [key for key in saved if _names_one(key, unit)] or None
    tokens = getattr(settings, "trainable_token_indices", None)
    if isinstance(tokens, dict):
        settings.trainable_token_indices = {key: one for key, one in tokens.items() if _names_one(key, unit)} or None
    elif tokens is not None and plan.embeddings[0] not in unit.modules:
        settings.trainable_token_indices = None
    if settings.peft_type == "ADALORA" and settings.rank_pattern:  # by the names of parameters, which have to be there
        inside = tuple(path + "." for path in unit.modules)
        settings.rank_pattern = {key: one for key, one in settings.rank_pattern.items() if key.startswith(inside)}
        if dry:  # to choose ranks takes values; the shapes are those of a layer that has no others
            settings.init_r, settings.rank_pattern = sum(map(sum, settings.rank_pattern.values())), None
    if all("token_adapter" in key or _is_saved(plan, key) for key in unit.keys):
        settings.target_modules = DUMMY_TARGET_MODULES  # peft accepts that there is none of its own layers
    return settings


def _names_one(key: str, unit: Unit) -> bool:
    return any(path.endswith(key) for path in unit.modules)


def _is_saved(plan: Plan, key: str) -> bool:
    """Whether a tensor belongs to a module that is saved as a whole, and to none of peft's layers."""
    return key.removeprefix(PREFIX) in plan.names or ".modules_to_save." in key or ".original_module." in key


def adapted(plan: Plan, unit: Unit, path: str) -> bool:
    """Whether one of the unit's modules has one of peft's layers, and is not only replaced."""
    return any(key.startswith(f"{PREFIX}{path}.") and not _is_saved(plan, key) for key in unit.keys)


def separate(part: Part, unit: Unit) -> None:
    """Give each module its own copy of shared weights: peft merges in place, and would change both."""
    if not unit.tied:
        return
    seen: set[int] = set()
    for path in unit.modules:
        own = set()
        for module in part.get_submodule(path).modules():
            for name, one in module._parameters.items():
                if one is None:
                    continue
                if id(one) in seen:
                    module._parameters[name] = torch.nn.Parameter(one.detach().clone(), requires_grad=False)
                own.add(id(one))
        seen |= own
