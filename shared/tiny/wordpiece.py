"""Tokenizer of the encoder: cased WordPiece trained on the generated text."""

from __future__ import annotations

from itertools import islice

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast

from shared.tiny.pairs import Mix, pairs

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_wordpiece(seed: int, vocab_size: int, max_length: int) -> BertTokenizerFast:
    """Train the WordPiece tokenizer on 20,000 pairs.

    Args:
        seed: Seed of the text.
        vocab_size: Pieces at most, the five special ones included.
        max_length: Context length to declare [tokens].

    Returns:
        A fast BERT tokenizer, cased: capitals tell names. The trainer breaks ties between pieces by chance, so a
        second call gives a few other pieces and another order.
    """
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False)
    letters = [chr(code) for code in range(33, 127)]
    texts = (text for pair in islice(pairs(seed, Mix()), 20_000) for text in (pair.a, pair.b))
    core.train_from_iterator([*texts, " ".join(letters), *("x" + letter for letter in letters)], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", core.token_to_id("[CLS]")), ("[SEP]", core.token_to_id("[SEP]"))],
    )  # fmt: skip
    return BertTokenizerFast(tokenizer_object=core, do_lower_case=False, model_max_length=max_length)
