"""A two-layer random Llama with a word tokenizer, and a small data set: enough to train on in a second."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = [f"w{number}" for number in range(40)]


def make_model(folder: Path, seed: int = 0, shards: str | None = None, tied: bool = False) -> Path:
    """Save a random Llama of about 0.1 M parameters with its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    names = ["<pad>", "<eos>", "<unk>", "Question", "Answer", ":", "###", *WORDS]
    words = models.WordLevel({word: number for number, word in enumerate(names)}, unk_token="<unk>")
    raw = Tokenizer(words)
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    config = LlamaConfig(
        vocab_size=len(names),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 1, 0
    model.save_pretrained(folder, max_shard_size=shards or "5GB")
    tokenizer.save_pretrained(folder)
    return folder


def make_rows(file: Path, number: int = 80) -> Path:
    """Questions of two to five words whose answer is the first of them, one to two tokens long."""
    import random

    draw = random.Random(0)
    rows = []
    for _ in range(number):
        asked = draw.sample(WORDS, draw.randint(2, 5))
        rows.append({"question": " ".join(asked), "answer": " ".join(asked[: draw.randint(1, 2)])})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def config_dict(model: Path, rows: Path, out: Path | None = None, **training: object) -> dict:
    """A LoRA configuration over them, as plain values."""
    settings = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        **training,
    }
    if out is not None:
        settings["output_dir"] = str(out)
    return {
        "task_name": "words",
        "task_type": "CAUSAL_LM",
        "model": {"name_or_path": str(model)},
        "peft": {"method": "lora", "lora_r": 4, "lora_alpha": 8},
        "dataset": {"name": str(rows), "prompt_template": "Question : {question}\nAnswer : {answer}"},
        "training": settings,
        "sft": {"max_length": 64},
        "evaluation": {"max_new_tokens": 4, "rows": 4},
    }


def write_config(file: Path, values: dict) -> Path:
    """Write a configuration as YAML."""
    import yaml

    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file
