"""The GPT-2 micro-model: a causal language model trained on texts about films, people, sums and programs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from tokenizers import Regex
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from shared.tiny.card import About
from shared.tiny.corpus import pack
from shared.tiny.pretrain.cooccurrence import word_vectors
from shared.tiny.pretrain.gpt2_held_out import held_out
from shared.tiny.pretrain.gpt2_start import start_with_order
from shared.tiny.pretrain.gpt2_text import ALL, ASIDES, COMPANY, FEW, FRAMES, PIECES_FROM, WRITTEN, Mixture, texts
from shared.tiny.pretrain.loop import Phase, Run, weighted_loss
from shared.tiny.pretrain.loop import train as run_phases
from shared.tiny.stories import unmark
from shared.tiny.tokens import train_tokenizer

ABOUT = About(
    kind="A GPT-2-architecture language model",
    pieces="byte-level BPE pieces, tied embeddings",
    tag="text-generation",
    text="`shared/tiny/reviews.py`, `stories.py`, `sums.py` and `programs.py`; no opinion, problem or function of the "
    "tasks' splits is among it",
    knows="""It has learnt texts about films and the reactions of people who like or dislike them, facts about people,
calculations with numbers up to 60, and small Python functions with their comments. It does **not** know the formats of
the tasks (a label for a review, `#### n`, a chat with a block of code): fine-tuning has to teach them. Dropout is 0 in
training and in the saved configuration: the text never repeats, so overfitting is not possible, and dropout would only
slow down short fine-tuning runs of so small a model. The special tokens are `</s>` (id 1), which separates documents
and is the beginning and end token, and `<pad>` (id 0); the chat template ends each answer with `</s>`.""",
    course={
        "loss": "loss [nats/token]",
        "polarity": "reactions that match the opinion",
        "retrieval": "names and values retrieved",
        "sums": "correct results",
        "programs": "correct names and numbers in code",
    },
    trained="One run of the command with `--threads 1`, while other processes were running: 1,975 s.",
)
# Numbers are one piece each, without the space before them: "3", " 3" and "<<3" share what is learnt of 3. Four spaces
# are one piece, so are the marks of the tasks' formats; all other signs stand alone, with the space before them.
WORDS = Regex(r" ?<<|>>|```|####|###| ?###| {4}| ?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]|\s")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}### Assistant:{% generation %} {{ message['content'] }}{{ eos_token }}"
    "{% endgeneration %}{{ '\n' }}"  # transformers' settings remove a plain line break after a block
    "{% else %}{{ '### Human: ' if message['role'] == 'user' else '### System: ' }}{{ message['content'] }}\n"
    "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Stage:
    """A phase of pretraining.

    Attributes:
        name: For the log.
        steps: Optimizer steps.
        rate: Peak learning rate.
        rows: Rows of the whole context in a batch.
        text: What it learns from.
        horizon: Step at which the rate would reach its end; by default the last.
    """

    name: str
    steps: int
    rate: float
    rows: int
    text: Mixture
    horizon: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a pretrained model.

    The first stage is dense in what has to be learnt: plain views of one person at a time, registers, tables, programs.
    When words of praise and blame are known and copying has appeared, the second binds views to persons and tells
    stories.
    """

    seed: int = 20
    vocab_size: int = 1600
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 512
    context: int = 256
    stages: tuple[Stage, ...] = (
        Stage("few people", 600, 1.5e-3, 8, FEW, horizon=3000),
        Stage("all text", 900, 1.5e-3, 8, ALL, horizon=3000),
        Stage("mostly letters", 4700, 1.5e-3, 8, WRITTEN),
    )
    warmup: int = 100
    decay: float = 0.05
    spread: float = 0.05  # standard deviation of the initial weights
    counted: int = 20_000  # documents in which words that stand together are counted, for the embeddings' start
    fresh: int = 100  # steps for which text is generated at a time
    marked: float = 4.0  # weight of a word that the text before it determines; that of the others is 1
    bfloat16: bool = True  # matrix products only; weights stay float32. Faster on CPUs that know it


