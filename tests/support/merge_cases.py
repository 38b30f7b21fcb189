"""Small random language models of eight architectures, and adapters for them that are made with plain peft."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM

VOCABULARY = 64
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = {**SIZE, "num_key_value_heads": 2}
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": False}),
    "llama-tied": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": True}),
    "qwen3-tied": ("Qwen3Config", {**GROUPED, "head_dim": 8, "tie_word_embeddings": True}),
    "phi3": ("Phi3Config", {**GROUPED, "tie_word_embeddings": False}),
    "gpt2": ("GPT2Config", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt-neox": ("GPTNeoXConfig", {**SIZE, "tie_word_embeddings": False}),
    "mixtral": ("MixtralConfig", {**GROUPED, "num_local_experts": 4, "tie_word_embeddings": False}),
    "gemma3": ("Gemma3TextConfig", {**GROUPED, "head_dim": 8, "sliding_window": 16}),
    "gpt-oss": (
        "GptOssConfig",
        {**GROUPED, "intermediate_size": 32, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
}
EIGHT = [name for name in ARCHITECTURES if name != "gpt-oss"]
# attention, feed-forward layer, input embeddings, output embeddings
NAMES = {
    "phi3": (["qkv_proj"], ["down_proj"], "embed_tokens", "lm_head"),
    "gpt2": (["c_attn"], ["c_fc"], "wte", "lm_head"),
    "gpt-neox": (["query_key_value"], ["dense_4h_to_h"], "embed_in", "embed_out"),
    "mixtral": (["q_proj", "v_proj"], ["w2"], "embed_tokens", "lm_head"),
    "gpt-oss": (["q_proj", "v_proj"], [], "embed_tokens", "lm_head"),
}
LLAMA_NAMES = (["q_proj", "v_proj"], ["down_proj"], "embed_tokens", "lm_head")


def names(architecture: str) -> tuple[list[str], list[str], str, str]:
    """What the architecture calls attention and feed-forward layers, input and output embeddings."""
    return NAMES.get(architecture, LLAMA_NAMES)


def linear(architecture: str) -> list[str]:
    """Target modules: some of attention and feed-forward layer."""
    attention, feed_forward, _, _ = names(architecture)
    return [*attention, *feed_forward]


def make_base(folder: Path, architecture: str) -> Path:
    """Save a random model in several files; biases and norms are random too, as after training."""
    kind, values = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(getattr(transformers, kind)(**values, **SPECIAL))
    for name, one in model.named_parameters():
        is_scale = one.ndim == 1 and name.endswith("weight")
        torch.nn.init.normal_(one, mean=float(is_scale), std=0.15)
    model.save_pretrained(folder, max_shard_size="30KB")
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    words = ["<pad>", "<eos>", "<bos>", *(f"w{number}" for number in range(VOCABULARY - 3))]
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **ends)


def lora(**settings: Any) -> Callable[[str], LoraConfig]:
    """A set-up of LoRA; values that are functions depend on the architecture."""

    def make(architecture: str) -> LoraConfig:
        values = {key: one(architecture) if callable(one) else one for key, one in settings.items()}
        return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": linear(architecture), **values})

    return make


def _embedding(architecture: str) -> str:
    return names(architecture)[2]


def _head(architecture: str) -> str:
    return names(architecture)[3]


SETUPS: dict[str, Callable[[str], LoraConfig]] = {
    "linear": lora(),
    "rslora, all linear": lora(target_modules="all-linear", use_rslora=True),
    "patterns": lora(
        rank_pattern=lambda one: {linear(one)[0]: 2}, alpha_pattern=lambda one: {rf".*\.1\..*{linear(one)[-1]}": 32}
    ),
    "dora": lora(use_dora=True),
    "lora_bias": lora(lora_bias=True),
    "bias all": lora(bias="all"),
    "bias lora_only": lora(bias="lora_only"),
    "embedding": lora(target_modules=lambda one: [*linear(one), _embedding(one)]),
    "head": lora(target_modules=lambda one: [*linear(one), _head(one)]),
    "embedding and head": lora(target_modules=lambda one: [_embedding(one), _head(one)]),
    "embedding and head saved": lora(modules_to_save=lambda one: [_embedding(one), _head(one)]),
    "head saved": lora(modules_to_save=lambda one: [_head(one)]),
    "tokens": lora(trainable_token_indices=[3, 7, 11]),
}


def make_adapter(base: Path, folder: Path, config: Any, quantization: Any = None) -> Path:
    """An adapter with random weights, saved as peft saves it by default.

    Args:
        base: The base's folder.
        folder: Where to.
        config: peft's configuration.
        quantization: transformers' configuration for a quantised base.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        if quantization is None:
            model = get_peft_model(load_base(base), config)
        else:
            extra = {"quantization_config": quantization, "device_map": {"": "cpu"}}
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, **extra), config)
        draw = torch.Generator().manual_seed(2)
        for one in model.parameters():
            if one.requires_grad:
                one.data += 0.1 * torch.randn(one.shape, generator=draw)
        model.save_pretrained(folder)
    return folder


@cache
def _loaded(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base)


def load_base(base: Path) -> Any:
    """The base; it is read once, and copied for each call."""
    return copy.deepcopy(_loaded(base))


def load_adapted(base: Path, adapter: Path) -> PeftModel:
    """peft's adapted model, the base in full precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(load_base(base), adapter).eval()


def logits(model: Any) -> torch.Tensor:
    """The model's logits for rows in which each token of the vocabulary appears."""
    ids = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(3)).view(4, 16)
    with torch.no_grad():
        return model.eval()(ids).logits
