"""peft's wrappers, and the changes that tasks with a head need."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

from shared.errors import ModelError
from shared.finetune.methods.support.heads import head_modules


def saved_modules(model: Any, named: list[str] | None = None) -> list[str] | None:
    """peft's ``modules_to_save``: the modules that the user named and the task's head; None if there are none."""
    names = [*(named or []), *(head_modules(model) if model is not None else [])]
    return list(dict.fromkeys(names)) or None


def fused_layers(model: Any) -> bool:
    """Whether the model's linear layers are GPT-2's Conv1D, which store the weight transposed."""
    if model is None:
        return False
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def wrap(model: Any, peft_config: Any, task_type: str, pool: str = "cls") -> Any:
    """peft's wrapper of a base, adapted to the task.

    Args:
        model: The base; changed in place.
        peft_config: As a method's module makes it.
        task_type: ``config.task_type``.
        pool: Which output an encoder's classifier uses with a prompt, see :func:`adapt_wrapper`.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        # a head is a Linear even in a model of Conv1D layers: peft warns for either value and uses the right one
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        return adapt_wrapper(get_peft_model(model, peft_config), task_type, pool)


def adapt_wrapper(model: Any, task_type: str, pool: str = "cls") -> Any:
    """Correct how peft's wrappers handle tasks with a head; see the functions below.

    Args:
        model: A fresh or reloaded PeftModel; changed in place and returned.
        task_type: ``config.task_type``.
        pool: ``"cls"``: an encoder classifies by the text's [CLS]; ``"first"``: by position 0, a virtual token, as in
            peft.
    """
    config = model.active_peft_config
    base = model.get_base_model()
    if config.is_prompt_learning and not hasattr(base, "prepare_inputs_for_generation"):
        base.prepare_inputs_for_generation = None  # disable_adapter() of peft 0.21 fails if there is none to restore
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
    """Start a decoder's positions after everything in its cache, including the prefix.

    peft 0.21 puts a prefix into the decoder's cache, but ``generate`` counts generated tokens only. A token would
    attend to the start of the prefix and not to itself, and a well-trained model would generate nonsense.
    """
    import torch

    positions, cache = kwargs.get("cache_position"), kwargs.get("past_key_values")
    if positions is not None and cache is not None:
        held = cache.get_seq_length()
        kwargs["cache_position"] = torch.arange(held, held + len(positions), device=positions.device)
    return args, kwargs


@dataclass
class _Seen:
    """The inputs of the wrapper's current call, for hooks inside of it.

    Attributes:
        wanted: Whether a hook needs them.
        tokens: Tokens per row, without virtual ones.
        mask: Their attention mask, (rows, tokens); None if not given.
        types: Their token types; None if not given.
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
    """Let the head use the outputs of the text's tokens only.

    peft puts the prompt before the text and leaves it in the output. Without this, BERT's pooler uses a virtual token
    instead of [CLS], tagging has more outputs than labels, an answer's start is shifted by the prompt's length, and
    GPT-2 classifies by its padding, because it finds the last token by token ids, which a prompt does not have.
    """
    base = model.get_base_model()
    read = _last_tokens
    if task_type != "SEQ_CLS":
        module = base.get_submodule(next(name for name in head_modules(base) if "." not in name))
    elif hasattr(base, "score"):  # the decoders' classifiers
        module, read = base.score, _last_real_token
    elif pool == "first":
        return
    else:
        module = _pooling_module(model)
    seen.wanted = True
    module.register_forward_pre_hook(lambda _, args: (read(args[0], seen), *args[1:]))


def _pooling_module(model: Any) -> Any:
    """The module of an encoder that selects position 0: BERT's pooler, RoBERTa's head."""
    base = model.get_base_model()
    pooler = getattr(_backbone(model), "pooler", None)
    head = getattr(base, "classifier", None)
    if pooler is not None:
        return pooler
    if head is not None and any(type(one).__name__.endswith("ClassificationHead") for one in head.modules()):
        return head
    raise ModelError(
        f"{type(base).__name__}: it is unknown which module of this architecture selects the first position",
        fix="set peft.pool: first, or use a BERT or RoBERTa",
    )


def _last_tokens(hidden: Any, seen: _Seen) -> Any:
    """(rows, prompt + tokens, d) -> (rows, tokens, d)."""
    return hidden if seen.tokens is None else hidden[:, hidden.shape[1] - seen.tokens :]


def _last_real_token(hidden: Any, seen: _Seen) -> Any:
    """(rows, prompt + tokens, d) -> (rows, 1, d): each row's last token that is not padding."""
    import torch

    if seen.tokens is None or hidden.shape[1] == seen.tokens:
        return hidden
    hidden = hidden[:, hidden.shape[1] - seen.tokens :]
    if seen.mask is None:
        return hidden[:, -1:]
    positions = torch.arange(seen.tokens, device=hidden.device)
    last = (seen.mask * positions).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last][:, None]
