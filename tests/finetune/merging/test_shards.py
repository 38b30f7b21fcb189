"""Files written tensor by tensor are the library's; merging a large model takes the memory of a small part of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import random_models as world
import torch
from safetensors.torch import load_file, save_file

from shared.finetune.merging.shards import NAMES, write_shard

LAYERS, SHARDS = 32, 8
SHAPE = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 4096,
    "num_hidden_layers": LAYERS,
    "tie_word_embeddings": False,
}
STATUS = Path("/proc/self/status")


def pieces(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tensor.split(2) if tensor.ndim and tensor.numel() else (tensor,)


def test_the_library_reads_every_number_format_and_shape(tmp_path):
    draw = torch.Generator().manual_seed(0)
    tensors = {f"{dtype}": torch.randint(0, 2, (3, 5), generator=draw).to(dtype) for dtype in NAMES}
    tensors |= {"scalar": torch.tensor(2.5), "odd": torch.randn(3, generator=draw).half(), "none": torch.zeros(0, 4)}
    tensors["turned"] = torch.randn(4, 6, generator=draw).T
    kinds = {name: (one.dtype, tuple(one.shape)) for name, one in tensors.items()}
    size = write_shard(tmp_path / "own.safetensors", kinds, lambda name: pieces(tensors[name]))
    found = load_file(tmp_path / "own.safetensors")
    assert found.keys() == tensors.keys() and size == sum(one.nbytes for one in tensors.values())
    for name, one in tensors.items():
        assert found[name].dtype == one.dtype and torch.equal(found[name].float(), one.float()), name
    save_file({name: one.contiguous() for name, one in tensors.items()}, tmp_path / "lib.safetensors", {"format": "pt"})
    assert (tmp_path / "own.safetensors").stat().st_size == (tmp_path / "lib.safetensors").stat().st_size


def test_a_tensor_that_is_not_as_announced_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a is torch.float32"):
        write_shard(tmp_path / "x.safetensors", {"a": (torch.float16, (2,))}, lambda name: [torch.zeros(2)])
    with pytest.raises(ValueError, match="a has 2 rows"):
        write_shard(tmp_path / "x.safetensors", {"a": (torch.float32, (3,))}, lambda name: [torch.zeros(2)])


def large_base(folder: Path) -> Path:
    """The files of a base of 512 MiB in eight shards, and of a LoRA on all its weights; no model could run them."""
    base, adapter = folder / "base", folder / "adapter"
    base.mkdir()
    adapter.mkdir()
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(LAYERS)]
    weight = torch.ones(4096, 2048, dtype=torch.bfloat16)
    index = {}
    for shard in range(SHARDS):
        file, own = f"model-{shard}.safetensors", names[shard::SHARDS]
        save_file({name: weight.clone() for name in own}, base / file, {"format": "pt"})
        index |= dict.fromkeys(own, file)
    (base / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (base / "config.json").write_text(json.dumps(SHAPE))
    lora = {}
    for name in names:
        module = f"base_model.model.{name.removesuffix('.weight')}"
        lora |= {f"{module}.lora_A.weight": torch.ones(2, 2048), f"{module}.lora_B.weight": torch.ones(4096, 2)}
    save_file(lora, adapter / "adapter_model.safetensors", {"format": "pt"})
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["up_proj"], "task_type": "CAUSAL_LM"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    return base


@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux tells a process's own peak")
def test_a_merge_takes_a_small_part_of_the_models_memory(tmp_path):
    base = large_base(tmp_path)
    config = world.write_config(tmp_path / "c.yaml", world.config_dict(base, tmp_path / "none.jsonl"))
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom shared.finetune import merge_adapter\n"
        "import peft\nfrom shared.finetune.merging import streamed\n"
        "from shared.finetune.config import load_config\nconfig = load_config(sys.argv[1])\n"
        f"peak = lambda: next(int(l.split()[1]) for l in Path('{STATUS}').read_text().splitlines() if 'VmHWM' in l)\n"
        "before = peak()\nmerge_adapter.merge(config, sys.argv[2], sys.argv[3], 'auto', verify=False)\n"
        "print((peak() - before) / 1024)"
    )
    call = [sys.executable, "-c", code, str(config), str(tmp_path / "adapter"), str(tmp_path / "out")]
    said = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    more = float(said.splitlines()[-1])
    # four matrices of 32 MiB in float32 are peft's, to merge one; with what the allocator keeps it was 150 to 203 MiB
    assert more < 0.5 * 512, f"{more:.0f} MiB"
    merged = load_file(tmp_path / "out" / "model-3.safetensors")["model.layers.3.mlp.up_proj.weight"]
    assert torch.equal(merged, torch.full((4096, 2048), 1 + 2 * 2, dtype=torch.bfloat16))  # W + (alpha/r)·B·A
