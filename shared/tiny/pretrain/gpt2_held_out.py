"""What the GPT-2 micro-model knows of text that pretraining never sees."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from shared.tiny.corpus import HELD_OUT, pack
from shared.tiny.opinions import DISLIKED, LIKED
from shared.tiny.pretrain.gpt2_text import texts
from shared.tiny.pretrain.loop import on

if TYPE_CHECKING:
    from shared.tiny.pretrain.gpt2 import Recipe


@lru_cache(maxsize=4)
def _held_out_rows(tokenizer, recipe: Recipe, count: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    kinds, found = ("films", "stories", "sums", "programs"), {}
    for kind in kinds:
        mixed = replace(recipe.stages[-1].text, **{one: float(one == kind) for one in kinds[:3]})
        found[kind] = pack(tokenizer, texts(recipe.seed + HELD_OUT, mixed), count, recipe.context)
    return found


@torch.no_grad()
def held_out(model, tokenizer, recipe: Recipe, count: int = 32) -> dict[str, float]:
    """Measure the model on text that pretraining never sees.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        recipe: The recipe.
        count: Rows of each kind of text.

    Returns:
        ``loss`` over all tokens [nats] and that of each kind; ``polarity``, the share of reactions for which the
        reactions of the right side are together likelier than those of the other; ``retrieval``, ``sums`` and
        ``programs``, the shares of the marked words of these texts that are guessed right.
    """
    losses, right = {}, {}
    for kind, rows in _held_out_rows(tokenizer, recipe, count).items():
        ids, marks = on(model.device, rows)
        logits = torch.cat([model(input_ids=part.long()).logits for part in ids.split(16)])[:, :-1].float()
        target, marked = ids[:, 1:].long(), marks[:, 1:]
        losses[kind] = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten()).item()
        right[kind] = (logits.argmax(-1) == target)[marked].float().mean().item()
        if kind == "films":
            right[kind] = _polarity(logits[marked], target[marked], tokenizer)
    names = {"films": "polarity", "stories": "retrieval"}
    return (
        {"loss": sum(losses.values()) / len(losses)}
        | {f"{kind}_loss": loss for kind, loss in losses.items()}
        | {names.get(kind, kind): share for kind, share in right.items()}
    )


def _polarity(logits: torch.Tensor, target: torch.Tensor, tokenizer) -> float:
    """Share of reactions whose side is the likelier one. logits [words, vocabulary], target [words]."""
    verbs = ([one.split()[1] for one in side if one.startswith("{p}")] for side in (LIKED, DISLIKED))
    good, bad = ({tokenizer(" " + verb)["input_ids"][0] for verb in side} for side in verbs)
    good, bad = sorted(good - bad), sorted(bad - good)  # "was" begins reactions of both sides
    liked = logits[:, good].logsumexp(-1) > logits[:, bad].logsumexp(-1)
    is_good, is_bad = (torch.isin(target, target.new_tensor(side)) for side in (good, bad))
    return torch.cat([liked[is_good], ~liked[is_bad]]).float().mean().item()
