"""Greedy answers of a causal language model, in batches of similar length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Generation:
    """One generated answer.

    Attributes:
        text: The answer, without the end-of-text token and cut before the first stop text.
        ended: Whether the model ended it with its end-of-text token.
        reason: ``"eos"``, ``"stop"`` (a stop text was generated) or ``"length"``.
    """

    text: str
    ended: bool
    reason: str = "eos"


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int = 64,
    batch_size: int = 64,
    stop: Sequence[str] = (),
    progress: Any = None,
) -> list[Generation]:
    """Answer prompts greedily, in batches of similar length.

    Prompts are sorted by length to reduce padding, and padded on the left so that all answers start at the same
    position. The answers are returned in the order of the prompts.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; not changed.
        prompts: The prompts.
        max_new_tokens: Longest answer [tokens].
        batch_size: Prompts per batch.
        stop: Texts that end an answer; they are not part of it.
        progress: Called with the number of finished prompts after each batch.

    Returns:
        One generation per prompt.
    """
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    answers: list[Generation | None] = [None] * len(ids)
    was_training = model.training
    model.eval()
    try:
        for chosen in _batches(ids, order, batch_size, alike=_has_input_prompt(model)):
            batch = _answer_batch(model, tokenizer, [ids[index] for index in chosen], max_new_tokens, list(stop))
            for index, answer in zip(chosen, batch, strict=True):
                answers[index] = answer
            if progress is not None:
                progress(len(batch))
    finally:
        model.train(was_training)
    return answers  # type: ignore[return-value]


def _answer_batch(model: Any, tokenizer: Any, ids: list[list[int]], max_new_tokens: int, stop: list[str]) -> list:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    width = max(len(one) for one in ids)
    ends = _end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends), 0)
    input_ids = torch.tensor([[pad] * (width - len(one)) + one for one in ids], device=model.device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids], device=model.device)
    # A new configuration: the model's own may sample, and greedy answers have to be deterministic
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=sorted(ends) or None
    )
    criteria = StoppingCriteriaList([_StopTexts(tokenizer, stop, width)]) if stop else None
    with torch.no_grad(), warnings.catch_warnings():
        # peft counts positions from the prompt on, and warns that it ignores those that generate() passes
        warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
        # use_model_defaults=False: otherwise transformers treats do_sample=False as "not set" and samples if the
        # model's own settings do (as Llama-2's), so that "greedy" answers would be random
        out = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=criteria,
            use_model_defaults=False,
        )
    return [_cut(tokenizer, row, ends, stop) for row in out[:, width:].tolist()]


def _has_input_prompt(model: Any) -> bool:
    settings = getattr(model, "active_peft_config", None)
    return getattr(settings, "peft_type", None) in ("PROMPT_TUNING", "P_TUNING")


def _batches(ids: list[list[int]], order: list[int], size: int, alike: bool) -> Iterator[list[int]]:
    """The prompts' indices in batches; ``alike``: each batch has prompts of one length only, so that nothing is padded.

    With virtual tokens peft leaves the positions to the model, which then counts the padding between them and the
    text, so that answers would depend on the rest of the batch.
    """
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) == size or (alike and len(ids[place]) != len(ids[batch[0]]))):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end a text, of the tokenizer and of the model's generation settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, (list, tuple)) else [own]
    return {one for one in (*listed, tokenizer.eos_token_id) if one is not None}


def _cut(tokenizer: Any, row: list[int], ends: set[int], stop: list[str]) -> Generation:
    at = next((place for place, token in enumerate(row) if token in ends), None)
    text = tokenizer.decode(row[:at], skip_special_tokens=True)
    first = min((text.index(one) for one in stop if one in text), default=None)
    if first is not None:
        return Generation(text[:first], False, "stop")
    return Generation(text, at is not None, "eos" if at is not None else "length")


class _StopTexts:
    """Ends each row of a batch as soon as it has generated a stop text (a StoppingCriteria)."""

    def __init__(self, tokenizer: Any, stop: list[str], start: int):
        self.tokenizer, self.stop, self.start = tokenizer, stop, start
        # a token holds at least one byte, so the stop text lies within so many last tokens
        self.window = max(len(one.encode()) for one in stop) + 1

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        tail = input_ids[:, max(self.start, input_ids.shape[1] - self.window) :]
        texts = self.tokenizer.batch_decode(tail, skip_special_tokens=True)
        return torch.tensor([any(one in text for one in self.stop) for text in texts], device=input_ids.device)
