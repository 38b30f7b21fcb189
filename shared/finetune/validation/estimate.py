"""Estimate of a run: trainable parameters, memory by parts, steps. Computed from shapes, before the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import memory
from shared.errors import PeftLabsError
from shared.finetune.config import Config
from shared.finetune.methods import METHODS
from shared.finetune.methods.support.heads import head_modules, in_head
from shared.finetune.validation.local_inputs import LocalInputs

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

GB = memory.GB
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a run on one device.

    Attributes:
        trainable: Trained parameters.
        total: All parameters, adapters included.
        gigabytes: Part -> size [GB] of weights, gradients, optimizer, activations, logits. The first three are counted,
            the last two are estimates for a batch of the longest inputs; what CUDA and fragmentation take comes on top.
        batch: Rows, and tokens of the longest input, that the activations are for.
        steps: Optimizer steps; None when they depend on a number of rows that is not known.
        bound: ``"at most"`` or ``"at least"`` where the steps depend on more than the rows, else empty.
        source: Where the shapes come from.
    """

    trainable: int
    total: int
    gigabytes: dict[str, float]
    batch: tuple[int, int]
    steps: int | None
    bound: str
    source: str

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size:.3g}" for name, size in self.gigabytes.items())
        steps = "steps: by the number of rows" if self.steps is None else f"{self.bound} {self.steps:,} steps".strip()
        return (
            f"trains {self.trainable:,} of {self.total:,} parameters ({self.trainable / self.total:.3%}); "
            f"memory [GB]: {sizes}, together {sum(self.gigabytes.values()):.3g} at {self.batch[0]} x {self.batch[1]} "
            f"tokens; {steps} (shapes from {self.source})"
        )


def estimate(config: Config, local: LocalInputs | None = None) -> Estimate | None:
    """Parameters, memory and steps of a sound configuration; None where the base's architecture is not at local.

    Args:
        config: The configuration.
        local: What was looked up for it already.
    """
    from shared.parameters import count

    local = local or LocalInputs(config)
    if local.architecture is None:
        return None
    model, source = local.architecture
    base = sum(parameter.numel() for parameter in model.parameters())
    tuned = tuned_on_meta(local.fresh(), config)
    counts = count(tuned)
    length = longest_input(config, model)
    sizes = states(config, model, base, counts) | _passing(config, model.config, tuned, length)
    steps, bound = _steps(config, local)
    rows = config.training.per_device_train_batch_size
    return Estimate(counts.trainable, counts.total, sizes, (rows, length), steps, bound, source)


def tuned_on_meta(model: torch.nn.Module, config: Config) -> Any:
    """A base on the meta device with the method applied.

    Args:
        model: The base; changed in place.
        config: The configuration.
    """
    import torch

    section = config.peft
    if getattr(section, "init", None) == "text":  # would need the tokenizer; the shapes are the same
        section = section.model_copy(update={"init": "random", "init_text": None})
    if getattr(section, "init_lora_weights", True) is not True:  # decompositions need real weights
        section = section.model_copy(update={"init_lora_weights": True})
    with torch.device("meta"):
        return METHODS[section.method].apply(model, section, config.task_type)


def longest_input(config: Config, model: torch.nn.Module) -> int:
    """The longest input [tokens]: as cut by the configuration, else what the model has positions for."""
    from shared.finetune.tasks.batches import LONGEST, longest

    if config.task_type != "CAUSAL_LM":
        return longest(config, model)
    positions = getattr(model.config, "max_position_embeddings", None) or LONGEST
    return min(config.sft.max_length or positions, positions)


# -- weights, gradients, optimizer ------------------------------------------------------------------------------------


def states(config: Config, model: torch.nn.Module, base: int, counts: Any) -> dict[str, float]:
    """Weights, gradients and the optimizer's states [GB].

    Args:
        config: The configuration.
        model: The untuned base.
        base: Its parameters.
        counts: Those of the tuned model.
    """
    own = _width(config, model)
    added = counts.total - base  # adapters, and peft's copies of heads; BitFit and full fine-tuning add nothing
    trained = _trained_width(config, own, added)
    moments = optimizer_bytes(config.training.optim, trained) if not config.training.adafactor else 0
    return {
        "weights": _base_weights(config, model, base, own) + added * trained / GB,
        "gradients": counts.trainable * trained / GB,
        "optimizer": counts.trainable * moments / GB,
    }


def _width(config: Config, model: torch.nn.Module) -> int:
    """Bytes of a plain weight; ``auto`` takes what the checkpoint's config.json says."""
    dtype = config.model.dtype
    if dtype == "auto":
        dtype = str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")
    return BYTES.get(dtype, 4)


def _trained_width(config: Config, own: int, added: int) -> int:
    """Bytes of a trained weight: peft keeps adapters in float32; TRL those of a quantised base in bfloat16 on a GPU."""
    if not added:
        return own
    quantised = config.model.quantization is not None
    return 2 if quantised and config.task_type == "CAUSAL_LM" and not config.training.use_cpu else 4


def _base_weights(config: Config, model: torch.nn.Module, base: int, own: int) -> float:
    from shared.parameters import linear_shapes

    quantization = config.model.quantization
    if quantization is None or not (quantization.load_in_4bit or quantization.load_in_8bit):
        return base * own / GB
    linear = sum(rows * columns for rows, columns in linear_shapes(model).values())
    if quantization.load_in_4bit:
        return memory.nf4_base(base, linear, quantization.bnb_4bit_use_double_quant)
    return (linear + (base - linear) * own) / GB


