"""peft's wrappers, and what has to be mended on them for tasks with a head."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

from shared.errors import ModelError
from shared.finetune.methods.support.heads import head_modules


def saved_modules(model: Any, wanted: list[str] | None = None) -> list[str] | None:
    """peft's ``modules_to_save``: what the user named and the task's head; None where there is nothing."""
    names = [*(wanted or []), *(head_modules(model) if model is not None else [])]
    return list(dict.fromkeys(names)) or None


def fused_layers(model: Any) -> bool:
    """Whether the model's linear layers are GPT-2's Conv1D, which store their weight transposed."""
    if model is None:
        return False
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def wrap(model: Any, peft_config: Any, task_type: str, pool: str = "cls") -> Any:
    """peft's wrapper of a base, mended for the task.

    Args:
        model: The base; changed in place.
        peft_config: As a method's module makes it.
        task_type: ``config.task_type``.
        pool: What an encoder's classifier reads behind a prompt, see :func:`mend`.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        # a head is a plain Linear also in a model of Conv1D layers: peft warns of either value and takes the right one
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        return mend(get_peft_model(model, peft_config), task_type, pool)


def mend(model: Any, task_type: str, pool: str = "cls") -> Any:
    """Correct what peft's wrappers do to tasks with a head; see the functions below.

    Args:
        model: A fresh or reloaded PeftModel; changed in place and returned.
        task_type: ``config.task_type``.
        pool: ``"cls"``: an encoder classifies by its real [CLS]; ``"first"``: by position 0, a virtual token, as peft
            leaves it.
    """
    config = model.active_peft_config
    base = model.get_base_model()
    if config.is_prompt_learning and not hasattr(base, "prepare_inputs_for_generation"):
        base.prepare_inputs_for_generation = (
            None  # disable_adapter() of peft 0.21 fails where there is none to put back
        )
    if config.peft_type == "PREFIX_TUNING" and getattr(base.config, "is_encoder_decoder", False):
        base.get_decoder().register_forward_pre_hook(_count_the_prefix, with_kwargs=True)
    seen = _Seen()
    if task_type == "QUESTION_ANS":
        _keep_token_types(model, seen)
    if task_type in ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS") and config.peft_type in ("PROMPT_TUNING", "P_TUNING"):
        _hide_virtual_tokens(model, task_type, seen, pool)
    if seen.wanted:
        model.register_forward_pre_hook(seen.before, with_kwargs=True)
        model.register_forward_hook(seen.after, always_call=True)
    return model


def _count_the_prefix(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Let a decoder's positions begin behind what its cache holds, the prefix included.

    peft 0.21 hands a prefix to the decoder's cache, but ``generate`` counts the written tokens only: a token would look
    at the first of the prefix and not at itself, and a model that was trained well would write nonsense.
    """
    import torch

    positions, cache = kwargs.get("cache_position"), kwargs.get("past_key_values")
    if positions is not None and cache is not None:
        held = cache.get_seq_length()
        kwargs["cache_position"] = torch.arange(held, held + len(positions), device=positions.device)
    return args, kwargs


@dataclass
class _Seen:
    """What the wrapper was called with, for hooks inside of it.

    Attributes:
        wanted: Whether a hook needs it.
        tokens: Real tokens per row.
        mask: Their attention mask, (rows, tokens); None if there was none.
        types: Their token types; None if there were none.
    """

    wanted: bool = False
    tokens: int | None = None
    mask: Any = None
    types: Any = None

    def before(self, module: Any, args: tuple, kwargs: dict) -> None:
        ids = args[0] if args else kwargs.get("input_ids", kwargs.get("inputs_embeds"))
        self.tokens = None if ids is None else ids.shape[1]
        self.mask, self.types = kwargs.get("attention_mask"), kwargs.get("token_type_ids")

    def after(self, *_: Any) -> None:
        self.tokens = self.mask = self.types = None


def _backbone(model: Any) -> Any:
    base = model.get_base_model()
    return getattr(base, base.base_model_prefix, base)


def _keep_token_types(model: Any, seen: _Seen) -> None:
    """peft's wrapper for question answering drops ``token_type_ids``: BERT could not tell question from context."""
    backbone = _backbone(model)
    if "token_type_ids" not in inspect.signature(backbone.forward).parameters:
        return
    seen.wanted = True

    def put_back(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        types = seen.types
        if types is not None and kwargs.get("token_type_ids") is None:
            embedded = kwargs.get("inputs_embeds")
            extra = 0 if embedded is None else embedded.shape[1] - types.shape[1]
            kwargs["token_type_ids"] = types if not extra else _zeros_before(types, extra)
        return args, kwargs

    backbone.register_forward_pre_hook(put_back, with_kwargs=True)


def _zeros_before(types: Any, number: int) -> Any:
    import torch

    return torch.cat((types.new_zeros(types.shape[0], number), types), dim=1)


def _hide_virtual_tokens(model: Any, task_type: str, seen: _Seen, pool: str) -> None:
    """Let the head read the real tokens only.

    peft puts the prompts before the text and leaves them in the output: BERT's pooler then reads a virtual token
    instead of [CLS], tagging has more outputs than labels, an answer's start is off by the prompt's length, and GPT-2
    classifies by its padding, because it finds the last token by token numbers, which a prompt does not have.
    """
    base = model.get_base_model()
    read = _last_tokens
    if task_type != "SEQ_CLS":
        place = base.get_submodule(next(name for name in head_modules(base) if "." not in name))
    elif hasattr(base, "score"):  # the decoders' classifiers
        place, read = base.score, _last_real_token
    elif pool == "first":
        return
    else:
        place = _classifying_place(model)
    seen.wanted = True
    place.register_forward_pre_hook(lambda module, args: (read(args[0], seen), *args[1:]))


def _classifying_place(model: Any) -> Any:
    """The module of an encoder that takes position 0 of all positions: BERT's pooler, RoBERTa's head."""
    base = model.get_base_model()
    pooler = getattr(_backbone(model), "pooler", None)
    head = getattr(base, "classifier", None)
    if pooler is not None:
        return pooler
    if head is not None and any(type(one).__name__.endswith("ClassificationHead") for one in head.modules()):
        return head
    raise ModelError(
        f"{type(base).__name__}: it is not known where this architecture takes its first position from",
        fix="set peft.pool: first, or use a BERT or RoBERTa",
    )


def _last_tokens(hidden: Any, seen: _Seen) -> Any:
    """(rows, prompt + tokens, d) -> (rows, tokens, d)."""
    return hidden if seen.tokens is None else hidden[:, hidden.shape[1] - seen.tokens :]


def _last_real_token(hidden: Any, seen: _Seen) -> Any:
    """(rows, prompt + tokens, d) -> (rows, 1, d): each row's last token that is no padding."""
    import torch

    if seen.tokens is None or hidden.shape[1] == seen.tokens:
        return hidden
    hidden = hidden[:, hidden.shape[1] - seen.tokens :]
    if seen.mask is None:
        return hidden[:, -1:]
    places = torch.arange(seen.tokens, device=hidden.device)
    last = (seen.mask * places).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last][:, None]
