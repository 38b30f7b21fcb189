"""The fine-tuning methods, one small file each.

A method's module holds its part of the schema (a :class:`PeftSection` with a literal ``method``) and a module-level
``METHOD``. Every module of this package is registered; adding a method is adding a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.errors import ModelError


class PeftSection(BaseModel):
    """What all ``peft:`` sections share: unknown keys are errors, values keep their YAML type."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Method:
    """One fine-tuning method: either a configuration of peft's, or a change of the model itself.

    Attributes:
        name: As written in ``peft.method``.
        section: Its part of the schema.
        learning_rate: A first choice; the methods differ by four orders of magnitude.
        peft_config: (section, model, task_type) -> peft's configuration; None if peft is not used.
        change: (section, model, task_type) -> None; freezes, unfreezes or extends the model in place.
        peft_type: peft's name of the adapter's kind, by which an adapter that was trained elsewhere is recognized.
        refuse: (section, model, task_type) -> (reason, fix) for a model that it can't tune, else None.
        no_merge: Why its weights can't be merged into the base; empty if they can.
        no_quantized: Why the base can't be quantised; empty if it can.
        no_checkpointing: Why gradient checkpointing can't be used; empty if it can.
        trains_base: Whether it trains every weight of the base.
        callback: section -> a Trainer callback that the method needs while it trains.
    """

    name: str
    section: type[PeftSection]
    learning_rate: float
    peft_config: Callable[[Any, Any, str], Any] | None = None
    change: Callable[[Any, Any, str], None] | None = None
    refuse: Callable[[Any, Any, str], tuple[str, str] | None] | None = None
    no_merge: str = ""
    no_quantized: str = ""
    no_checkpointing: str = ""
    trains_base: bool = False
    callback: Callable[[Any], Any] | None = None
    peft_type: str = ""

    @property
    def mergeable(self) -> bool:
        """Whether its weights can be merged into the base."""
        return not self.no_merge

    def check(self, model: Any, section: PeftSection, task_type: str) -> None:
        """Refuse a model that the method can't tune.

        Raises:
            ModelError: With the reason and the fix.
        """
        found = self.refuse(section, model, task_type) if self.refuse else None
        if found:
            raise ModelError(f"{self.name} on {type(model).__name__}: {found[0]}", fix=found[1])
        from shared.finetune.methods.support.target_modules import wrong_targets

        targets = getattr(section, "target_modules", None)
        for place, why, fix in wrong_targets(model, targets):
            key = "target_modules" + ("" if place is None else f"[{place}]")
            value = targets if place is None else targets[place]
            raise ModelError(f"peft.{key} = {value!r} on {type(model).__name__}: {why}", fix=fix)

    def apply(self, model: Any, section: PeftSection, task_type: str) -> Any:
        """Turn a base into the model to train: trainable parameters, including the task's head, require gradients.

        Args:
            model: The base as :func:`shared.finetune.models.loading.load_base` gives it; changed in place.
            section: ``config.peft``.
            task_type: ``config.task_type``.

        Returns:
            The model to train; for methods of peft its wrapper.

        Raises:
            ModelError: If the method can't tune this architecture.
        """
        self.check(model, section, task_type)
        if self.peft_config is None:
            if self.change:
                self.change(section, model, task_type)
            return model
        from shared.finetune.methods.support.peft_wrapper import wrap

        pool = getattr(section, "pool", "cls")
        return wrap(model, self.peft_config(section, model, task_type), task_type, pool)


def _discover() -> dict[str, Method]:
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    methods = [importlib.import_module(f"{__name__}.{name}").METHOD for name in modules]
    return {method.name: method for method in methods}


METHODS: dict[str, Method] = _discover()