# [bytes] that optimizers keep of each trained parameter, by their names in transformers; the first that matches.
# "weight" means states in the weight's dtype. Adafactor's rows and columns are negligible.
OPTIMIZERS: tuple[tuple[str, Any], ...] = (
    (r"adafactor|^sgd|galore|lomo|apollo", 0),
    (r"ademamix.*8bit", 3),
    (r"lion.*8bit|adamw_torch_4bit|rmsprop_bnb_8bit", 1),
    (r"8bit", 2),
    (r"ademamix", 12),
    (r"lion|rmsprop|adagrad", 4),
    (r"32bit", 8),
    (r"", "weight"),
)


def optimizer_bytes(name: str, width: int) -> float:
    """Bytes of an optimizer's states for a trained parameter.

    Args:
        name: ``training.optim``.
        width: Bytes of the trained weight: torch's AdamW keeps two states in its format.
    """
    found = next(size for pattern, size in OPTIMIZERS if re.search(pattern, name))
    return 2 * width if found == "weight" else found


# -- activations ------------------------------------------------------------------------------------------------------


def _passing(config: Config, about: PretrainedConfig, tuned: Any, length: int) -> dict[str, float]:
    """Activations and logits of one forward pass over the longest inputs [GB]: an estimate.

    The layers' by :func:`shared.memory.activations` (Korthikanti et al. 2022, arXiv:2205.05198), with this
    architecture's sizes and the width that it computes in. Three things are added to the paper's: with gradient
    checkpointing one layer at a time is held whole while it is computed again; where only the head is trained nothing
    below it is kept; frozen linear layers without an adapter do not keep their inputs. The logits are counted twice in
    float32 (values and gradient) at all positions, which is the most that can be.
    """
    training, task = config.training, config.task_type
    rows, tokens = training.per_device_train_batch_size, length + getattr(config.peft, "num_virtual_tokens", 0)
    layer = {
        "d": about.hidden_size,
        "heads": about.num_attention_heads,
        "flash": about._attn_implementation not in ("eager", None),
        "inner": _inner(about),
        "gated": any(name.endswith(("gate_proj", "wi_1")) for name, _ in tuned.named_modules()),
        "width": _compute_width(config),
        "dropout": any(getattr(about, name, 0) for name in DROPOUTS),
        "inputs": METHODS[config.peft.method].trains_base or "target_modules" in type(config.peft).model_fields,
    }
    stacks = [(tokens, about.num_hidden_layers)]
    if task == "SEQ_2_SEQ_LM":
        # a decoder's layer attends twice: it counts as one and a half of an encoder's
        target = config.dataset.max_target_length
        stacks.append((target, (getattr(about, "num_decoder_layers", None) or about.num_hidden_layers) * 1.5))
    if not _trains_below_head(tuned):
        stacks = []
    kept = sum(memory.activations(rows, size, layers, **layer) for size, layers in stacks)
    if training.gradient_checkpointing and stacks:
        inputs = [memory.activations(rows, size, layers, checkpointing=True, **layer) for size, layers in stacks]
        kept = sum(inputs) + max(memory.activations(rows, size, 1, **layer) for size, _ in stacks)
    places = {"CAUSAL_LM": length, "SEQ_2_SEQ_LM": config.dataset.max_target_length}.get(task)
    return {
        "activations": kept,
        **({"logits": memory.logits(rows, places, about.vocab_size, copies=2)} if places else {}),
    }


DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop", "attn_pdrop", "dropout_rate",
            "attention_dropout", "dropout")  # fmt: skip


def _inner(about: PretrainedConfig) -> int:
    names = ("intermediate_size", "d_ff", "n_inner", "ffn_dim")
    return next((found for name in names if (found := getattr(about, name, None))), 4 * about.hidden_size)


def _compute_width(config: Config) -> int:
    """Bytes of a number in the matrix products: 2 where weights or training are in 16 bits."""
    from shared.finetune.training.precision import choose_precision

    if config.model.dtype in ("bfloat16", "float16"):
        return 2
    try:
        return 4 if choose_precision(config).value == "fp32" else 2
    except PeftLabsError:
        return 2


def _trains_below_head(tuned: Any) -> bool:
    base = tuned.get_base_model() if hasattr(tuned, "get_base_model") else tuned
    heads = head_modules(base)
    return any(one.requires_grad and not in_head(name, heads) for name, one in tuned.named_parameters())


# -- steps ------------------------------------------------------------------------------------------------------------


def _steps(config: Config, local: LocalInputs) -> tuple[int | None, str]:
    """Optimizer steps as transformers' Trainer counts them on one device, and whether that is a bound."""
    training = config.training
    if training.max_steps > 0:
        return training.max_steps, ""
    number, bound = _examples(config, local)
    if number is None:
        return None, ""
    batch = training.per_device_train_batch_size
    batches = number // batch if training.dataloader_drop_last else -(-number // batch)
    steps = max(1, -(-batches // training.gradient_accumulation_steps)) * training.num_train_epochs
    return -int(-steps // 1), bound


def _examples(config: Config, local: LocalInputs) -> tuple[int | None, str]:
    from shared.finetune.data.chats import chat_field

    rows = local.rows("train")
    number = config.dataset.max_train_rows if rows is None else len(rows)
    if number is None:
        return None, ""
    if config.task_type == "CAUSAL_LM" and config.sft.packing:
        return number, "at most"
    turns = config.task_type == "CAUSAL_LM" and chat_field(config.dataset) and config.dataset.train_on == "all"
    return number, "at least" if turns or config.task_type == "QUESTION_ANS" else ""
