"""The T5 micro-model: lists, span corruption, then prefix language modelling (Lester et al. 2021) on bills retold."""

from __future__ import annotations

import random
from collections.abc import Iterator
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
from shared.tiny.retellings import BILLS, documents
from shared.tiny.stories import unmark
from shared.tiny.unigram import SENTINELS, train_tokenizer

IGNORED = -100  # label of a position without loss

ABOUT = About(
    kind="A T5-architecture encoder-decoder",
    pieces="SentencePiece-style unigram pieces, tied embeddings",
    tag="text2text-generation",
    text="`shared/tiny/retellings.py`: bills told again in other words, indexes, stories",
    knows="""It fills gaps (`<extra_id_0>` …) and goes on with a text: given a bill, it tells some of it again in one of
many wordings of its world. It does **not** write summaries in the style of the task `billsum`: that is what fine-tuning
has to teach. The special tokens are T5's: `<pad>` (id 0, begins the decoder too), `</s>` (id 1), `<unk>` (id 2).""",
    course={
        "span_loss": "span corruption, loss [nats/token]",
        "loss": "continuation, loss [nats/token]",
        "copy_loss": "loss on words that the bill determines",
        "copy": "share of them that is right",
        "lookup": "the same on pairs and indexes",
    },
    trained="Made by one call of the command above, on one thread, beside other work.",
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
    quiet: float = 0.2  # share of that for what layers write, or it would drown what is handed on
    sharp: float = 6.0  # first value of the relative biases that point to one neighbour
    handed: float = 0.3  # length at which those heads hand on the neighbour
    match: float = 0.4  # how sharply cross-attention looks for the same word at first
    fetch: float = 0.12  # standard deviation of the values it writes down
    marked: float = 4.0  # weight of a word that the beginning determines; that of the others is 1
    fresh: int = 100  # steps for which text is generated at a time


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
    _start_small(model, recipe)
    _point_to_neighbours(model, recipe.sharp)
    _start_looking_up(model, recipe)
    return model


@torch.no_grad()
def _start_small(model: T5ForConditionalGeneration, recipe: Recipe) -> None:
    """Start the embeddings with one spread and all other matrices with a smaller one.

    T5 starts its embeddings with 1, made smaller before the head, and leaves attention scores undivided. So queries
    start, as T5's do, smaller by the root of the head's width, and the last norm makes up for smaller embeddings.
    """
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "relative" not in name:
            share = {"q": recipe.head**-0.5, "o": recipe.quiet, "wo": recipe.quiet}.get(name.split(".")[-2], 1.0)
            weight.normal_(0.0, recipe.spread * share)
    model.shared.weight.normal_(0.0, recipe.embedded)
    model.decoder.final_layer_norm.weight.fill_(1 / recipe.embedded)


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
def _point_to_neighbours(model: T5ForConditionalGeneration, sharp: float) -> None:
    """Start two heads of each stack on a neighbouring token and one on its surroundings; the others stay free.

    T5's relative biases [buckets, heads] start near 0 and move no faster than the learning rate: after 500 steps none
    of the encoder's was above 0.3. Yet all looking up rests on binding a word to the one beside it.
    """
    buckets = model.config.relative_attention_num_buckets // 2  # of each direction in the encoder
    starts = (
        (model.encoder, {0: [1], 1: [buckets + 1], 2: [2], 3: [0, 1, 2, 3, *range(buckets + 1, buckets + 4)]}),
        (model.decoder, {0: [1], 1: [2], 2: [0, 1, 2, 3, 4, 5]}),
    )
    for stack, heads in starts:
        bias = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        for head, pointed in heads.items():
            bias[pointed, head] += sharp / (1 if len(pointed) == 1 else 2)


BEFORE, FAR = 3, 2  # quarters of the hidden state that hold the token before and the one before that


@torch.no_grad()
def _start_looking_up(model: T5ForConditionalGeneration, recipe: Recipe) -> None:
    """Let the heads on neighbours hand on what stands there, and cross-attention look for the same word.

    A word is found again in three steps: the encoder writes beside each token the one before it, the decoder's last
    token looks for a place with that token before it, and writes down what stands there. A second pair of heads does so
    one token further, as for the value in "Ann: Rome" when the reader stands at the colon. As in
    ``shared.tiny.pretrain.gpt2.start_with_order``, these are first values and are trained on.
    """
    size = recipe.head
    at, token = torch.arange(size), torch.arange(size)
    before, far = at + BEFORE * size, at + FAR * size
    model.shared.weight[:, before] = 0.0  # what a word is does not disturb what stands before it
    encoder, decoder = model.encoder.block[0].layer[0].SelfAttention, model.decoder.block[0].layer[0].SelfAttention
    _hand_on(encoder, 0, token, before, recipe)
    _hand_on(encoder, 2, token, far, recipe)
    _hand_on(decoder, 0, token, before, recipe)
    for block in model.decoder.block[1:]:
        cross = block.layer[1].EncDecAttention
        _look_up(cross, 0, token, before, recipe)
        _look_up(cross, 1, before, far, recipe)


def _hand_on(attention: torch.nn.Module, head: int, token: torch.Tensor, to: torch.Tensor, recipe: Recipe) -> None:
    """Head ``head`` attends by position alone and copies the quarter ``token`` of what stands there to ``to``."""
    rows = torch.arange(recipe.head) + head * recipe.head
    attention.q.weight[rows] *= 0.1
    attention.v.weight[rows] = 0.0
    attention.v.weight[rows, token] = 1.0
    attention.o.weight[:, rows] = 0.0
    attention.o.weight[to, rows] = recipe.handed


def _look_up(attention: torch.nn.Module, head: int, asked: torch.Tensor, found: torch.Tensor, recipe: Recipe) -> None:
    """Head ``head`` attends where the quarter ``found`` is like its own quarter ``asked`` and copies that token."""
    rows = torch.arange(recipe.head) + head * recipe.head
    attention.q.weight[rows] = attention.k.weight[rows] = 0.0
    attention.q.weight[rows, asked] = recipe.match
    attention.k.weight[rows, found] = 1.0
    attention.v.weight[rows] = attention.v.weight[rows].normal_(0, recipe.fetch)
    attention.v.weight[rows[:, None], found] = 0.0
    attention.o.weight[:, rows] = attention.v.weight[rows].T


def noise_spans(length: int, recipe: Recipe, rng: random.Random) -> list[tuple[int, int]]:
    """Draw the gaps of span corruption as T5 does: lengths are random parts of a fixed total, text lies between.

    Returns:
        (first, behind the last) of each gap, in order; no two gaps touch and none begins the text.
    """
    noise = max(1, round(length * recipe.corrupted))
    count = max(1, min(round(noise / recipe.span), SENTINELS, length - noise))
    gaps, kept = _parts(noise, count, rng), _parts(length - noise, count, rng)
    spans, at = [], 0
    for text, gap in zip(kept, gaps, strict=True):
        spans.append((at + text, at + text + gap))
        at += text + gap
    return spans


def _parts(total: int, count: int, rng: random.Random) -> list[int]:
    cuts = sorted(rng.sample(range(1, total), count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def corrupt(ids: list[int], sentinels: list[int], recipe: Recipe, rng: random.Random) -> tuple[list[int], list[int]]:
    """Take spans out of a text.

    Args:
        ids: Tokens of the text, no end token.
        sentinels: Ids of ``<extra_id_0>`` …
        recipe: Share and length of the gaps.
        rng: Where they come from.

    Returns:
        The text with a sentinel in each gap, and sentinels each followed by what stood there; both end with the end
        token.
    """
    source, target, at = [], [], 0
    for number, (first, behind) in enumerate(noise_spans(len(ids), recipe, rng)):
        source += [*ids[at:first], sentinels[number]]
        target += [sentinels[number], *ids[first:behind]]
        at = behind
    return [*source, *ids[at:], 1], [*target, 1]


def encoded(tokenizer, seed: int, shares: dict) -> Iterator[tuple[list[int], list[int], list[bool]]]:
    """Endless documents as tokens of the beginning, of the continuation, and which of the latter begin a marked word.

    Both end with the end token.
    """
    texts = documents(seed, shares)
    while True:
        batch = list(islice(texts, 512))
        later = [unmark(continuation) for _, continuation in batch]
        sources = tokenizer([unmark(beginning)[0] for beginning, _ in batch])["input_ids"]
        targets = tokenizer([text for text, _ in later], return_offsets_mapping=True)
        for source, target, offsets, (_, at) in zip(
            sources, targets["input_ids"], targets["offset_mapping"], later, strict=True
        ):
            marked = set(at)
            yield source, target, [b > a and (a in marked or (b - a > 1 and a + 1 in marked)) for a, b in offsets]


def padded(rows: list[list], length: int, filler) -> torch.Tensor:
    """Rows cut or filled up to one length, [rows, length]."""
    return torch.tensor([row[:length] + [filler] * (length - len(row)) for row in rows])


def continuations(tokenizer, recipe: Recipe, count: int, seed: int, shares: dict):
    """Prefix language modelling: beginnings as inputs, continuations as targets. Too long beginnings are left out.

    Returns:
        Inputs [count, source], labels [count, target] and the marks of the labels.
    """
    fitting = (d for d in encoded(tokenizer, seed, shares) if len(d[0]) <= recipe.source)
    sources, targets, marks = zip(*islice(fitting, count), strict=True)
    return (
        padded(sources, recipe.source, 0),
        padded(targets, recipe.target, IGNORED),
        padded(marks, recipe.target, False),
    )


def gaps(tokenizer, recipe: Recipe, count: int, seed: int, shares: dict):
    """Span corruption of whole documents, each cut to ``source`` tokens.

    Returns:
        Inputs [count, source], labels [count, target] and marks of the labels, none.
    """
    rng = random.Random(seed)
    sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(SENTINELS)]
    texts = islice(encoded(tokenizer, seed, shares), count)
    whole = ((source[:-1] + target[:-1])[: recipe.source] for source, target, _ in texts)
    sources, targets = zip(*(corrupt(ids, sentinels, recipe, rng) for ids in whole), strict=True)
    labels = padded(targets, recipe.target // 3, IGNORED)
    return padded(sources, recipe.source, 0), labels, torch.zeros_like(labels, dtype=torch.bool)


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


def trimmed(rows: torch.Tensor, filler: int) -> torch.Tensor:
    """The rows without the padding that none of them needs; widths are multiples of 8."""
    used = int((rows != filler).sum(1).max())
    return rows[:, : -(-used // 8) * 8].contiguous()


LISTS = {"echo": 0.15, "pairs": 0.35, "index": 0.3, "bills": 0.2}


def text_at(recipe: Recipe, step: int) -> dict[str, float]:
    """Shares of the sorts of text from which step ``step`` learns, for ``documents``.

    Lists come first: they are densest in what has to be looked up. Bills and stories first reward knowing what sort of
    word comes next.
    """
    return LISTS if step < recipe.lists else BILLS


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
