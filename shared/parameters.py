"""Trainable parameters: closed forms per method, architectures at their true size on the meta device, counting.

Symbols as in the papers: L layers, d hidden size, dff inner size of the feed-forward part, r LoRA rank, m bottleneck
size, p prompt length, k or h width of an encoder that is used while training only. All counts leave the task's head
out. Percentages are 100 x trainable / parameters of the frozen base (peft's ``print_trainable_parameters`` divides by
base + adapter, so it prints slightly smaller numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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


# --- closed forms ----------------------------------------------------------------------------------------------------


def lora_count(shapes: Iterable[Sequence[int]], r: int) -> int:
    """LoRA (Hu et al. 2021): r (d_in + d_out) for every adapted matrix.

    Args:
        shapes: The (out, in) shape of each matrix; the order inside a shape does not matter.
        r: Rank.
    """
    return r * sum(sum(shape) for shape in shapes)


def lora_qv(s: Shape, r: int) -> int:
    """LoRA on query and value: 4dr per attention. GPT-2's fused c_attn (d x 3d, one A) comes to the same number."""
    attentions = s.layers + 2 * s.decoder_layers  # a T5 decoder layer attends to itself and to the encoder
    return 4 * s.d * r * attentions


def lora_all_linear(s: Shape, r: int) -> int:
    """LoRA on every linear layer except the language model's head; BERT's pooler is one of them."""
    ffn = s.d + s.dff
    if s.family == "bert":
        return r * (s.layers * (4 * 2 * s.d + 2 * ffn) + 2 * s.d)
    if s.family == "gpt2":
        return r * s.layers * ((s.d + 3 * s.d) + 2 * s.d + 2 * ffn)
    if s.family == "t5":
        return r * (s.layers * (8 * s.d + 2 * ffn) + s.decoder_layers * (16 * s.d + 2 * ffn))
    return r * s.layers * (4 * 2 * s.d + 3 * ffn)


def houlsby(s: Shape, m: int, layernorm: bool = False) -> int:
    """Houlsby et al. 2019: two bottlenecks per layer, 2L(2md + d + m); with all LayerNorms + 4Ld + 2d (BERT)."""
    adapters = 2 * s.blocks * (2 * m * s.d + s.d + m)
    return adapters + (4 * s.layers * s.d + 2 * s.d if layernorm else 0)


def pfeiffer(s: Shape, m: int) -> int:
    """Pfeiffer et al. 2021: one bottleneck per layer, L(2md + d + m)."""
    return s.blocks * (2 * m * s.d + s.d + m)


def prompt_tuning(s: Shape, p: int) -> int:
    """Lester et al. 2021: p embeddings of size d. (peft allocates 2p rows for encoder-decoder models.)"""
    return p * s.d


def prefix(s: Shape, p: int) -> int:
    """Li and Liang 2021, and P-Tuning v2: keys and values in every layer, 2pLd; T5 in peft: the decoder's L."""
    return 2 * p * (s.decoder_layers or s.layers) * s.d


def prefix_training(s: Shape, p: int, k: int) -> int:
    """Prefix with its MLP, present while training only: pd + (dk + k) + (2Ldk + 2Ld)."""
    width = 2 * (s.decoder_layers or s.layers) * s.d
    return p * s.d + (s.d * k + k) + (k * width + width)


def ptuning_mlp(s: Shape, p: int, h: int) -> int:
    """P-Tuning with peft's default encoder, three linear layers, while training; stored afterwards: p d.

    T5 has two rows per virtual token in peft.
    """
    rows = 2 * p if s.decoder_layers else p
    return rows * s.d + (s.d * h + h) + (h * h + h) + (h * s.d + s.d)


def ptuning_lstm(s: Shape, p: int, h: int) -> int:
    """P-Tuning with a two-layer bidirectional LSTM and an MLP, while training; stored afterwards: p d."""
    rows = 2 * p if s.decoder_layers else p
    lstm = 8 * (s.d * h + h * h + 2 * h) + 8 * (3 * h * h + 2 * h)
    mlp = (2 * h * 2 * h + 2 * h) + (2 * h * s.d + s.d)
    return rows * s.d + lstm + mlp


def ia3(s: Shape) -> int:
    """(IA)3 (Liu et al. 2022): vectors for keys, values and the feed-forward part, L(2d + dff); T5 decoder 4d + dff."""
    return s.layers * (2 * s.d + s.dff) + s.decoder_layers * (4 * s.d + s.dff)


def ia3_peft(s: Shape) -> int:
    """What peft's default targets give: BERT and GPT-2 rescale d more per layer than the paper does."""
    extra = s.layers * s.d if s.family in ("bert", "gpt2") else 0
    return ia3(s) + extra


def bitfit(s: Shape) -> int:
    """BitFit (Ben-Zaken et al. 2022): every bias. T5 and Llama have none, so nothing would be trained."""
    if s.family == "bert":
        return s.layers * (7 * s.d + s.dff) + 2 * s.d
    return s.layers * (7 * s.d + s.dff) + s.d if s.family == "gpt2" else 0


