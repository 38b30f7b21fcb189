"""On an NVIDIA GPU: pretraining, every method, dtypes, 4 bit; results also load on a CPU."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import pytest
import torch
from method_cases import BASES, answer, batch_for, configured
from transformers import AutoTokenizer

from shared import memory
from shared.finetune import train
from shared.finetune.methods import METHODS
from shared.finetune.models import load_tuned, storage
from shared.machine import choose_device, choose_dtype, gpu
from shared.tiny import MODELS, model_path
from shared.tiny.pretrain.loop import save
from shared.tiny.recipes import config_for

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")]
SMALL = {
    "bert": {"batch": 4, "fresh": 16, "early": 6, "late": 6, "counted": 200},
    "gpt2": {"fresh": 8, "counted": 200},
    "llama": {"batch": 4, "fresh": 16, "layers": 2},
    "t5": {"batch": 4, "fresh": 4, "layers": 1, "lists": 4, "spans": 4, "steps": 8, "source": 48, "target": 32},
}
# The other tasks hold models of the same classes.
COMBINATIONS = [
    *((method, "SEQ_CLS") for method in METHODS),
    *((method, "CAUSAL_LM") for method in ("lora", "ia3", "adapter", "prefix-tuning", "full")),
    *((method, "SEQ_2_SEQ_LM") for method in ("lora", "ia3", "prompt-tuning")),
]


@pytest.mark.parametrize("name", MODELS)
def test_pretraining_learns_there_and_its_weights_load_anywhere(name, tmp_path):
    module = importlib.import_module(f"shared.tiny.pretrain.{name}")
    recipe, lines = replace(module.Recipe(), warmup=4, **SMALL[name]), []
    tokenizer = AutoTokenizer.from_pretrained(model_path(name))
    model, tokenizer, log = module.train(
        recipe,
        steps=12,
        compiled=False,
        report=lambda line, **_: lines.append(line),
        tokenizer=tokenizer,
        device="cuda",
    )
    assert {one.device.type for one in model.parameters()} == {"cuda"}
    figures = [value for entry in log for value in entry.values() if isinstance(value, float)]
    assert len(log) == len(lines) > 0 and all(map(math.isfinite, figures))
    assert log[-1]["train_loss"] < 1.5 * math.log(recipe.vocab_size)
    save(name, model, tokenizer, recipe, log, tmp_path / name)
    again = type(model).from_pretrained(tmp_path / name, dtype=torch.float16)
    assert again.device.type == "cpu"
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().cpu()), key


@pytest.mark.parametrize(("method", "task"), COMBINATIONS, ids=["-".join(one) for one in COMBINATIONS])
def test_what_a_method_learns_there_gives_the_same_answers_on_a_cpu(bases, tmp_path, monkeypatch, method, task):
    config = configured(bases, method, task, BASES[task], use_cpu=False)
    with memory.cuda_peak() as peak:
        result = train.run(config, tmp_path / "checkpoints", seed=0, score=method == "lora")
    model = result.trainer.model
    assert {one.device.type for one in model.parameters()} == {"cuda"}
    assert all(math.isfinite(step["loss"]) for step in result.history if "loss" in step)
    weights = sum(one.numel() * one.element_size() for one in model.parameters()) / memory.MIB
    assert peak.peak > weights
    storage.store(model, tmp_path / "out", config)
    result.trainer.processing_class.save_pretrained(tmp_path / "out")
    monkeypatch.setenv("PEFT_LABS_DEVICE", "cpu")
    again, tokenizer = load_tuned(config, tmp_path / "out")
    assert {one.device.type for one in again.parameters()} == {"cpu"}
    batch = batch_for(config, again, tokenizer)
    there = answer(model, {key: value.cuda() for key, value in batch.items()}).cpu()
    torch.testing.assert_close(answer(again, batch), there, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("format", ["bf16", "fp16"])
def test_16_bit_training_learns(tmp_path, format):
    """Mixed precision: the weights stay float32, the products take 16 bit."""
    config = config_for("conll2003", "lora", steps=100).changed(training={format: True, "logging_steps": 10})
    result = train.run(config, tmp_path, seed=0, score=False)
    assert {one.dtype for one in result.trainer.model.parameters()} == {torch.float32}
    losses = [step["loss"] for step in result.history if "loss" in step]
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0]


def test_4_bit_weights_take_less_memory_and_learn(tmp_path):
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.nn import Linear4bit

    result = train.run(config_for("guanaco", "qlora-r16", steps=30, scored=10), tmp_path, seed=0)
    layers = [module for module in result.trainer.model.modules() if isinstance(module, Linear4bit)]
    assert layers and all(layer.weight.device.type == "cuda" for layer in layers)
    for layer in layers:
        assert layer.weight.nbytes == layer.in_features * layer.out_features / 2
    losses = [step["loss"] for step in result.history if "loss" in step]
    assert all(map(math.isfinite, losses))


def test_the_report_describes_the_machine():
    card = gpu()
    assert card is not None and card.name == torch.cuda.get_device_name(0)
    assert choose_device().value == "cuda"
    assert choose_dtype("cuda").value == ("bfloat16" if card.capability >= (8, 0) else "float16")
