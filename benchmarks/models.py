"""What the contestants work on: models as folders, and real text, the same files for all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from shared.fetch import fetch
from shared.files import new_folder

SMOLLM2, REUTERS = "smollm2-135m-instruct", "reuters-r8"
LLAMA_20M = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 9, "num_attention_heads": 4}
LLAMA_2B = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16}
SHARD = "500MB"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


def have(name: str) -> Path:
    """A fetched model or data set (:mod:`shared.fetch`); fetched now if need be."""
    return fetch(name, lambda line: print(line, flush=True))


def cache() -> Path:
    """Where made models stay: gigabytes that need not be made again."""
    return user_cache_path("peft-labs") / "benchmarks"


def smollm2() -> Path:
    """SmolLM2-135M-Instruct: 134.5 M parameters, vocabulary 49,152."""
    return have(SMOLLM2)


def llama_20m() -> Path:
    """A random Llama of 19.7 M parameters with SmolLM2's vocabulary, whose output layer is most of its work."""
    shape = {**LLAMA_20M, "num_key_value_heads": 4, "vocab_size": 49152, "tie_word_embeddings": True}
    return _made("llama-20m", shape, "float32")


def llama_2b() -> Path:
    """A random Llama of 2.03 B parameters in bfloat16 (4.07 GB), in shards of at most 500 MB."""
    shape = {**LLAMA_2B, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False}
    return _made("llama-2b", shape, "bfloat16")


def _made(name: str, shape: dict[str, Any], dtype: str) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder = cache() / name
    if (folder / "config.json").is_file():
        return folder
    print(f"making {name} …", flush=True)
    tokenizer = smollm2()
    torch.manual_seed(0)
    with new_folder(folder) as out:
        ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
        model = AutoModelForCausalLM.from_config(LlamaConfig(**shape, **ends), dtype=getattr(torch, dtype))
        model.save_pretrained(out, max_shard_size=SHARD)
        for file in TOKENIZER:
            if (tokenizer / file).is_file():
                shutil.copyfile(tokenizer / file, out / file)
    return folder


def lora_of(base: Path, rank: int = 16) -> Path:
    """A LoRA of random numbers on all linear layers of a base, B included, so that merging changes every weight."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = base.with_name(f"{base.name}-lora-r{rank}")
    if (folder / "adapter_config.json").is_file():
        return folder
    from safetensors.torch import save_file

    with new_folder(folder) as out, torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LINEAR, task_type="CAUSAL_LM")
        settings.base_model_name_or_path = str(base)
        tuned = get_peft_model(bare, settings)
        draw = torch.Generator().manual_seed(0)
        shapes = {name.replace(".default", ""): one.shape for name, one in tuned.named_parameters() if "lora_" in name}
        tensors = {name: torch.randn(shape, generator=draw, device="cpu") * 0.02 for name, shape in shapes.items()}
        save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
        tuned.peft_config["default"].save_pretrained(str(out))
    return folder


def stories(number: int, words: int = 110, split: str = "train") -> list[dict[str, str]]:
    """Reuters stories, cut after so many words, as prompt and completion.

    Args:
        number: How many.
        words: The longest story [words].
        split: The split.

    Returns:
        Rows with ``prompt`` and ``completion`` (the topic), in the data's order.
    """
    from datasets import load_dataset

    file = next(path for path in have(REUTERS).iterdir() if path.stem == split)
    rows = load_dataset(file.suffix.removeprefix(".").replace("jsonl", "json"), data_files=str(file), split="train")
    rows = rows.select(range(number))
    return [
        {"prompt": f"{' '.join(row['text'].split()[:words])}\nTopic:", "completion": f" {row['topic']}"} for row in rows
    ]


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as .jsonl."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
