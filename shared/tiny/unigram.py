"""Tokenizer of the T5 micro-model: a SentencePiece-style unigram model with T5's special tokens."""

from __future__ import annotations

import math
import string
from collections import Counter
from itertools import islice

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import T5TokenizerFast

from shared.tiny.retellings import documents
from shared.tiny.stories import unmark

SENTINELS = 20  # <extra_id_0> … <extra_id_19>, one for each gap of a text
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # ids 0, 1, 2 as in T5
CHARACTER = -20.0  # log-probability of a single character: only words that the text never showed are spelt


def train_tokenizer(seed: int, vocab_size: int, max_length: int) -> T5TokenizerFast:
    """Train the unigram tokenizer on 20,000 documents.

    The pieces are the most frequent words with the logarithm of their share, and all printable ASCII characters for
    the rest. For a text of so few words that is what the usual pruning aims at; the trainer of ``tokenizers`` spells
    most of them instead, and differs from run to run.

    Args:
        seed: Seed of the text.
        vocab_size: Pieces at most, the special ones included.
        max_length: Context length to declare [tokens].

    Returns:
        A fast tokenizer that ends each text with ``</s>``. Its sentinels are the last ids and fall, as in T5:
        ``<extra_id_0>`` has the highest.
    """
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated")])
    counts: Counter[str] = Counter()
    for beginning, continuation in islice(documents(seed), 20_000):
        text = f"{unmark(beginning)[0]} {unmark(continuation)[0]}"
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    core = Tokenizer(models.Unigram(_pieces(counts, vocab_size - SENTINELS), unk_id=2))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    core.pre_tokenizer, core.decoder = splitter, decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    sentinels = [AddedToken(f"<extra_id_{i}>", lstrip=True, rstrip=True, special=True) for i in range(SENTINELS)]
    core.add_special_tokens(sentinels[::-1])
    return T5TokenizerFast(
        tokenizer_object=core, eos_token=END, unk_token=UNKNOWN, pad_token=PAD, extra_ids=SENTINELS,
        additional_special_tokens=sentinels, model_max_length=max_length, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _pieces(counts: Counter[str], size: int) -> list[tuple[str, float]]:
    characters = ["▁", *string.printable.strip()]
    total = sum(counts.values())
    words = sorted((piece for piece in counts if piece not in characters), key=lambda piece: (-counts[piece], piece))
    chosen = words[: size - 3 - len(characters)]
    scores = {c: math.log(counts[c] / total) if counts[c] and not c.isalnum() else CHARACTER for c in characters}
    scores |= {piece: math.log(counts[piece] / total) for piece in chosen}
    return [(PAD, 0.0), (END, 0.0), (UNKNOWN, 0.0), *scores.items()]