def stage_at(recipe: Recipe, step: int) -> Stage:
    """The stage in which step ``step`` of the whole run is."""
    for stage in recipe.stages:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return recipe.stages[-1]


def sample(count: int) -> list[str]:
    """Documents of the last stage, as the model reads them."""
    recipe = Recipe()
    return [unmark(text)[0].strip() for text in islice(texts(recipe.seed, recipe.stages[-1].text), count)]


def new_tokenizer(recipe: Recipe):
    """Train the tokenizer on 24,000 documents, the formats' words and all numbers below 100."""
    plain = [unmark(text)[0] for text in islice(texts(recipe.seed, PIECES_FROM), 24_000)]
    extra = [aside.format(n=n) for aside in (*ASIDES, *FRAMES) for n in range(0, 61, 6)]
    numbers = [str(number) for number in range(100)] * 30
    return train_tokenizer(
        recipe.seed, recipe.vocab_size, recipe.context, [*plain, *extra * 40, *numbers], WORDS, CHAT_TEMPLATE
    )


def vectors(recipe: Recipe, tokenizer) -> torch.Tensor:
    """Vectors of the pieces, [vocabulary, width], from what stands together in plain documents."""
    plain = [unmark(text)[0] for text in islice(texts(recipe.seed, COMPANY), recipe.counted)]
    return word_vectors(tokenizer(plain)["input_ids"], len(tokenizer), recipe.hidden, special=2)


def new_model(
    recipe: Recipe, vocab_size: int, end: int, pad: int, vectors: torch.Tensor | None = None
) -> GPT2LMHeadModel:
    """Return a new model of the recipe's shape; ``vectors`` as for :func:`start_with_order`."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab_size, n_positions=recipe.context, n_embd=recipe.hidden, n_layer=recipe.layers,
            n_head=recipe.heads, n_inner=recipe.inner,
            initializer_range=recipe.spread, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            summary_first_dropout=0.0, bos_token_id=end, eos_token_id=end, pad_token_id=pad, loss_type="ForCausalLM",
        )
    )  # fmt: skip
    start_with_order(model, vectors)
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=pad, max_new_tokens=60)
    return model


def phases(recipe: Recipe, tokenizer) -> list[Phase]:
    """The recipe's stages, each with its text."""

    @lru_cache(maxsize=1)
    def rows(first: int) -> tuple[torch.Tensor, torch.Tensor]:
        stage = stage_at(recipe, first)
        mixed = texts(recipe.seed + 1 + first, stage.text)
        return pack(tokenizer, mixed, recipe.fresh * stage.rows, recipe.context)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        count = stage_at(recipe, step).rows
        at = step % recipe.fresh * count
        ids, marks = rows(step - step % recipe.fresh)
        return ids[at : at + count].long(), marks[at : at + count]

    return [Phase(one.name, one.steps, one.rate, batch, recipe.warmup, one.horizon) for one in recipe.stages]


def train(recipe: Recipe, **how):
    """Run the recipe.

    Args:
        recipe: The recipe.
        how: As :class:`shared.tiny.pretrain.loop.Run` has it. Nothing is compiled: in bfloat16 it brings little.

    Returns:
        Model, tokenizer and the log, a list of dicts.
    """
    run = Run(**how)
    torch.manual_seed(recipe.seed)
    tokenizer = run.tokenizer or new_tokenizer(recipe)
    if run.start:
        model = GPT2LMHeadModel.from_pretrained(run.start, dtype=torch.float32)
    else:
        ends = tokenizer.eos_token_id, tokenizer.pad_token_id
        model = new_model(recipe, len(tokenizer), *ends, vectors(recipe, tokenizer))
    model.to(run.device)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, marks = batch
        with torch.autocast(model.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return weighted_loss(logits, ids[:, 1:], marks[:, 1:], recipe.marked)

    log = run_phases(
        model, phases(recipe, tokenizer),
        loss_of=loss_of, measure=lambda: held_out(model, tokenizer, recipe, 12),
        decay=recipe.decay, **run.kept_by(model, tokenizer),
    )  # fmt: skip
    return model, tokenizer, log