def bitfit_subset(s: Shape) -> int:
    """BitFit's half-size variant on BERT: the biases of the query and of the first feed-forward layer, L(d + dff)."""
    return s.layers * (s.d + s.dff)


#: Method -> (closed form, formula in the papers' symbols). Arguments after the shape are the method's own.
FORMULAS: dict[str, tuple[Callable[..., int], str]] = {
    "lora": (lora_qv, "4dr per attention (q and v)"),
    "lora-all-linear": (lora_all_linear, "sum of r (d_in + d_out) over all linear layers"),
    "houlsby": (houlsby, "2L(2md + d + m)"),
    "pfeiffer": (pfeiffer, "L(2md + d + m)"),
    "prompt-tuning": (prompt_tuning, "pd"),
    "prefix-tuning": (prefix, "2pLd"),
    "prefix-tuning-training": (prefix_training, "pd + (dk + k) + (2Ldk + 2Ld)"),
    "p-tuning-mlp": (ptuning_mlp, "pd + (dh + h) + (h² + h) + (hd + d)"),
    "p-tuning-lstm": (ptuning_lstm, "pd + 8(dh + h² + 2h) + 8(3h² + 2h) + (4h² + 2h) + (2hd + d)"),
    "ia3": (ia3, "L(2d + dff)"),
    "ia3-peft": (ia3_peft, "L(3d + dff) on BERT and GPT-2"),
    "bitfit": (bitfit, "L(7d + dff) + 2d on BERT"),
    "bitfit-subset": (bitfit_subset, "L(d + dff)"),
}


def formula_count(method: str, model: str, **sizes: int) -> int:
    """Trainable parameters of a method on a reference architecture, by its closed form.

    Args:
        method: A key of :data:`FORMULAS`.
        model: A key of :data:`ARCHITECTURES`.
        **sizes: The method's own sizes, for example ``r=8`` or ``p=20``.

    Raises:
        ModelError: If there is no such method or architecture.
    """
    if method not in FORMULAS:
        raise ModelError(f"there is no formula for {method!r}", fix=f"choose: {', '.join(FORMULAS)}")
    return FORMULAS[method][0](architecture(model), **sizes)


# --- models and counting ---------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Counts:
    """Parameters of a model.

    Attributes:
        trainable: Those with ``requires_grad``.
        total: All, adapters included.
    """

    trainable: int
    total: int

    @property
    def frozen(self) -> int:
        """Those that do not move."""
        return self.total - self.trainable

    @property
    def percent(self) -> float:
        """100 x trainable / total [%]."""
        return 100 * self.trainable / self.total if self.total else 0.0

    @property
    def percent_of_base(self) -> float:
        """100 x trainable / frozen [%]: the papers' way, where nothing of the base is trained."""
        return 100 * self.trainable / self.frozen if self.frozen else math.inf

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters are trained ({self.percent:.4g} %)"


def numel(parameter: torch.Tensor) -> int:
    """Values that a parameter stands for; bitsandbytes' 4-bit weights pack two into a byte (or more into a float)."""
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    if shape is not None:
        return math.prod(shape)
    if type(parameter).__name__ == "Params4bit" and parameter.dtype.itemsize and parameter.shape[-1:] == (1,):
        return parameter.numel() * 2 * parameter.dtype.itemsize
    return parameter.numel()


def count(model: torch.nn.Module) -> Counts:
    """Count a model's parameters; tied ones once, packed 4-bit weights at their unpacked number."""
    trainable = sum(numel(p) for p in model.parameters() if p.requires_grad)
    return Counts(trainable, sum(numel(p) for p in model.parameters()))


def linear_shapes(model: torch.nn.Module, targets: str | Sequence[str] = "all-linear") -> dict[str, tuple[int, int]]:
    """The linear layers that an adapter would sit on, with their shapes.

    Args:
        model: Any transformers model; GPT-2's Conv1D and bitsandbytes' layers count as linear.
        targets: Suffixes of module names as peft's ``target_modules`` takes them (``["q_proj", "v_proj"]``), or
            ``"all-linear"`` for all but the output layer.

    Returns:
        Module name -> (out features, in features).

    Raises:
        ModelError: If no layer matches; the message lists the suffixes that there are.
    """
    linear = {name: shape for name, module in model.named_modules() if (shape := _linear_shape(module))}
    output = getattr(model, "get_output_embeddings", lambda: None)()
    if targets == "all-linear":
        return {name: shape for name, shape in linear.items() if model.get_submodule(name) is not output}
    wanted = [targets] if isinstance(targets, str) else list(targets)
    found = {n: shape for n, shape in linear.items() if any(n == t or n.endswith("." + t) for t in wanted)}
    missing = [t for t in wanted if not any(n == t or n.endswith("." + t) for n in found)]
    if missing:
        endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise ModelError(
            f"no linear layer of {type(model).__name__} ends in {', '.join(missing)}",
            fix=f"target_modules of this architecture: {', '.join(endings)}",
        )
    return found


def _linear_shape(module: torch.nn.Module) -> tuple[int, int] | None:
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):  # GPT-2 keeps its weight transposed: (in, out)
        return module.weight.shape[1], module.weight.shape[0]
    return None
