"""The Llama micro-model: a causal language model trained on stories about people, in two phases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from shared.tiny.card import About
from shared.tiny.corpus import HELD_OUT, documents, rows
from shared.tiny.pretrain.loop import Phase, Run, on
from shared.tiny.pretrain.loop import train as run_phases
from shared.tiny.stories import unmark
from shared.tiny.tokens import train_tokenizer

ABOUT = About(
    kind="A Llama-architecture language model",
    pieces="byte-level BPE pieces, tied embeddings",
    tag="text-generation",
    text="`shared/tiny/corpus.py`, 20.5 M tokens; no story of the tasks' splits is among it",
    knows="""It writes short stories and can retrieve from a text what is asked about in prose. It does **not** follow
the formats `### Human: … ### Assistant: …` and `### Instruction: …`: fine-tuning has to teach them. The special tokens
are `</s>` (id 1), which separates documents and is the beginning and end token, and `<pad>` (id 0).""",
    course={
        "loss": "loss [nats/token]",
        "retrieval_loss": "loss on words that the context determines",
        "retrieval": "share of them that is correct",
    },
    trained="The two phases were run one after the other (`--go-on`), on one thread: 1,118 s and 696 s, while "
    "other processes were running.",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a pretrained model."""

    seed: int = 20
    vocab_size: int = 1408
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 384
    context: int = 512
    row: int = 128
    batch: int = 32
    early: int = 1000  # steps at first on text that is mostly registers and games
    early_dense: float = 0.9
    dense: float = 0.4
    steps: int = 3000
    horizon: int = 4500  # steps after which the first phase's rate would reach its end
    late: int = 2000  # steps of the second phase: quizzes join, fresh optimizer, rate falls to its end
    late_rate: float = 2e-3
    quizzes: float = 0.5
    rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.05
    spread: float = 0.05  # standard deviation of the initial weights
    fresh: int = 250  # steps for which text is generated at a time


def new_model(recipe: Recipe, vocab_size: int, end: int, pad: int) -> LlamaForCausalLM:
    """Return a randomly initialised model of the recipe's shape."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size, hidden_size=recipe.hidden, intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.context, tie_word_embeddings=True, initializer_range=recipe.spread,
            bos_token_id=end, eos_token_id=end, pad_token_id=pad,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=pad, max_new_tokens=40)
    return model


def sample(count: int) -> list[str]:
    """Return some documents of the text."""
    return [unmark(text)[0].strip() for text in islice(documents(0), count)]


@torch.no_grad()
def held_out(model, tokenizer, recipe: Recipe, count: int = 128) -> dict[str, float]:
    """Measure the model on text that pretraining never sees.

    Returns:
        ``loss`` over all tokens [nats], ``retrieval_loss`` [nats] and ``retrieval`` (share right) over the first
        tokens of the words that the context determines.
    """
    ids, marks = on(model.device, rows(tokenizer, count, recipe.row, recipe.seed + HELD_OUT))
    loss = torch.cat([_losses(model, part.long()) for part in ids.split(32)])
    marks = marks[:, 1:]
    hit = loss[..., 1][marks]
    return {
        "loss": loss[..., 0].mean().item(),
        "retrieval_loss": loss[..., 0][marks].mean().item(),
        "retrieval": hit.mean().item(),
    }


def _losses(model, ids: torch.Tensor) -> torch.Tensor:
    logits, target = model(input_ids=ids).logits[:, :-1].float(), ids[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    return torch.stack([loss.view_as(target), (logits.argmax(-1) == target).float()], -1)


def text_at(recipe: Recipe, step: int) -> dict[str, float]:
    """Mixture of the text from which step ``step`` learns, for ``rows``."""
    if step < recipe.steps:
        return {"dense": recipe.early_dense if step < recipe.early else recipe.dense}
    return {"dense": recipe.dense, "quizzes": recipe.quizzes}


def phases(recipe: Recipe, tokenizer) -> list[Phase]:
    """The two phases; the second starts with a new schedule and adds quizzes to the text."""

    @lru_cache(maxsize=1)
    def text(first: int) -> torch.Tensor:
        count = recipe.fresh * recipe.batch
        return rows(tokenizer, count, recipe.row, recipe.seed + 1 + first, **text_at(recipe, first))[0]

    def batch(step: int) -> torch.Tensor:
        at = step % recipe.fresh * recipe.batch
        return text(step - step % recipe.fresh)[at : at + recipe.batch].long()

    return [
        Phase("stories", recipe.steps, recipe.rate, batch, recipe.warmup, recipe.horizon),
        Phase("quizzes", recipe.late, recipe.late_rate, batch, recipe.warmup),
    ]


def train(recipe: Recipe, **how):
    """Run the recipe.

    Args:
        recipe: The recipe.
        how: As :class:`shared.tiny.pretrain.loop.Run` has it. Compiled, it is about 2.5 times as fast.

    Returns:
        Model, tokenizer and the log, a list of dicts.
    """
    run = Run(**how)
    torch.manual_seed(recipe.seed)
    tokenizer = run.tokenizer or train_tokenizer(recipe.seed, recipe.vocab_size, recipe.context)
    model = new_model(recipe, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    if run.start:
        model = LlamaForCausalLM.from_pretrained(run.start, dtype=torch.float32)
    model.to(run.device)
    forward = torch.compile(model.forward) if run.compiled else model.forward
    log = run_phases(
        model, phases(recipe, tokenizer),
        loss_of=lambda ids: forward(input_ids=ids, labels=ids, use_cache=False).loss,
        measure=lambda: held_out(model, tokenizer, recipe, 64),
        decay=recipe.decay, **run.kept_by(model, tokenizer),
    )  # fmt: skip
    return model, tokenizer, log
