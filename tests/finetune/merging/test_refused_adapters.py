"""Adapters and bases that can not be merged are refused with the file and the fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import random_models as world
import torch
from lora_adapters import change_tensors, make_adapter
from safetensors.torch import load_file, save_file

from shared.errors import ModelError
from shared.finetune import merge_adapter
from shared.finetune.config import load_config


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    world.make_model(folder / "model", shards="100KB")
    world.make_rows(folder / "rows.jsonl")
    world.write_config(folder / "c.yaml", world.config_dict(folder / "model", folder / "rows.jsonl"))
    return folder


def _truncate(folder):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _zero(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in tensors.items()},
        folder / "adapter_model.safetensors",
    )


def _rename(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({k.replace("layers.1", "layers.7"): v for k, v in tensors.items()}, folder / "adapter_model.safetensors")


def _surplus(folder):
    first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    change_tensors(folder, lambda tensors: tensors | {first.replace("lora_A", "lora_C"): torch.ones(4, 4)})


def _lack(folder):
    lost = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    change_tensors(folder, lambda tensors: {name: one for name, one in tensors.items() if name != lost})


def _other_width(folder):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    change_tensors(folder, lambda tensors: tensors | {name: torch.ones(4, 96)})


def _not_finite(folder):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    change_tensors(folder, lambda tensors: tensors | {name: torch.full((4, 64), torch.nan)})


def _kind(folder):
    file = folder / "adapter_config.json"
    file.write_text(file.read_text().replace('"LORA"', '"PREFIX_TUNING"'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, ["adapter_model.safetensors", "damaged", "train again"]),
        (_zero, ["empty", "every lora_B is zero"]),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), ["missing", "train again"]),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), ["adapter_config.json", "damaged"]),
        (lambda folder: (folder / "adapter_config.json").unlink(), ["adapter_config.json", "peft-labs train"]),
        (_rename, ["no tensor model.layers.7", "trained on"]),
        (_kind, ["PREFIX_TUNING", "can't be merged", "key/value cache"]),
        (_surplus, ["LORA layer does not use", "layers.0.self_attn.q_proj.lora_C", "do not belong together"]),
        (_lack, ["lacks", "layers.0.self_attn.q_proj.lora_A.weight"]),
        (_other_width, ["q_proj.lora_A.weight has shape (4, 96)", "needs (4, 64)", "trained on"]),
        (_not_finite, ["can't merge its LORA layer of model.layers.0.self_attn.q_proj", "NaNs detected"]),
    ],
)
def test_bad_adapters_name_file_and_fix(place, tmp_path, damage, words, capsys):
    adapter = make_adapter(place, "bad")
    damage(adapter)
    out = tmp_path / "merged"
    call = ["--config", str(place / "c.yaml"), "--adapter_path", str(adapter), "--output_path", str(out)]
    assert merge_adapter.main(call) == 1
    shown = capsys.readouterr().err
    assert all(word in shown for word in words), shown
    assert "fix:" in shown and not out.exists()
    for file in adapter.iterdir():
        file.unlink()


def test_a_base_stored_in_four_bits_is_refused(place, tmp_path):
    adapter = make_adapter(place, "adapter")
    world.make_model(tmp_path / "quantised")
    file = tmp_path / "quantised" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": {"load_in_4bit": True}}))
    config = load_config(place / "c.yaml").changed(model={"name_or_path": str(tmp_path / "quantised")})
    with pytest.raises(ModelError, match="stored quantised") as caught:
        merge_adapter.merge(config, adapter, tmp_path / "merged")
    assert "16-bit base" in caught.value.fix
