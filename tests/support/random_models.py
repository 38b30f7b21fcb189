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


def freeze_imports() -> None:
    """Spare the garbage collector what the libraries made when they were imported, some million objects.

    Each Trainer collects garbage when it starts; for runs of two steps that took half of the time.
    """
    import gc

    import peft  # noqa: F401
    import transformers.models.auto.modeling_auto  # noqa: F401

    import shared.finetune.training.language_model_trainer  # noqa: F401

    gc.collect()
    gc.freeze()


# -- the architectures and tasks of the contract test -----------------------------------------------------------------


TAGS = ["O", "B-PER", "I-PER"]


def make_base(folder: Path, kind: str, seed: int = 0) -> Path:
    """Save a random two-layer language model of an architecture with a word tokenizer: bert, gpt2, t5 or llama.

    A BERT with its masked-word head only: neither pooler nor classifier, as after a pretraining of one's own.
    """
    import torch
    import transformers as tf

    torch.manual_seed(seed)
    tokenizer = _word_tokenizer(kind)
    size, tokens = {"vocab_size": len(tokenizer), "pad_token_id": 0}, {"bos_token_id": 1, "eos_token_id": 2}
    wide = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    short = {"max_position_embeddings": 96}
    if kind == "bert":
        model = tf.BertForMaskedLM(tf.BertConfig(**size, **wide, **short))
    elif kind == "roberta":
        model = tf.RobertaForMaskedLM(tf.RobertaConfig(**size, **wide, **short))
    elif kind == "gpt2":
        model = tf.GPT2LMHeadModel(tf.GPT2Config(**size, **tokens, n_embd=32, n_layer=2, n_head=4, n_positions=96))
    elif kind == "t5":
        model = tf.T5ForConditionalGeneration(
            tf.T5Config(**size, eos_token_id=2, decoder_start_token_id=0, d_model=32, d_ff=48, d_kv=8, num_layers=2,
                        num_heads=4)
        )  # fmt: skip
    else:
        model = tf.LlamaForCausalLM(tf.LlamaConfig(**size, **tokens, **wide, **short, num_key_value_heads=2))
    with torch.no_grad():  # larger than usual, so that every method's effect shows after two steps
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _word_tokenizer(kind: str):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "[CLS]", "[SEP]", "<unk>", "Question", "Answer", ":", *WORDS]
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    types = ["input_ids", "token_type_ids", "attention_mask"]
    if kind in ("bert", "roberta"):
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    elif kind == "t5":
        raw.post_processor = processors.TemplateProcessing(
            single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        eos_token="[SEP]",
        unk_token="<unk>",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=types if kind == "bert" else types[::2],
        clean_up_tokenization_spaces=False,
    )


def make_task(file: Path, task: str, number: int = 60) -> Path:
    """Rows of a task, with the columns of a public data set, as a .jsonl file."""
    import random

    draw, rows = random.Random(0), []
    for place in range(number):
        words = draw.sample(WORDS, draw.randint(4, 9))
        text = " ".join(words)
        if task == "SEQ_CLS":
            other = text if place % 2 else " ".join(draw.sample(WORDS, 4))
            rows.append({"sentence1": text, "sentence2": other, "label": place % 2, "idx": place})
        elif task == "TOKEN_CLS":
            rows.append({"tokens": words, "ner_tags": ["B-PER", "I-PER", *["O"] * (len(words) - 2)]})
        elif task == "QUESTION_ANS":
            found = words[draw.randrange(len(words))]
            answer = {"text": [found], "answer_start": [f"{text} ".index(f"{found} ")]}
            rows.append({"id": str(place), "title": "t", "context": text, "question": found, "answers": answer})
        else:
            rows.append({"question": text, "answer": " ".join(words[: draw.randint(1, 2)])})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def task_config(model: Path, rows: Path, task: str, peft: dict, **training: object) -> dict:
    """A configuration of any task, as plain values."""
    values = config_dict(model, rows, **{"max_steps": 2, "per_device_train_batch_size": 8, **training})
    values |= {"task_type": task, "peft": peft}
    if task != "CAUSAL_LM":
        values.pop("sft")
    if task not in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        values["dataset"].pop("prompt_template")
    return values
