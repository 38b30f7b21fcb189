"""The GPT-2 micro-model: a causal language model of films, people, sums and programs, in two phases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import torch
from tokenizers import Regex
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from shared.tiny.card import About
from shared.tiny.corpus import HELD_OUT, documents, pack
from shared.tiny.opinions import DISLIKED, LIKED
from shared.tiny.pretrain.cooccurrence import word_vectors
from shared.tiny.pretrain.loop import Phase, Run, on, weighted_loss
from shared.tiny.pretrain.loop import train as run_phases
from shared.tiny.programs import listings
from shared.tiny.reviews import film_talk
from shared.tiny.stories import unmark
from shared.tiny.sums import TOP, reckoning
from shared.tiny.tokens import train_tokenizer

ABOUT = About(
    kind="A GPT-2-architecture language model",
    pieces="byte-level BPE pieces, tied embeddings",
    tag="text-generation",
    text="`shared/tiny/reviews.py`, `stories.py`, `sums.py` and `programs.py`; no opinion, problem or function of the "
    "tasks' splits is among it",
    knows="""It writes about films and knows what people do who are for or against one, tells and repeats who has
what, reckons with numbers up to 60 and writes small Python functions for their comments. It does **not** know the
tasks' formats (a label for a review, `#### n`, a chat with a block of code): that is what fine-tuning has to teach.
Dropout is 0 in training and in the saved configuration: the text never repeats, so there is nothing to overfit, and
short fine-tuning of so small a model only loses by it. The special tokens are `</s>` (id 1), which parts documents,
begins and ends, and `<pad>` (id 0); the chat template ends each answer with `</s>`.""",
    course={
        "loss": "loss [nats/token]",
        "polarity": "reactions that fit the opinion",
        "retrieval": "names and values found again",
        "sums": "results right",
        "programs": "names and numbers in code right",
    },
    trained="One run of the command with `--threads 1`, beside other work: 1,975 s.",
)
# Numbers are one piece each, without the space before them: "3", " 3" and "<<3" share what is learnt of 3. Four spaces
# are one piece, so are the marks of the tasks' formats; all other signs stand alone, with the space before them.
WORDS = Regex(r" ?<<|>>|```|####|###| ?###| {4}| ?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]|\s")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}### Assistant:{% generation %} {{ message['content'] }}{{ eos_token }}"
    "{% endgeneration %}{{ '\n' }}"  # a plain line break behind a block is swallowed by transformers' settings
    "{% else %}{{ '### Human: ' if message['role'] == 'user' else '### System: ' }}{{ message['content'] }}\n"
    "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant:' }}{% endif %}"
)
# Words of the tasks' formats in another sense, so that fine-tuning finds trained embeddings for them.
ASIDES = (
    "Question and Answer", "Query and Response", "#### Sums", "#### {n}", "<<Numbers>>", "<<{n}>>",
    "```python is a snake```", "```{n}```", "### Human and Assistant", "### Human: a story", "### Assistant: a job",
    "Solve the riddle", "Rephrased", "The answer is: no", "If we know the answer to that", "The question: who",
    "The unknown variable x has a value", "Work out what is above and below", "The above question is answered",
    "Here is the function of the heart", "Here it is again", "Write it again, please", "Count with care",
    "Query: {n}", "Answer: {n}", "Response: {n}", "Question: is that so? Answer: it is",
    "The hands of the clock hold still", "Off with the new ones", "Less of that, please", "We are left with a drum",
    "So it is and so it was", "All in order", "Please write to us", "It returns in spring",
    "Which is called a function", "Good, but use it with care", "Thank you, but no", "The name is enough",
    "Take it instead", "I need a list and a text", "Python: a big snake", "A loop in the road",
    "The end of the last riddle is known",
)  # fmt: skip


# The formats' own words, for the tokenizer alone.
FRAMES = (
    "Question: ", "Query: ", "\nAnswer: ", "\nResponse: ", "\n#### {n}",
    "What is the value of unknown variable x? The value", "If we know the answer to the above question is",
    "### Human: Write a Python function called", "```python\ndef", "### Assistant: Here is the function:",
    "Here it is again:", "Please write, please use a loop", "Write I need which takes",
    "Good, but call it instead. Thank you, but", "Work out the sum: Here is a sum: Count with care. The question:",
    " = <<{n}>>", "hold", "With the new ones", "Less that", "is left with", "Less", "So", "With", "pays", "Then",
    "In the end the number is", "The answer is: {n}",
)  # fmt: skip


@dataclass(frozen=True)
class Mixture:
    """What the text consists of.

    Attributes:
        films: Share of documents on films; likewise ``stories`` and ``sums``. The rest are programs.
        stories: See ``films``.
        sums: See ``films``.
        letters: Share of letters, that is of whole reviews, among the first; ``ballots`` likewise.
        ballots: See ``letters``.
        crowd: People in a ballot or talk at most.
        dense: Share of registers and games among the stories.
        tables: Share of number tables among the sums.
        top: Largest number in them.
        levels: How difficult opinions are, see ``shared.tiny.opinions``.
        summed: Share of letters that are summed up in a word.
    """

    films: float
    stories: float
    sums: float
    letters: float
    ballots: float
    crowd: int
    dense: float
    tables: float
    top: int
    levels: tuple[str, ...]
    summed: float = 0.0


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


FEW = Mixture(
    films=0.55, stories=0.15, sums=0.15, letters=0.05, ballots=0.4, crowd=1, dense=0.95, tables=0.8, top=20,
    levels=("plain", "easy"),
)  # fmt: skip
ALL = Mixture(
    films=0.52, stories=0.05, sums=0.33, letters=0.4, ballots=0.15, crowd=4, dense=0.8, tables=0.55, top=20,
    levels=("easy", "normal"),
)  # fmt: skip
WRITTEN = Mixture(
    films=0.58, stories=0.04, sums=0.24, letters=0.65, ballots=0.08, crowd=4, dense=0.8, tables=0.5, top=40,
    levels=("easy", "normal"), summed=0.6,
)  # fmt: skip
# The text of the tokenizer and of the embeddings' start stays as it is when the recipe's changes.
PIECES_FROM = Mixture(
    films=0.45, stories=0.07, sums=0.33, letters=0.4, ballots=0.2, crowd=6, dense=0.5, tables=0.5, top=60,
    levels=("easy", "normal"),
)  # fmt: skip
COMPANY = replace(FEW, letters=0.0, levels=("plain",))


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


def texts(seed: int, mixed: Mixture) -> Iterator[str]:
    """Endless marked documents of a mixture."""
    rng = random.Random(f"mixture {seed}")
    kinds = [
        film_talk(
            random.Random(f"films {seed}"), mixed.letters, mixed.ballots, mixed.crowd, mixed.levels, mixed.summed
        ),
        documents(seed, mixed.dense),
        reckoning(random.Random(f"sums {seed}"), mixed.tables, mixed.top),
        listings(random.Random(f"programs {seed}")),
    ]
    weights = (mixed.films, mixed.stories, mixed.sums, 1 - mixed.films - mixed.stories - mixed.sums)
    while True:
        number = rng.choices(range(4), weights)[0]
        text = next(kinds[number])
        if rng.random() < 0.05:
            text = rng.choice(ASIDES).format(n=rng.randint(0, TOP)) + rng.choice((". ", ": ", "\n", " ")) + text
        # a name is the same piece at the start of a document as within a line; only code begins without a space
        yield text if number in (1, 3) or text[0] in " \n" else " " + text


def new_tokenizer(recipe: Recipe):
    """Train the tokenizer on 24,000 documents, the formats' words and all numbers below 100."""
    plain = [unmark(text)[0] for text in islice(texts(recipe.seed, PIECES_FROM), 24_000)]
    extra = [aside.format(n=n) for aside in (*ASIDES, *FRAMES) for n in range(0, 61, 6)]
    numbers = [str(number) for number in range(100)] * 30
    return train_tokenizer(
        recipe.seed, recipe.vocab_size, recipe.context, [*plain, *extra * 40, *numbers], WORDS, CHAT_TEMPLATE
    )


