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

# Named in the design, built by later issues: asking for one of these is told from a slip of the pen.
PLANNED = ("adalora", "ia3", "prompt-tuning", "prefix-tuning", "p-tuning", "p-tuning-v2", "bitfit", "adapter")


class PeftSection(BaseModel):
    """What all ``peft:`` sections share: unknown keys are faults, values keep their YAML type."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Method:
    """One fine-tuning method.

    Attributes:
        name: As written in ``peft.method``.
        section: Its part of the schema.
        peft_config: Makes peft's configuration from the section; returns None where nothing is wrapped.
        mergeable: Whether its weights can be folded into the base.
        trains_base: Whether it changes the base's own weights (then the base can't be a quantised one).
    """

    name: str
    section: type[PeftSection]
    peft_config: Callable[[Any], Any]
    mergeable: bool
    trains_base: bool = False


def _discover() -> dict[str, Method]:
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    methods = [importlib.import_module(f"{__name__}.{name}").METHOD for name in modules]
    return {method.name: method for method in methods}


METHODS: dict[str, Method] = _discover()
