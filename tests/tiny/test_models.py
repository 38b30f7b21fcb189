"""What holds for the files of each micro-model."""

import hashlib
import json

import pytest
from safetensors.torch import load_file
from transformers import AutoModel

from shared.tiny import MODELS, model_path


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_small_16_bit_and_those_that_the_card_names(name):
    folder = model_path(name)
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 4_000_000
    assert not list(folder.glob("*.bin"))
    assert json.loads((folder / "config.json").read_text(encoding="utf8"))["dtype"] == "float16"
    about = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    assert (
        1_000_000 <= sum(tensor.numel() for tensor in load_file(weights).values()) <= about["parameters"] <= 3_000_000
    )
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in (folder / "README.md").read_text(encoding="utf8")
    assert str(AutoModel.from_pretrained(folder).dtype) == "torch.float32"
