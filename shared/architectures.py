"""Reference architectures: their sizes, and models of their true size on the meta device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shape:
    """What the formulas need to know of an architecture.

    Attributes:
        family: ``bert``, ``gpt2``, ``t5`` or ``llama``.
        layers: Layers L; for T5 the encoder's.
        d: Hidden size.
        dff: Inner size of the feed-forward part.
        heads: Attention heads.
        vocabulary: Rows of the embedding.
        total: Parameters of the model without a task's head (with the language model's for gpt2, t5 and llama).
        decoder_layers: T5's decoder layers.
    """

    family: str
    layers: int
    d: int
    dff: int
    heads: int
    vocabulary: int
    total: int
    decoder_layers: int = 0

    @property
    def blocks(self) -> int:
        """Encoder and decoder layers together."""
        return self.layers + self.decoder_layers


ARCHITECTURES = {
    "bert-base-uncased": Shape("bert", 12, 768, 3072, 12, 30522, 109_482_240),
    "bert-large-uncased": Shape("bert", 24, 1024, 4096, 16, 30522, 335_141_888),
    "roberta-base": Shape("bert", 12, 768, 3072, 12, 50265, 124_645_632),
    "gpt2": Shape("gpt2", 12, 768, 3072, 12, 50257, 124_439_808),
    "t5-small": Shape("t5", 6, 512, 2048, 8, 32128, 60_506_624, decoder_layers=6),
    "Llama-2-7b": Shape("llama", 32, 4096, 11008, 32, 32000, 6_738_415_616),
}


def architecture(name: str) -> Shape:
    """The sizes of a reference architecture.

    Raises:
        ModelError: If the name is not one of :data:`ARCHITECTURES`.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"there is no reference architecture {name!r}", fix=f"choose: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def reference_model(name: str) -> torch.nn.Module:
    """A reference architecture at its true size on the meta device: shapes without memory, and without the Hub.

    Args:
        name: A key of :data:`ARCHITECTURES`.

    Returns:
        A transformers model (with language model head for gpt2, t5-small and Llama-2-7b).
    """
    import torch
    import transformers as tf

    s = architecture(name)
    bert = {"vocab_size": s.vocabulary, "hidden_size": s.d, "num_hidden_layers": s.layers,
            "num_attention_heads": s.heads, "intermediate_size": s.dff}  # fmt: skip
    if name == "roberta-base":
        config = tf.RobertaConfig(**bert, max_position_embeddings=514, type_vocab_size=1)
        kind = tf.RobertaModel
    elif s.family == "bert":
        config, kind = tf.BertConfig(**bert), tf.BertModel
    elif s.family == "gpt2":
        config, kind = tf.GPT2Config(vocab_size=s.vocabulary), tf.GPT2LMHeadModel
    elif s.family == "t5":
        config = tf.T5Config(vocab_size=s.vocabulary, d_model=s.d, d_ff=s.dff, num_layers=s.layers, num_heads=s.heads,
                             decoder_start_token_id=0)  # fmt: skip
        kind = tf.T5ForConditionalGeneration
    else:
        config, kind = tf.LlamaConfig(**bert, max_position_embeddings=4096), tf.LlamaForCausalLM
    with torch.device("meta"):
        return kind(config)
