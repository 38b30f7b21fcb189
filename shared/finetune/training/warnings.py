"""Settings that are allowed but probably unintended: warned about before a run and by validate-config, and kept in
the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.finetune.config import Config
    from shared.finetune.data.lengths import ResponseLengths


def warnings_of(
    config: Config, model: Any, tokenizer: Any, lengths: ResponseLengths | None = None, ends: set[int] | None = None
) -> Iterator[str]:
    """The warnings of a run, each with its key and fix.

    Args:
        config: The configuration.
        model: The base with the method applied; shapes (on the meta device) suffice.
        tokenizer: The tokenizer; None where it is not known.
        lengths: What ``sft.max_length`` leaves of the responses; None where that is not known.
        ends: The model's own end tokens; None: as its configurations say.
    """
    if lengths is not None and lengths.is_serious:
        yield f"sft.max_length: {lengths}; nothing is learnt from them -> {lengths.fix()}"
    yield from _high_ranks(config, model)
    if tokenizer is not None and config.task_type in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        yield from _untrained_end(config, model, tokenizer, end_tokens(model) if ends is None else ends)


def _high_ranks(config: Config, model: Any) -> Iterator[str]:
    """Ranks that the update of a layer can't have."""
    from peft.tuners.lora import LoraLayer

    layers = [(name, one) for name, one in model.named_modules() if isinstance(one, LoraLayer)]
    high = [
        (min(one.in_features, one.out_features), rank, name, one)
        for name, one in layers
        for rank in one.r.values()
        if rank > min(one.in_features, one.out_features)
    ]
    if high:
        key = "init_r" if config.peft.method == "adalora" else "lora_r"
        smallest, rank, name, layer = min(high, key=lambda one: one[0])
        yield (
            f"peft.{key}: {rank} is above the rank that the update of {len(high)} of {len(layers)} layers can have: "
            f"min(d_in, d_out) is {smallest} for {name.rsplit('.', 1)[-1]} ({layer.in_features} x "
            f"{layer.out_features}) -> write {key}: {smallest} or less; more costs memory and changes nothing"
        )


# -- the end token ----------------------------------------------------------------------------------------------------


def end_tokens(model: Any) -> set[int]:
    """The tokens that end a text by the model's own configuration and generation settings."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found: set[int] = set()
    for settings in (base.config, getattr(base, "generation_config", None)):
        own = getattr(settings, "eos_token_id", None)
        found |= {one for one in (own if isinstance(own, (list, tuple)) else [own]) if one is not None}
    return found


def _untrained_end(config: Config, model: Any, tokenizer: Any, ends: set[int]) -> Iterator[str]:
    """An end token that the model was not pretrained with, and whose embedding is not trained now."""
    token = tokenizer.eos_token_id
    if token is None or not ends or token in ends:
        return
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    places = {"input embedding": base.get_input_embeddings(), "output head": base.get_output_embeddings()}
    frozen = {word: one for word, one in places.items() if one is not None and not _trains_row(one, token)}
    if not frozen:
        return
    names = {id(one): name.rsplit(".", 1)[-1] for name, one in base.named_modules()}
    modules = [names.get(id(one), word) for word, one in frozen.items()]
    yield (
        f"model.name_or_path: the tokenizer ends a text with {tokenizer.eos_token!r} ({token}), the model with "
        f"{', '.join(map(str, sorted(ends)))}, and the token's row in {' and '.join(modules)} is not trained: the "
        f"answers may never end -> {_how_to_train(config, base, modules, token)}"
    )


def _trains_row(module: Any, token: int) -> bool:
    """Whether a run trains a token's row of an embedding or of an output head."""
    tokens = getattr(getattr(module, "token_adapter", None), "token_indices", None)
    if tokens:  # peft's trainable tokens; a head that shares the embedding's weights has the same
        return any(token in chosen for chosen in tokens.values())
    return any(parameter.requires_grad for parameter in module.parameters())


def _how_to_train(config: Config, base: Any, modules: list[str], token: int) -> str:
    tied = getattr(base.config, "tie_word_embeddings", False)
    chosen = f"[{token}]" if tied else "{" + ", ".join(f"{name}: [{token}]" for name in modules) + "}"
    first = "write" if config.peft.method == "lora" else "take peft.method: lora with"
    return f"{first} peft.trainable_token_indices: {chosen}, or peft.modules_to_save: [{', '.join(modules)}]"
