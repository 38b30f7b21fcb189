"""The warnings that a run will start with, computed from shapes, tokenizer and rows."""

from __future__ import annotations

from pathlib import Path

from shared.errors import DataError
from shared.finetune.training.warnings import end_tokens, warnings_of
from shared.finetune.validation.data_checks import lengths
from shared.finetune.validation.estimate import tuned_on_meta
from shared.finetune.validation.local_inputs import LocalInputs


def expected_warnings(local: LocalInputs) -> list[str]:
    """As :func:`shared.finetune.training.warnings.warnings_of` gives them before a run.

    Args:
        local: A sound configuration.

    Returns:
        None at all where the model is not on this machine.
    """
    if local.architecture is None:
        return []
    try:
        measured = lengths(local)
    except DataError:  # an evaluation split of other columns; the training names it
        measured = None
    ends = end_tokens(local.architecture[0]) | _generation_ends(local)
    return list(warnings_of(local.config, tuned_on_meta(local.fresh(), local.config), local.tokenizer, measured, ends))


def _generation_ends(local: LocalInputs) -> set[int]:
    """The end tokens of the model's generation settings, which its shapes do not show."""
    from transformers import GenerationConfig

    from shared.finetune.models import resolve

    folder = Path(resolve(local.config.model.name_or_path))
    if not (folder / "generation_config.json").is_file():
        return set()
    own = GenerationConfig.from_pretrained(folder).eos_token_id
    return {one for one in (own if isinstance(own, list) else [own]) if one is not None}
