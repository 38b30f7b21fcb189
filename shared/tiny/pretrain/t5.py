"""The T5 micro-model: lists, span corruption, then prefix language modelling (Lester et al. 2021) on bills."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from shared.tiny.card import About
from shared.tiny.corpus import HELD_OUT
from shared.tiny.pretrain.loop import Phase, Run, on, weighted_loss
from shared.tiny.pretrain.loop import new_optimizer as shared_optimizer
from shared.tiny.pretrain.loop import train as run_phases
from shared.tiny.pretrain.t5_start import point_to_neighbours, start_looking_up, start_small
from shared.tiny.pretrain.t5_text import IGNORED, continuations, gaps, text_at, trimmed
from shared.tiny.retellings import BILLS, documents
from shared.tiny.stories import unmark
from shared.tiny.unigram import train_tokenizer

ABOUT = About(
    kind="A T5-architecture encoder-decoder",
    pieces="SentencePiece-style unigram pieces, tied embeddings",
    tag="text2text-generation",
    text="`shared/tiny/retellings.py`: bills and retellings in other words, indexes, stories",
    knows="""It fills gaps (`<extra_id_0>` …) and continues texts: after a bill it repeats some of its content in other
words. It does **not** write summaries in the style of the task `billsum`: fine-tuning has to teach it. The special
tokens are T5's: `<pad>` (id 0, also the decoder's start token), `</s>` (id 1), `<unk>` (id 2).""",
    course={
        "span_loss": "span corruption, loss [nats/token]",
        "loss": "continuation, loss [nats/token]",
        "copy_loss": "loss on words that the bill determines",
        "copy": "share of them that is correct",
        "lookup": "the same on pairs and indexes",
    },
    trained="One run of the command above on one thread, while other processes were running.",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a pretrained model."""

    seed: int = 20
    vocab_size: int = 1500
    hidden: int = 128
    layers: int = 3  # of the encoder, and as many of the decoder
    heads: int = 4
    head: int = 32
    inner: int = 384
    context: int = 512
    source: int = 80  # tokens of an input
    target: int = 72
    corrupted: float = 0.15  # share of tokens that span corruption takes out
    span: float = 3.0  # tokens of a gap on average
    batch: int = 32
    lists: int = 300  # steps of copying and looking up words
    spans: int = 500  # steps of span corruption
    steps: int = 1800  # steps of prefix language modelling
    rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.05
    bfloat16: bool = True
    spread: float = 0.05  # standard deviation of the initial matrices
    embedded: float = 0.3  # and of the embeddings; T5 itself has 1
    quiet: float = 0.2  # share of that for the layers' outputs, so that they do not hide what is passed on
    sharp: float = 6.0  # first value of the relative biases that point to one neighbour
    handed: float = 0.3  # length of the neighbour that those heads pass on
    match: float = 0.4  # how sharply cross-attention looks for the same word at first
    fetch: float = 0.12  # standard deviation of the values it writes down
    marked: float = 4.0  # weight of a word that the beginning determines; that of the others is 1
    fresh: int = 100  # steps for which text is generated at a time


def sample(count: int) -> list[str]:
    """Beginnings and continuations, as the model reads and writes them."""
    found = islice(documents(Recipe().seed, BILLS), count)
    return [f"{unmark(beginning)[0]}\n-> {unmark(continuation)[0]}" for beginning, continuation in found]


def new_model(recipe: Recipe, vocab_size: int) -> T5ForConditionalGeneration:
    """Return a randomly initialised model of the recipe's shape."""
    special = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=vocab_size, d_model=recipe.hidden, d_kv=recipe.head, d_ff=recipe.inner, num_layers=recipe.layers,
            num_heads=recipe.heads, dropout_rate=0.0, feed_forward_proj="relu",
            n_positions=recipe.context, **special,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(max_new_tokens=64, **special)
    start_small(model, recipe)
    point_to_neighbours(model, recipe.sharp)
    start_looking_up(model, recipe)
    return model


