"""Checks for the exercises of Lab 07, notebook 02-Train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_close, expect_function, expect_number, unanswered

#: (p, d, h): the LAMA code's on BERT-base, peft's on BERT-base, a small one with all sizes different.
_SHAPES = ((9, 768, 384), (20, 768, 768), (5, 24, 10))


# --- exercise 1: count the LSTM encoder ------------------------------------------------------------------------------


def _layer(width: int, h: int, directions: int = 2, gates: int = 4, biases: int = 2) -> int:
    return directions * gates * (width * h + h * h + biases * h)


def _lstm(p: int, d: int, h: int, **how: int) -> int:
    mlp = (2 * h * 2 * h + 2 * h) + (2 * h * d + d)
    return p * d + _layer(d, h, **how) + _layer(2 * h, h, **how) + mlp


@check("Parameters of the LSTM prompt encoder")
def lstm_encoder_weights(answer: Callable[[int, int, int], int]) -> str:
    """``answer(p, d, h)``: embeddings, two bidirectional LSTM layers, MLP."""
    mutants = [
        (lambda p, d, h: _lstm(p, d, h) - p * d, "The p embeddings that go into the LSTM are trained too: p · d."),
        (lambda p, d, h: _lstm(p, d, h, directions=1), "The LSTM is bidirectional: both layers have two directions."),
        (lambda p, d, h: _lstm(p, d, h, gates=1), "An LSTM has four gates, each with matrices of its own."),
        (lambda p, d, h: _lstm(p, d, h, gates=3), "Three gates would be a GRU; an LSTM has four."),
        (lambda p, d, h: _lstm(p, d, h, biases=1), "PyTorch's LSTM has two bias vectors for each gate, b_ih and b_hh."),
        (lambda p, d, h: _lstm(p, d, h, biases=0), "The biases are missing, two for each gate."),
        (lambda p, d, h: _lstm(p, d, h) - _layer(2 * h, h) + _layer(h, h), "The second layer reads both directions "
         "of the first: its input has the width 2h."),
        (lambda p, d, h: _lstm(p, d, h) - _layer(2 * h, h), "There are two LSTM layers; you counted one."),
        (lambda p, d, h: p * d + _layer(d, h) + _layer(2 * h, h), "The MLP on top is missing: 2h → 2h → d."),
        (lambda p, d, h: p * d, "This is what is stored afterwards. The question is about training."),
    ]  # fmt: skip
    expect_function(answer, _lstm, _SHAPES, mutants=mutants)
    return "p = 9, d = 768, h = 384 gives 8,278,272: the encoder of the paper's LAMA code on BERT-base."


# --- exercise 2: the file on disk ------------------------------------------------------------------------------------


@check("Bytes of the stored prompt")
def bytes_on_disk(answer: float) -> str:
    """Bytes of prompt_embeddings for BERT-large, p = 20, float32."""
    training = 3_169_280
    wrong = [
        (20 * 1024, "20,480 is the number of parameters; a float32 takes four bytes."),
        (4 * training, "The encoder is not in the file: it is run once, and its p outputs are stored."),
        (training, "This is the number of parameters in training. The file has the encoder's outputs only."),
        (2 * 20 * 1024, "Two bytes for each parameter would be float16; the question is about float32."),
        (4 * 20 * 768, "768 is BERT-base's width; BERT-large has 1,024."),
        (8 * 20 * 1024, "peft stores two rows for each pseudo-token only for encoder-decoder models."),
    ]
    expect_number(answer, 81_920, unit="bytes", wrong=wrong, what="the size")
    return "80 KiB, beside 1.34 GB of BERT-large in float32. (The new head and the pooler are extra.)"


# --- exercise 3: break it, a prompt that does nothing ----------------------------------------------------------------


def _right(bert: Any, head: Any, vectors: Any, ids: Any, mask: Any) -> Any:
    return _pass(bert, head, vectors, ids, mask)


def _pass(bert, head, vectors, ids, mask, fill: int = 1, at: int | None = None, after: bool = False):
    """The forward pass; the keyword arguments plant the errors."""
    import torch

    text, prompt = bert.get_input_embeddings()(ids), vectors.expand(len(ids), -1, -1)
    seen = mask.new_full((len(ids), len(vectors)), fill)
    vectors_in, masks = ([text, prompt], [mask, seen]) if after else ([prompt, text], [seen, mask])
    hidden = bert(inputs_embeds=torch.cat(vectors_in, dim=1), attention_mask=torch.cat(masks, dim=1)).last_hidden_state
    return head(hidden[:, len(vectors) if at is None else at])


def _mask_after(bert, head, vectors, ids, mask):
    import torch

    embedded = torch.cat([vectors.expand(len(ids), -1, -1), bert.get_input_embeddings()(ids)], dim=1)
    wide = torch.cat([mask, mask.new_ones(len(ids), len(vectors))], dim=1)
    return head(bert(inputs_embeds=embedded, attention_mask=wide).last_hidden_state[:, len(vectors)])


def _no_prompt(bert, head, vectors, ids, mask):
    return head(bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0])


_ERRORS = [
    (lambda *a: _pass(*a, fill=0, at=0), "Both errors are still there: the mask is 0, position 0 is read."),
    (lambda *a: _pass(*a, fill=0), "[CLS] is read now, but no token can attend to the prompt: its mask is 0."),
    (lambda *a: _pass(*a, at=0), "The prompt is seen now, but the head still reads position 0: the first pseudo-token. "
     "The text's [CLS] comes after the prompt."),
    (_mask_after, "The ones of the mask come after the text's mask and not before it: padding is attended to, and "
     "in a shorter row some of the text is not."),
    (lambda *a: _pass(*a, after=True, at=0), "You put the prompt after the text and its padding. The exercise "
     "keeps it in front."),
    (lambda *a: _pass(*a, at=-1), "You read the last position, which is [SEP] or padding."),
    (_no_prompt, "The vectors are not used: this is the bare model."),
]  # fmt: skip


def _micro() -> tuple[Any, Any]:
    """A random BERT of two layers, and a head."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=40, max_position_embeddings=32, initializer_range=0.5, **sizes)
    return BertModel(config, add_pooling_layer=False).eval(), torch.nn.Linear(16, 3)


@check("Break it: a prompt that does nothing")
def classify(answer: Callable) -> str:
    """``answer(bert, head, vectors, ids, mask)``: logits read at the text's own [CLS]."""
    import torch

    if unanswered(answer):
        raise Unanswered
    bert, head = _micro()
    vectors = torch.randn(4, 16, requires_grad=True)
    ids = torch.tensor([[1, 7, 8, 9, 10, 2], [1, 11, 12, 2, 0, 0]])
    mask = (ids != 0).long()
    got = answer(bert, head, vectors, ids, mask)
    if got is None:
        raise Unanswered
    with torch.no_grad():
        wrong = [(planted(bert, head, vectors, ids, mask), why) for planted, why in _ERRORS]
        want = _right(bert, head, vectors, ids, mask)
    expect_close(got, want, atol=1e-5, what="the logits", wrong=wrong)
    (gradient,) = torch.autograd.grad(got.square().sum(), vectors, allow_unused=True)
    if gradient is None or not gradient.abs().sum():
        raise Wrong("The logits are right, but no gradient reaches the vectors: are they detached?")
    return "With the mask at 0 the vectors got no gradient: that is why no learning rate helped."
