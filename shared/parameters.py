"""Trainable parameters: closed forms per method, architectures at their true size on the meta device, counting.

Symbols as in the papers: L layers, d hidden size, dff inner size of the feed-forward part, r LoRA rank, m bottleneck
size, p prompt length, k or h width of an encoder that is used while training only. All counts leave the task's head
out. Percentages are 100 x trainable / parameters of the frozen base (peft's ``print_trainable_parameters`` divides by
base + adapter, so it prints slightly smaller numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shared.architectures import ARCHITECTURES, Shape, architecture, reference_model
from shared.errors import ModelError
from shared.parameter_counts import Counts, count, linear_shapes, numel

__all__ = ["ARCHITECTURES", "Counts", "Shape", "architecture", "count", "linear_shapes", "numel", "reference_model"]


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
