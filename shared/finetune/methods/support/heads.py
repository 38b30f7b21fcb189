"""A task's head: the modules that no checkpoint brings, so that every method has to train and to save them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# How transformers names the heads of classification and question answering
NAMES = ("classifier", "score", "qa_outputs", "classification_head", "pre_classifier")


def head_modules(model: Any) -> list[str]:
    """The names of the modules that make up the head.

    Besides the classifier that is whatever the checkpoint lacked: a BERT that was pretrained with masked words only
    has no pooler, and a pooler that starts at random must be trained and saved like the classifier behind it.

    Args:
        model: A transformers model; ``fresh_modules``, set on loading, names what its checkpoint lacked.

    Returns:
        Module names such as ``["bert.pooler.dense", "classifier"]``; empty for a language model.
    """
    own = [name for name, _ in model.named_children() if name in NAMES]
    fresh = [name for name in getattr(model, "fresh_modules", ()) if not any(is_inside(name, one) for one in own)]
    return sorted({*own, *fresh})


def is_inside(name: str, module: str) -> bool:
    """Whether a parameter's or module's name lies in a module, whatever wrappers stand around the two."""
    return f".{module}." in f".{name}."


def in_head(name: str, heads: Iterable[str]) -> bool:
    """Whether a parameter belongs to one of the modules that :func:`head_modules` names."""
    return any(is_inside(name, head) for head in heads)


def lacking(missing_keys: Iterable[str]) -> tuple[str, ...]:
    """The modules of the parameters that a checkpoint lacked."""
    return tuple(sorted({key.rpartition(".")[0] for key in missing_keys}))
