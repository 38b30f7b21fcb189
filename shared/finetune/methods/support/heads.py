"""A task's head: modules that are not in the checkpoint, so that every method has to train and save them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# How transformers names the heads of classification and question answering
NAMES = ("classifier", "score", "qa_outputs", "classification_head", "pre_classifier")


def head_modules(model: Any) -> list[str]:
    """The names of the modules that form the head.

    These are the classifier and all modules missing in the checkpoint: a BERT that was pretrained with masked language
    modelling only has no pooler, and a randomly initialized pooler must be trained and saved like the classifier.

    Args:
        model: A transformers model; ``fresh_modules``, set on loading, names the modules missing in its checkpoint.

    Returns:
        Module names such as ``["bert.pooler.dense", "classifier"]``; empty for a language model.
    """
    own = [name for name, _ in model.named_children() if name in NAMES]
    fresh = [name for name in getattr(model, "fresh_modules", ()) if not any(is_inside(name, one) for one in own)]
    return sorted({*own, *fresh})


def is_inside(name: str, module: str) -> bool:
    """Whether a parameter's or module's name is inside a module, regardless of wrappers around the two."""
    return f".{module}." in f".{name}."


def in_head(name: str, heads: Iterable[str]) -> bool:
    """Whether a parameter belongs to one of the modules that :func:`head_modules` names."""
    return any(is_inside(name, head) for head in heads)


def lacking(missing_keys: Iterable[str]) -> tuple[str, ...]:
    """The modules of the parameters that are missing in a checkpoint."""
    return tuple(sorted({key.rpartition(".")[0] for key in missing_keys}))
