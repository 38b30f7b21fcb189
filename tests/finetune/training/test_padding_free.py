"""Rows laid end to end give the padded batch's loss and gradients, on every decoder that is listed."""

from __future__ import annotations

import pytest
import random_models as world
import torch
import transformers
from peft import LoraConfig, get_peft_model

from shared.finetune import train
from shared.finetune.config import load_config
from shared.finetune.data import load_rows, to_prompt_completion
from shared.finetune.models import load_base
from shared.finetune.training.padding_free import (
    KNOWN,
    padding_free_pays_off,
    per_row_attention,
    supports_padding_free,
    without_padding,
)

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}


def decoder(kind: str):
    torch.manual_seed(0)
    if kind == "gpt2":
        about = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=60, n_positions=64)
        about.resid_pdrop = about.embd_pdrop = about.attn_pdrop = 0.0
    else:
        name = {"llama": "LlamaConfig", "mistral": "MistralConfig", "qwen2": "Qwen2Config", "qwen3": "Qwen3Config"}[
            kind
        ]
        about = getattr(transformers, name)(**SMALL, num_key_value_heads=2)
        about.sliding_window = None
    model = transformers.AutoModelForCausalLM.from_config(about)
    targets = ["c_attn", "c_fc"] if kind == "gpt2" else ["q_proj", "v_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def batch(side: str) -> dict[str, torch.Tensor]:
    draw, lengths, width = torch.Generator().manual_seed(1), (3, 11, 7), 11
    found = {name: [] for name in ("input_ids", "attention_mask", "labels")}
    for length in lengths:
        ids = torch.randint(1, 60, (length,), generator=draw).tolist()
        rest = width - length
        labels = [-100] * (length // 2) + ids[length // 2 :]
        for name, values, fill in (
            ("input_ids", ids, 0),
            ("attention_mask", [1] * length, 0),
            ("labels", labels, -100),
        ):
            padding = [fill] * rest
            found[name].append(padding + values if side == "left" else values + padding)
    return {name: torch.tensor(values) for name, values in found.items()}


def loss_and_gradients(model, inputs):
    inputs = dict(inputs)
    labels = inputs.pop("labels")
    model.zero_grad()
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
    loss.backward()
    return loss.detach(), [one.grad.clone() for one in model.parameters() if one.requires_grad]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KNOWN)
def test_joined_rows_are_the_padded_ones(kind, side):
    model, inputs = decoder(kind), batch(side)
    assert supports_padding_free(model)
    one = without_padding(inputs)
    assert one["input_ids"].shape == (1, 21) and one["row_lengths"] == [3, 11, 7]
    padded = {**inputs, "position_ids": (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)}
    want = loss_and_gradients(model, padded)
    with per_row_attention(model.config):
        got = loss_and_gradients(model, one)
        whole = loss_and_gradients(model, {**one, "row_lengths": [21]})
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert (whole[0] - want[0]).abs() > 1e-2, "rows that see one another give the same: nothing is tested"
    torch.testing.assert_close(loss_and_gradients(model, padded), want)  # afterwards all is as before


def test_the_trainers_loss_is_the_same_number_with_and_without(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.finetune.training.padding_free.CALL", 0)  # so small a model would not be worth it
    world.make_model(tmp_path / "model")
    world.make_rows(tmp_path / "rows.jsonl")
    values = world.config_dict(tmp_path / "model", tmp_path / "rows.jsonl", tmp_path / "out")
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    model, tokenizer = load_base(config)
    rows = to_prompt_completion(load_rows(config.dataset, "train"), config.dataset)
    trainer = train.build_trainer(config, model, tokenizer, rows, None, train.sft_arguments(config, tmp_path / "t"))
    assert trainer.padding_free
    saving = train.sft_arguments(config.changed(training={"gradient_checkpointing": True}), tmp_path / "t")
    assert not train.build_trainer(config, load_base(config)[0], tokenizer, rows, None, saving).padding_free
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    losses, seen = [], []
    for without in (True, False):
        trainer.padding_free = without
        before = trainer._total_train_tokens
        losses.append(trainer.compute_loss(trainer.model, dict(inputs)).item())
        seen.append(trainer._total_train_tokens - before)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert seen[0] == seen[1] == int(inputs["attention_mask"].sum())


def test_rows_are_joined_where_that_is_less_work():
    uneven, even = torch.ones(4, 124), torch.ones(16, 60)
    for row, length in enumerate((124, 40, 60, 104)):
        uneven[row, length:] = 0
    even[0, 40:] = 0
    assert (
        padding_free_pays_off(uneven, 576)
        and not padding_free_pays_off(even, 128)
        and not padding_free_pays_off(torch.ones(4, 99), 4096)
    )


def test_windows_checkpoints_and_unknown_decoders_are_left_alone():
    checkpointed = decoder("llama")
    checkpointed.gradient_checkpointing_enable({"use_reentrant": False})
    assert not supports_padding_free(checkpointed)
    about = transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8)
    assert not supports_padding_free(transformers.AutoModelForCausalLM.from_config(about))
    llama = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(**SMALL), attn_implementation="eager"
    )
    assert not supports_padding_free(llama)
    bloom = transformers.BloomConfig(hidden_size=32, n_layer=1, n_head=4, vocab_size=60)
    assert not supports_padding_free(transformers.AutoModelForCausalLM.from_config(bloom))