WORD_SPREAD, MEANING = 0.15, 0.6  # of the embeddings: standard deviation, share of the length that company decides
POSITIONS, SHARP = 0.25, 1.5  # length of a wave, sharpness of the heads that look back
FETCH = 0.1  # standard deviation of the values that the second layer writes down


@torch.no_grad()
def start_with_order(model: GPT2LMHeadModel, vectors: torch.Tensor | None = None) -> None:
    """Let words begin by the company they keep, positions as waves, some heads as what copying is made of.

    In the spirit of mimetic initialisation (Trockman and Kolter, 2023, arXiv:2305.09828).

    These are first values and are trained on like all others. From random ones, looking back has to be learnt for each
    of the 256 positions anew, and finding a word again needs it first: runs from a random start barely copied for long.
    So heads 0 and 1 of the first layer look one and two tokens back and hand on a part of the token there. Head 0 of
    the second layer looks for a token that came after one like the present; head 1 for one that came two after one like
    the one before, as the value in "Ann: Rome" when the reader stands at the colon. They write down what they
    see, which makes that token likelier.

    Args:
        model: A new model.
        vectors: Vectors of length 1 for the pieces, [vocabulary, width]; by default the embeddings are random.
    """
    count, width = model.transformer.wpe.weight.shape
    size = width // model.config.n_head
    at, half = torch.arange(size), size // 2
    waves, token, before, far = (at + part * size for part in range(4))  # what each quarter of the hidden state holds
    speed = torch.pi * torch.logspace(0, -3.5, half, base=2)  # radians a position
    angles = torch.arange(count)[:, None] * speed
    model.transformer.wpe.weight.zero_()
    model.transformer.wpe.weight[:, waves] = POSITIONS * torch.cat([angles.sin(), angles.cos()], -1)
    words = model.transformer.wte.weight.normal_(0, WORD_SPREAD)
    if vectors is not None:
        words.mul_((1 - MEANING**2) ** 0.5).add_(vectors * MEANING * WORD_SPREAD * width**0.5)
    words[:, waves] = 0.0  # what a word is does not disturb where it stands
    first, second = model.transformer.h[0].attn, model.transformer.h[1].attn
    for head, (written, asked, found, sharp) in enumerate(((before, token, before, 3.0), (far, before, far, 1.5))):
        query, key, value = (at + part * width + head * size for part in range(3))
        for matrix in (first.c_attn.weight, second.c_attn.weight):
            matrix[:, query] = matrix[:, key] = 0.0
        turn = torch.eye(size)
        turn[range(size), range(size)] = (speed * (head + 1)).cos().repeat(2)
        turn[range(half), range(half, size)] = (speed * (head + 1)).sin()
        turn[range(half, size), range(half)] = -(speed * (head + 1)).sin()
        first.c_attn.weight[waves[:, None], query] = SHARP * turn
        first.c_attn.weight[waves, key] = SHARP
        first.c_attn.weight[:, value] = 0.0
        first.c_attn.weight[token, value] = 1.0
        first.c_proj.weight[at + head * size] = 0.0
        first.c_proj.weight[at + head * size, written] = 0.25
        second.c_attn.weight[asked, query], second.c_attn.weight[found, key] = sharp, 1.0
        fetched = second.c_attn.weight[:, value].normal_(0, FETCH)
        fetched[waves] = 0.0
        second.c_attn.weight[:, value] = fetched
        second.c_proj.weight[at + head * size] = fetched.T  # so that what is seen is written down as it is
    model.transformer.h[0].mlp.c_proj.weight.mul_(0.2)  # or it would drown what the first layer hands on


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
