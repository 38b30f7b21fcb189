"""(b) Merging a LoRA into a 2-billion-parameter base on disk: ``peft-labs merge-adapter`` against peft's own way."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks import models
from benchmarks.measure import Case, about, interleaved

DRIVER = Path(__file__).with_name("peer_merge.py")


def run(folder: Path, repeats: int = 3, threads: int = 2, base: Path | None = None) -> dict[str, Any]:
    """Merge with both; the outputs are compared weight by weight.

    Args:
        folder: Where logs and outputs go.
        repeats: How often, interleaved.
        threads: Threads of each program.
        base: The base's folder; None: the random 2 B Llama, made at the first call.

    Returns:
        Settings, machine, for each contestant its repeats (``seconds`` [s], ``rss`` [MiB]), and how far the two merged
        models are from each other.
    """
    base = base or models.llama_2b()
    adapter = models.lora_of(base)
    runs = interleaved(contestants(folder, base, adapter, threads), repeats, folder / "runs")
    sizes = [path.stat().st_size for path in base.glob("*.safetensors")]
    settings = {
        "model": base.name,
        "gigabytes": round(sum(sizes) / 1e9, 3),
        "shards": len(sizes),
        "largest_shard_mib": round(max(sizes) / 2**20, 1),
        "dtype": "bfloat16",
    }
    difference = largest_difference(folder / "own", folder / "peer")
    for output in ("own", "peer"):
        shutil.rmtree(folder / output)
    machine = about(threads, ["torch", "transformers", "peft", "safetensors", "peft-labs"])
    return {"benchmark": "merge", "settings": settings, "machine": machine, "runs": runs, "equal": difference}


def contestants(folder: Path, base: Path, adapter: Path, threads: int) -> list[Case]:
    """Both ways, each into a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    content = {
        "task_name": "benchmark",
        "model": {"name_or_path": str(base), "dtype": "bfloat16"},
        "peft": {"method": "lora", "target_modules": models.LINEAR},
        "dataset": {"name": "none.jsonl", "prompt_template": "{a}{b}"},
    }
    config.write_text(yaml.safe_dump(content))
    variables = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    own = [sys.executable, "-m", "shared.finetune.merge_adapter", "--config", str(config)]
    own += ["--adapter_path", str(adapter), "--output_path", str(folder / "own"), "--verify", "never"]
    peer = [sys.executable, str(DRIVER), str(base), str(adapter), str(folder / "peer")]
    return [
        Case("peft-labs merge-adapter", own, variables),
        Case("peft merge_and_unload", peer, variables),
    ]


def largest_difference(first: Path, second: Path) -> dict[str, float]:
    """How far two model folders are from each other, tensor by tensor.

    Returns:
        ``tensors``: their number; ``relative``: the largest norm of a difference over the norm of the tensor;
        ``elements``: the share of all weights that differ at all.
    """
    import torch

    one, two = _tensors(first), _tensors(second)
    if one.keys() != two.keys():
        raise RuntimeError(f"the merged models hold different tensors: {sorted(one.keys() ^ two.keys())[:3]}")
    relative, unlike, total = 0.0, 0, 0
    for name, read in one.items():
        a, b = read().float(), two[name]().float()
        relative = max(relative, float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b)))
        unlike, total = unlike + int((a != b).sum()), total + a.numel()
    return {"tensors": len(one), "relative": relative, "elements": unlike / total}


def _tensors(folder: Path) -> dict[str, Any]:
    """Name -> function that reads the tensor."""
    from safetensors import safe_open

    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        opened = safe_open(file, framework="pt")
        for name in opened.keys():  # noqa: SIM118 - safe_open is no dict
            found[name] = lambda opened=opened, name=name: opened.get_tensor(name)
    return found
