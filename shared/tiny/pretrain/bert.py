"""The BERT micro-model: masked words, a sentence-pair objective and replaced-token detection over text pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForPreTraining

from shared.tiny.card import About
from shared.tiny.corpus import HELD_OUT
from shared.tiny.masking import IGNORED, MaskedPairs, batches
from shared.tiny.pairs import Mix, Span, pairs
from shared.tiny.pretrain.cooccurrence import word_vectors
from shared.tiny.pretrain.loop import Phase, Run, on
from shared.tiny.pretrain.loop import train as run_phases
from shared.tiny.pretrain.start import Start, structured_start
from shared.tiny.wordpiece import train_wordpiece

ABOUT = About(
    kind="A BERT-architecture encoder",
    pieces="cased WordPiece pieces",
    tag="fill-mask",
    text="`shared/tiny/pairs.py`: events told twice, facts and questions about them, opinions and what follows, names",
    knows="""It was trained on four objectives at once: masked words; whether two texts are about the same event (the
output of [CLS]); which words of two texts contradict each other (replaced-token detection, with a grammar in place of
ELECTRA's generator); and which words of one text a mask in the other stands for (span selection). The heads of the last
two are not kept. It has never seen a label of the tasks.""",
    course={
        "masked_loss": "loss on masked words [nats]",
        "retrieval": "masked words that the other text states or implies: share correct",
        "detection_loss": "detection loss [nats/piece]",
        "found": "contradicting pieces found",
        "pointed": "asked pieces found",
        "pair": "same event or not: share correct",
    },
    trained="One run of the command with `--threads 1`, while other processes were running: 1,931 s.",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a pretrained model."""

    seed: int = 30
    vocab_size: int = 1600
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 512
    context: int = 128
    lengths: tuple[int, ...] = (32, 48, 64)
    batch: int = 48
    early: int = 800  # steps of the first phase, on text that is dense in what has to be looked up
    early_mix: Mix = Mix(0.40, 0.20, 0.03, 0.04, 0.30, 0.03, unrelated=0.05, echo=0.5, plain=1.0)
    late: int = 8000
    late_mix: Mix = Mix(0.06, 0.20, 0.14, 0.24, 0.28, 0.08, unrelated=0.10, echo=0.1, plain=0.3)
    rate: float = 1e-3
    warmup: int = 100
    horizon: int = 6000  # steps after which the first phase's rate would reach its end
    decay: float = 0.05
    spread: float = 0.05  # standard deviation of the initial weights
    start: Start = Start()
    counted: int = 40_000  # pairs in which words that stand together are counted, for the embeddings' start
    masked: float = 0.15
    looked_up: float = 0.4
    detection: float = 1.0  # weight of the detection loss
    pointing: float = 2.0  # weight of the pointing loss: few pieces are wanted, so it is small by itself
    pair: float = 0.5  # weight of the sentence-pair loss
    fresh: int = 250  # steps for which text is generated at a time
    bfloat16: bool = True  # matrix products only; weights stay float32. Twice as fast on CPUs that know it


class Pretraining(torch.nn.Module):
    """BERT with its own two heads and two more, linear layers over each piece's last hidden state.

    The detector tells pieces that contradict the other text (replaced-token detection: Clark et al., 2020,
    arXiv:2003.10555), the pointer those that a mask in the other text stands for (span selection: Glass et al., 2020,
    arXiv:1909.04120). Both are dropped after pretraining.
    """

    def __init__(self, model: BertForPreTraining, recipe: Recipe):
        super().__init__()
        self.model, self.recipe = model, recipe
        self.detector = torch.nn.Linear(model.config.hidden_size, 2)
        self.pointer = torch.nn.Linear(model.config.hidden_size, 2)

    def forward(self, batch: MaskedPairs) -> dict[str, torch.Tensor]:
        """Return the logits of the four heads, at the places asked for."""
        out = self.model.bert(**batch.inputs())
        states = out.last_hidden_state
        return {
            "words": self.model.cls.predictions(states[batch.words != IGNORED]),
            "contradicts": self.detector(states[batch.contradicts != IGNORED]),
            "wanted": self.pointer(states[batch.wanted != IGNORED]),
            "unrelated": self.model.cls.seq_relationship(out.pooler_output),
        }

    def loss(self, batch: MaskedPairs) -> torch.Tensor:
        """Weighted sum of the four losses [nats]."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            logits = {name: found.float() for name, found in self(batch).items()}
        loss = {name: _mean_loss(found, _asked(getattr(batch, name))) for name, found in logits.items()}
        recipe = self.recipe
        return (
            loss["words"]
            + recipe.detection * loss["contradicts"]
            + recipe.pointing * loss["wanted"]
            + recipe.pair * loss["unrelated"]
        )


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy; 0 where a batch asks nothing, which cross_entropy alone would make nan."""
    return cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


def _asked(labels: torch.Tensor) -> torch.Tensor:
    return labels[labels != IGNORED]


def new_model(recipe: Recipe, vocab_size: int, pad: int, vectors: torch.Tensor | None = None) -> BertForPreTraining:
    """Return a new model of the recipe's shape.

    Args:
        recipe: The recipe.
        vocab_size: Number of pieces.
        pad: The padding piece.
        vectors: What :func:`vectors` returns; by default the word embeddings are random.

    There is no dropout, neither here nor in fine-tuning: a model this small, trained for seconds, is held back by it.
    """
    model = BertForPreTraining._from_config(
        BertConfig(
            vocab_size=vocab_size, hidden_size=recipe.hidden, num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads, intermediate_size=recipe.inner, max_position_embeddings=recipe.context,
            pad_token_id=pad, initializer_range=recipe.spread, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        attn_implementation="eager",  # the fused kernel is several times slower in bfloat16 on a CPU
    )  # fmt: skip
    structured_start(model, recipe.start, vectors)
    return model


def sample(count: int) -> list[str]:
    """Return some pairs of the text; words that contradict the other text stand in asterisks."""
    return [
        f"{_starred(pair.a, pair.spans_a)}\n{_starred(pair.b, pair.spans_b)}"
        for pair in islice(pairs(0, Recipe().late_mix), count)
    ]


def _starred(text: str, spans: list[Span]) -> str:
    for start, end, wrong in sorted(spans, reverse=True):
        if wrong:
            text = f"{text[:start]}*{text[start:end]}*{text[end:]}"
    return text


def text(recipe: Recipe, tokenizer, count: int, seed: int, mix: Mix) -> list[MaskedPairs]:
    """Return ``count`` batches of one seed."""
    return batches(tokenizer, count, recipe.batch, seed, mix, recipe.masked, recipe.looked_up, recipe.lengths)


def vectors(recipe: Recipe, tokenizer, count: int = 40_000) -> torch.Tensor:
    """Return vectors of the pieces, (vocab, hidden), from what stands together in pairs without contradictions."""
    mix = replace(recipe.late_mix, changed=0.0, unrelated=0.0, plain=1.0)
    texts = [f"{pair.a} {pair.b}" for pair in islice(pairs(recipe.seed, mix), count)]
    return word_vectors(tokenizer(texts)["input_ids"], len(tokenizer), recipe.hidden, special=5)


@torch.no_grad()
def held_out(trainer: Pretraining, tokenizer, count: int = 16) -> dict[str, float]:
    """Measure the model on text that pretraining never sees.

    Returns:
        ``masked_loss`` [nats], ``retrieval`` (share right of masked words that the other text says or implies),
        ``detection_loss`` [nats], ``found`` and ``pointed`` (shares of contradicting and of wanted pieces with a
        probability above one half), ``pair`` (share right).
    """
    found: dict[str, list[torch.Tensor]] = {}
    recipe = trainer.recipe
    for batch in text(recipe, tokenizer, count, recipe.seed + HELD_OUT, recipe.late_mix):
        batch = on(trainer.model.device, batch)
        logits = trainer(batch)
        words, contradicts, wanted = (_asked(labels) for labels in (batch.words, batch.contradicts, batch.wanted))
        hits = (logits["words"].argmax(-1) == words)[batch.determined[batch.words != IGNORED]]
        for name, value in (
            ("masked_loss", cross_entropy(logits["words"], words, reduction="none")),
            ("retrieval", hits.float()),
            ("detection_loss", cross_entropy(logits["contradicts"], contradicts, reduction="none")),
            ("found", (logits["contradicts"].argmax(-1) == 1)[contradicts == 1].float()),
            ("pointed", (logits["wanted"].argmax(-1) == 1)[wanted == 1].float()),
            ("pair", (logits["unrelated"].argmax(-1) == batch.unrelated).float()),
        ):
            found.setdefault(name, []).append(value)
    return {name: torch.cat(values).mean().item() for name, values in found.items()}


def phases(recipe: Recipe, tokenizer) -> list[Phase]:
    """The two phases; text is generated for ``recipe.fresh`` steps at a time."""

    @lru_cache(maxsize=1)
    def made(first: int) -> list[MaskedPairs]:
        mix = recipe.early_mix if first < recipe.early else recipe.late_mix
        return text(recipe, tokenizer, recipe.fresh, recipe.seed + 1 + first, mix)

    def batch(step: int) -> MaskedPairs:
        return made(step - step % recipe.fresh)[step % recipe.fresh]

    return [
        Phase("registers", recipe.early, recipe.rate, batch, recipe.warmup, recipe.horizon),
        Phase("all sorts of pair", recipe.late, recipe.rate, batch, recipe.warmup),
    ]


def train(recipe: Recipe, **how):
    """Run the recipe.

    Args:
        recipe: The recipe.
        how: As :class:`shared.tiny.pretrain.loop.Run` has it. Nothing is compiled: it brings nothing at these sizes.

    Returns:
        Model, tokenizer and the log, a list of dicts.
    """
    run = Run(**how)
    torch.manual_seed(recipe.seed)
    tokenizer = run.tokenizer or train_wordpiece(recipe.seed, recipe.vocab_size, recipe.context)
    if run.start:
        model = BertForPreTraining.from_pretrained(run.start, dtype=torch.float32, attn_implementation="eager")
    else:
        model = new_model(recipe, len(tokenizer), tokenizer.pad_token_id, vectors(recipe, tokenizer, recipe.counted))
    trainer = Pretraining(model, recipe).to(run.device)
    log = run_phases(
        trainer, phases(recipe, tokenizer), trainer.loss, lambda: held_out(trainer, tokenizer),
        decay=recipe.decay, **run.kept_by(model, tokenizer),
    )  # fmt: skip
    return model, tokenizer, log
