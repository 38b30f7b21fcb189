"""Memory of training: computed here, measured by :mod:`shared.peak_memory`.

Computed sizes are in GB (1e9 bytes), as in data sheets and papers; measured sizes are in MiB (2^20 bytes), as system
tools report them. Model states are exact; activations are an approximation. The CUDA context, temporary buffers and
fragmentation come on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.parameters import architecture, lora_all_linear
from shared.peak_memory import MIB, Peak, cuda_peak, peak_rss

__all__ = ["MIB", "Peak", "cuda_peak", "peak_rss"]


GB = 1e9

#: Bits of a weight in NF4 with blocks of 64: 4 + a 32-bit constant per block; double quantisation stores that constant
#: in 8 bits and one 32-bit constant per 256 of them (QLoRA, Dettmers et al. 2023, section 3).
NF4_BITS = 4 + 32 / 64
NF4_DOUBLE_QUANT_BITS = 4 + 8 / 64 + 32 / (64 * 256)


@dataclass(frozen=True)
class Llama2_7B:
    """Sizes of Llama-2-7B: all parameters, and those in linear layers that 4-bit quantisation replaces."""

    params: int = 6_738_415_616
    linear: int = 6_476_005_376
    layers: int = 32
    d: int = 4096
    heads: int = 32
    vocabulary: int = 32_000


LLAMA_2_7B = Llama2_7B()


@dataclass(frozen=True)
class Precision:
    """Bytes per parameter of a training recipe: of the weight, its gradient and its optimizer states."""

    weight: float
    gradient: float
    optimizer: float

    @property
    def total(self) -> float:
        """Bytes per trainable parameter."""
        return self.weight + self.gradient + self.optimizer


#: Named recipes. The first is ZeRO's accounting (Rajbhandari et al. 2020): the optimizer holds an fp32 copy, m and v.
PRECISIONS = {
    "mixed-adam": Precision(2, 2, 12),
    "fp32-adam": Precision(4, 4, 8),
    "bf16-adam": Precision(2, 2, 8),
}


def nf4_base(params: int = LLAMA_2_7B.params, linear: int = LLAMA_2_7B.linear, double_quant: bool = True) -> float:
    """A base model in NF4: linear layers in 4 bit with their constants, the rest in 16 bit [GB].

    Args:
        params: All parameters.
        linear: Parameters of the quantised linear layers.
        double_quant: Whether the blocks' constants are quantised too.
    """
    bits = NF4_DOUBLE_QUANT_BITS if double_quant else NF4_BITS
    return (linear * bits / 8 + (params - linear) * 2) / GB


def full_states(params: int = LLAMA_2_7B.params, precision: str = "mixed-adam") -> dict[str, float]:
    """Model states of full fine-tuning: weights, gradients, optimizer [GB].

    Args:
        params: Parameters of the model, all trained.
        precision: A key of :data:`PRECISIONS`.
    """
    return _times(params, PRECISIONS[precision])


def lora_states(base: float, adapter: int, precision: str = "fp32-adam") -> dict[str, float]:
    """Model states of LoRA: a frozen base, and an adapter with gradients and optimizer [GB].

    Args:
        base: Memory of the frozen base [GB], for example :func:`nf4_base`, or parameters x 2 / 1e9 in bf16.
        adapter: Parameters of the adapter.
        precision: Of the adapter; fp32 weights with Adam take 16 bytes, 16-bit ones with fp32 moments 12.
    """
    parts = _times(adapter, PRECISIONS[precision])
    return {**parts, "weights": parts["weights"] + base}


def _times(params: int, precision: Precision) -> dict[str, float]:
    return {
        "weights": params * precision.weight / GB,
        "gradients": params * precision.gradient / GB,
        "optimizer": params * precision.optimizer / GB,
    }


def model_states(
    method: str,
    params: int = LLAMA_2_7B.params,
    linear: int = LLAMA_2_7B.linear,
    adapter: int | None = None,
    precision: str = "fp32-adam",
) -> dict[str, float]:
    """Weights, gradients and optimizer states of a method [GB].

    Args:
        method: ``full`` (mixed precision, Adam), ``lora`` (bf16 base) or ``qlora`` (NF4 base, double quantisation).
        params: Parameters of the base.
        linear: Those in linear layers.
        adapter: Parameters of the adapter; default: r = 16 on all linear layers of Llama-2-7B.
        precision: Of the adapter, a key of :data:`PRECISIONS`. The default, float32, is what peft uses on a 16-bit or
            quantised base (``autocast_adapter_dtype``); ``bf16-adam`` is a 16-bit adapter.

    Returns:
        Part -> size [GB]; the sum is :func:`total`.

    Raises:
        ValueError: If the method is another one.
    """
    adapter = lora_all_linear(architecture("Llama-2-7b"), 16) if adapter is None else adapter
    if method == "full":
        return full_states(params)
    if method == "lora":
        return lora_states(params * 2 / GB, adapter, precision)
    if method == "qlora":
        return lora_states(nf4_base(params, linear), adapter, precision)
    raise ValueError(f"model_states: method {method!r} is not full, lora or qlora")


def activations(
    batch: int,
    length: int,
    layers: int = LLAMA_2_7B.layers,
    d: int = LLAMA_2_7B.d,
    heads: int = LLAMA_2_7B.heads,
    checkpointing: bool = False,
    flash: bool = True,
    inner: int | None = None,
    gated: bool = False,
    width: int = 2,
    dropout: bool = True,
    inputs: bool = True,
) -> float:
    """Activations kept for the backward pass [GB]: an approximation.

    The formula is that of Korthikanti et al. 2022 ("Reducing Activation Recomputation in Large Transformer Models"):
    s b h (34 + 5 a s / h) bytes per layer, for 16-bit values, an inner size of 4 h and GELU. By its parts, in values
    per token: 2 h for the inputs of two norms, 5 h of attention (its input, Q, K, V, and the output layer's input),
    h + 2 f of a feed-forward part of inner size f, which is h + 4 f where it is gated (SwiGLU); two dropout masks of a
    byte each; and, unless attention is fused, the s x s matrix of each head twice with its mask. The defaults give the
    paper's formula.

    Args:
        batch: Sequences b.
        length: Tokens per sequence s.
        layers: Layers.
        d: Hidden size h.
        heads: Attention heads a.
        checkpointing: Keep only each layer's input, 2 s b h, and compute the rest again.
        flash: Attention without the s x s matrix, which drops the second term.
        inner: Inner size f of the feed-forward part; None: 4 h.
        gated: Whether the feed-forward part has a gate.
        width: Bytes per value.
        dropout: Whether dropout is on: without it no masks are kept.
        inputs: Whether the linear layers' inputs are kept: a frozen layer that has no adapter on it needs its weight
            only for the gradient of its input.
    """
    tokens = length * batch
    if checkpointing:
        return width * tokens * d * layers / GB
    inner = 4 * d if inner is None else inner
    numbers = 8 * d + (4 if gated else 2) * inner - (0 if inputs else 2 * d + inner)
    masks = 2 * d if dropout else 0
    matrix = 0 if flash else heads * length * (2 * width + 1 if dropout else width)
    return tokens * layers * (width * numbers + masks + matrix) / GB


def logits(batch: int, length: int, vocabulary: int = LLAMA_2_7B.vocabulary, copies: int = 1) -> float:
    """The output layer's values in fp32 [GB]; in practice the loss and its gradient keep several copies."""
    return batch * length * vocabulary * 4 * copies / GB


def training(
    method: str, batch: int = 1, length: int = 512, checkpointing: bool = True, flash: bool = True, **sizes: int
) -> dict[str, float]:
    """All parts of training Llama-2-7B with a method: states, activations, logits [GB].

    Args:
        method: As for :func:`model_states`.
        batch: Sequences per step.
        length: Tokens per sequence.
        checkpointing: As for :func:`activations`.
        flash: As for :func:`activations`.
        **sizes: Passed on to :func:`model_states`.
    """
    return {
        **model_states(method, **sizes),
        "activations": activations(batch, length, checkpointing=checkpointing, flash=flash),
        "logits": logits(batch, length),
    }


def zero_states(stage: int, gpus: int, params: int = LLAMA_2_7B.params) -> dict[str, float]:
    """Model states per GPU under ZeRO (Rajbhandari et al. 2020), mixed precision with Adam: 2 + 2 + 12 bytes [GB].

    Args:
        stage: 0 shards nothing; 1 the optimizer's states; 2 gradients too; 3 weights too.
        gpus: Data-parallel processes N.
        params: Parameters.

    Raises:
        ValueError: If the stage is not 0 to 3 or there is no GPU.
    """
    if stage not in (0, 1, 2, 3) or gpus < 1:
        raise ValueError(f"zero_states: stage {stage} is not 0..3, or {gpus} GPUs is none")
    parts = full_states(params)
    sharded = ("optimizer", "gradients", "weights")[:stage]
    return {name: size / gpus if name in sharded else size for name, size in parts.items()}


def total(parts: Mapping[str, float]) -> float:
    """Sum of the parts, in their unit."""
    return sum(parts.values())


def fits(
    setups: Mapping[str, Mapping[str, float]], cards: Sequence[float] = (8, 16, 24), overhead: float = 0.0
) -> list[dict[str, object]]:
    """Which set-ups fit on which cards.

    Args:
        setups: Name -> parts [GB], for example from :func:`training`.
        cards: Memory of the cards [GB].
        overhead: What comes on top, such as the CUDA context [GB].

    Returns:
        One row per set-up: ``setup``, ``GB``, and ``fits 8 GB`` and so on as ``yes`` or ``no``; ready for a table.
    """
    rows = []
    for name, parts in setups.items():
        need = total(parts) + overhead
        verdicts = {f"fits {card:g} GB": "yes" if need <= card else "no" for card in cards}
        rows.append({"setup": name, "GB": round(need, 2), **verdicts})
    return rows
