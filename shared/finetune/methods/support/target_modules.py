"""Names of layers in ``peft.target_modules`` against the layers that a model has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shared.finetune.common.suggestions import did_you_mean

ADAPTABLE = ("Linear", "Conv1D", "Embedding", "Conv2d")  # what the layers that peft adapts are called first


def wrong_targets(model: Any, targets: list[str] | str | None) -> Iterator[tuple[int | None, str, str]]:
    """Targets that a model does not have, or that can't take an adapter.

    Args:
        model: The base.
        targets: ``peft.target_modules``: names of layers, or a regular expression of whole names.

    Yields:
        The place in the list (None for an expression), what is wrong, and the fix.
    """
    if targets in (None, "all-linear"):
        return
    layers = {name: type(one).__name__ for name, one in model.named_modules() if name}
    if isinstance(targets, str):
        if not any(re.fullmatch(targets, name) for name in layers):
            example = max(layers, key=lambda name: name.count("."))
            fix = f"the names are matched whole, such as {example}; write .* before the ending"
            yield None, "matches no layer of it", fix
        return
    linear = sorted({name.rsplit(".", 1)[-1] for name, kind in layers.items() if kind.startswith(("Linear", "Conv1D"))})
    for place, target in enumerate(targets):
        kinds = [kind for name, kind in layers.items() if name == target or name.endswith(f".{target}")]
        if not kinds:
            near = did_you_mean(target, linear)
            before = f"{near} The linear layers are: " if near.startswith("did") else "its linear layers are: "
            yield place, "it has no such layer", before + ", ".join(linear)
        elif not any(kind.startswith(ADAPTABLE) for kind in kinds):
            yield place, f"is no linear layer but a {kinds[0]}", f"its linear layers are: {', '.join(linear)}"
