"""Tokenizer of the causal models: byte-level BPE trained on the generated text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from shared.tiny.corpus import documents
from shared.tiny.stories import HEADINGS, NOTICES, unmark

# A word with the space before it, a number, one sign, or white space: signs never melt into words or each other,
# so "?###" is always "?" and "###" and a prompt's pieces do not depend on what follows it.
WORDS = Regex(r"###| ?###| ?\p{L}+| ?\p{N}+|[^\s\p{L}\p{N}]|\s")
END, PAD = "</s>", "<pad>"
# As the public openassistant-guanaco rows look: no newline, no space before the next mark.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '### Human: ' if message['role'] == 'user' else '### Assistant: ' if message['role'] == 'assistant' "
    "else '### System: ' }}{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Assistant:' }}{% endif %}"
)


def train_tokenizer(
    seed: int,
    vocab_size: int,
    max_length: int,
    texts: Iterable[str] | None = None,
    words: Regex = WORDS,
    chat_template: str = CHAT_TEMPLATE,
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, by default on 20,000 documents of the stories.

    Args:
        seed: Seed of the text.
        vocab_size: Pieces at most, the 256 bytes and 2 special ones included.
        max_length: Context length to declare [tokens].
        texts: Other text, without marks.
        words: What the text is cut into before pieces are formed.
        chat_template: How a chat becomes text.

    Returns:
        A fast tokenizer that adds nothing by itself; the end token parts documents and also serves as the begin
        token, as in GPT-2.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    if texts is None:
        stories = [unmark(text)[0] for text in islice(documents(seed), 20_000)]
        texts = [*stories, *list(HEADINGS + NOTICES) * 20]
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        padding_side="right",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        chat_template=chat_template,
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load a saved tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(folder)
