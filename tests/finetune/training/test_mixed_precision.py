"""Training in 16 bits: small updates of a LoRA are not rounded away, and adapters are kept in float32."""

from __future__ import annotations

import pytest
import random_models as world
import torch
from peft import LoraConfig, get_peft_model

from shared.finetune import train
from shared.finetune.config import load_config
from shared.finetune.training.mixed_precision import float32_sums


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(32, 32, bias=False)

    def forward(self, x):
        return self.linear(x)


def shift(model, x) -> torch.Tensor:
    """What an update of a thousandth changes under autocast."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        with model.disable_adapter():
            before = model(x)
        return model(x).float() - before.float()


def test_a_small_update_is_not_rounded_away():
    """Of an update below half of bfloat16's last place, peft's sum keeps nothing at most places."""
    torch.manual_seed(0)
    model = get_peft_model(Layer(), LoraConfig(r=4, lora_alpha=8, target_modules=["linear"]))
    torch.nn.init.normal_(model.base_model.model.linear.lora_B["default"].weight, std=2e-4)
    x = torch.randn(64, 32)
    lost = (shift(model, x) == 0).float().mean()
    with float32_sums(model):
        kept = (shift(model, x) != 0).float().mean()
    assert lost > 0.5 and kept > 0.99
    assert (shift(model, x) == 0).float().mean() == lost, "the hooks are gone"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_trained_and_stored_in_float32(place, tmp_path, dtype):
    from safetensors.torch import load_file

    values = world.config_dict(place / "model", place / "rows.jsonl", max_steps=2, bf16=True)
    values["model"]["dtype"] = dtype
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    result = train.run(config, tmp_path / "checkpoints", 0, score=False)
    model = result.trainer.model
    assert {one.dtype for one in model.parameters() if one.requires_grad} == {torch.float32}
    assert {one.dtype for name, one in model.named_parameters() if "base_layer" in name} == {getattr(torch, dtype)}
    assert not any(module._forward_hooks for name, module in model.named_modules() if name.endswith("base_layer"))
    train.save_weights(model, tmp_path / "adapter")
    assert {one.dtype for one in load_file(tmp_path / "adapter/adapter_model.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_adapters_of_a_quantised_base_are_in_float32(place, tmp_path, bits):
    pytest.importorskip("bitsandbytes")
    values = world.config_dict(place / "model", place / "rows.jsonl", max_steps=1)
    values["model"]["quantization"] = {bits: True, "bnb_4bit_compute_dtype": "float32"}
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    model = train.run(config, tmp_path / "checkpoints", 0, score=False).trainer.model
    assert {one.dtype for one in model.parameters() if one.requires_grad} == {torch.float32}