def new_optimizer(model: torch.nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW in which the queries learn slower, by the root of the head's width.

    T5 does not divide attention scores by that root, so this gives them the dynamics of other transformers. On bills,
    at one rate for all, most heads looked at one token only (largest weight 0.7) before anything could be looked up.
    """
    groups = shared_optimizer(model, rate, decay).param_groups
    queries = {id(p) for name, p in model.named_parameters() if name.endswith(".q.weight")}
    share = model.config.d_kv**-0.5
    kept = [
        {"params": [p for p in g["params"] if id(p) not in queries], "weight_decay": g["weight_decay"]} for g in groups
    ]
    slow = {"params": [p for p in model.parameters() if id(p) in queries], "weight_decay": decay, "share": share}
    return torch.optim.AdamW([*kept, slow], lr=rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def held_out(model, tokenizer, recipe: Recipe, count: int = 128) -> dict[str, float]:
    """Measure the model on bills and retellings that pretraining never sees.

    Returns:
        ``span_loss`` of span corruption, ``loss`` of continuations, ``copy_loss`` [nats] and ``copy`` (share right)
        over the first tokens of the words that the bill determines; ``lookup``, the same share on pairs and indexes.
    """
    seed = recipe.seed + HELD_OUT
    sources, labels, _ = on(model.device, gaps(tokenizer, recipe, count, seed, {"bills": 1}))
    span_loss = _losses(model, sources, labels)[0]
    sources, labels, marks = on(model.device, continuations(tokenizer, recipe, count, seed, {"bills": 1}))
    loss, right = _losses(model, sources, labels)
    lists = on(model.device, continuations(tokenizer, recipe, count // 2, seed, {"pairs": 1, "index": 1}))
    found = _losses(model, *lists[:2])[1][lists[2]]
    return {
        "span_loss": span_loss[span_loss > 0].mean().item(),
        "loss": loss[labels != IGNORED].mean().item(),
        "copy_loss": loss[marks].mean().item(),
        "copy": right[marks].float().mean().item(),
        "lookup": found.float().mean().item(),
    }


def _losses(model, sources: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = model(input_ids=sources, attention_mask=sources != 0, labels=labels).logits.float()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return loss.view_as(labels), logits.argmax(-1) == labels


def phases(recipe: Recipe, tokenizer) -> list[Phase]:
    """Lists, span corruption, then language modelling: a soft prompt needs a model that writes whole texts."""

    def batches(made):
        @lru_cache(maxsize=1)
        def text(first: int) -> list[tuple[torch.Tensor, ...]]:
            count, seed = recipe.fresh * recipe.batch, recipe.seed + 1 + first
            parts = (p.split(recipe.batch) for p in made(tokenizer, recipe, count, seed, text_at(recipe, first)))
            made_of = [(trimmed(x, 0), trimmed(y, IGNORED), z) for x, y, z in zip(*parts, strict=True)]
            return [(x, y, z[:, : y.shape[1]]) for x, y, z in made_of]

        return lambda step: text(step - step % recipe.fresh)[step % recipe.fresh]

    return [
        Phase("lists", recipe.lists, recipe.rate, batches(continuations), recipe.warmup, 2 * recipe.lists),
        Phase("span corruption", recipe.spans, recipe.rate, batches(gaps), recipe.warmup, 2 * recipe.spans),
        Phase("continuation", recipe.steps, recipe.rate, batches(continuations), recipe.warmup),
    ]


def train(recipe: Recipe, **how):
    """Run the recipe.

    Args:
        recipe: The recipe.
        how: As :class:`shared.tiny.pretrain.loop.Run` has it. Nothing is compiled: rows have many widths.

    Returns:
        Model, tokenizer and the log, a list of dicts.
    """
    run = Run(**how)
    torch.manual_seed(recipe.seed)
    tokenizer = run.tokenizer or train_tokenizer(recipe.seed, recipe.vocab_size, recipe.context)
    model = new_model(recipe, len(tokenizer))
    if run.start:
        model = T5ForConditionalGeneration.from_pretrained(run.start, dtype=torch.float32)
    model.to(run.device)

    def forward(sources: torch.Tensor, labels: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
        # Matrix products in bfloat16 (weights stay float32): 2.5 times as fast on a CPU that knows it.
        with torch.autocast(model.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            before = model.prepare_decoder_input_ids_from_labels(labels)
            logits = model(
                input_ids=sources, attention_mask=sources != 0, decoder_input_ids=before, use_cache=False
            ).logits
        return weighted_loss(logits, labels, marks, recipe.marked)

    log = run_phases(
        model, phases(recipe, tokenizer), loss_of=lambda batch: forward(*batch),
        measure=lambda: held_out(model, tokenizer, recipe, 64),
        decay=recipe.decay, **run.kept_by(model, tokenizer), new_optimizer=new_optimizer,
    )  # fmt: skip
    return model, tokenizer, log
