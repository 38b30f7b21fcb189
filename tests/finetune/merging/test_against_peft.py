"""The merged model is peft's adapted model, for each architecture and set-up that peft itself can merge."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import merge_cases as cases
import peft
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from shared.errors import ModelError
from shared.finetune import merge_adapter
from shared.finetune.config import load_config

QUANTIZATIONS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float32"},
    "int8": {"load_in_8bit": True},
}


@pytest.fixture(scope="session")
def base_of(tmp_path_factory) -> Callable[[str], Path]:
    """Architecture -> the folder of its base, made once."""
    folder = tmp_path_factory.mktemp("bases")
    return cache(lambda architecture: cases.make_base(folder / architecture, architecture))


def configuration(folder: Path, base: Path, quantization: dict[str, Any] | None = None) -> Any:
    model = {"name_or_path": str(base), "dtype": "float32", "quantization": quantization}
    data = {"name": "none.jsonl", "prompt_template": "{question}{answer}"}
    content = {"task_name": "merge", "model": model, "peft": {"method": "lora"}, "dataset": data}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**content, "training": {"use_cpu": True}}))
    return load_config(file)


@pytest.fixture(autouse=True)
def no_logits(monkeypatch):
    """The command compares modules; whole models are compared here, by other code."""
    monkeypatch.setattr(merge_adapter, "VERIFY_BYTES", 0)


def check(base: Path, adapter: Path, tmp_path: Path, **settings: Any) -> Any:
    """Merge, and compare the merged model with peft's adapted model on the base in full precision."""
    out = tmp_path / "merged"
    report = merge_adapter.merge(configuration(tmp_path, base, **settings), adapter, out)
    want = cases.logits(cases.load_adapted(base, adapter))
    found = (AutoModelForCausalLM.from_pretrained(out), cases.load_base(base))
    error, effect = (float((cases.logits(one) - want).norm() / want.norm()) for one in found)
    assert error < 1e-5 < 1e-2 < effect, report
    return report


@pytest.mark.parametrize("setup", cases.SETUPS)
@pytest.mark.parametrize("architecture", cases.EIGHT)
def test_a_lora_of_any_set_up_on_any_architecture(base_of, tmp_path, architecture, setup):
    base = base_of(architecture)
    adapter = cases.make_adapter(base, tmp_path / "adapter", cases.SETUPS[setup](architecture))
    if setup == "lora_bias" and architecture not in ("gpt2", "gpt-neox"):
        refused(base, adapter, tmp_path)  # there is no bias that the adapter's could be added to
        return
    report = check(base, adapter, tmp_path)
    assert report.modules_verified >= report.layers > 0 and not report.whole_model
    differ = setup in ("embedding", "head", "embedding and head", "embedding and head saved", "head saved")
    tied = json.loads((base / "config.json").read_text()).get("tie_word_embeddings", True)
    assert report.untied == (tied and differ)


def refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    """peft can't merge it either, and nothing is written."""
    with pytest.raises(RuntimeError, match="Impossible to merge"):
        cases.load_adapted(base, adapter).merge_and_unload()
    with pytest.raises(ModelError, match="can't merge its LORA layer"):
        merge_adapter.merge(configuration(tmp_path, base), adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def rotated() -> list[tuple[str, str, str]]:
    """Two set-ups for each architecture and quantisation, so that each set-up has its turn."""
    setups, found = list(cases.SETUPS), []
    for offset, quantization in enumerate(QUANTIZATIONS):
        for number, architecture in enumerate(cases.EIGHT):
            found += [(architecture, quantization, setups[(2 * number + turn + 3 * offset) % 13]) for turn in (0, 1)]
    return found


def test_each_set_up_has_its_turn():
    assert {(one, setup) for _, one, setup in rotated()} == {(a, b) for a in QUANTIZATIONS for b in cases.SETUPS}


@pytest.mark.parametrize(("architecture", "quantization", "setup"), rotated())
def test_an_adapter_of_a_quantised_base(base_of, tmp_path, architecture, quantization, setup):
    """It is merged into the base in full precision, and equal to the adapter on that base."""
    base, section = base_of(architecture), QUANTIZATIONS[quantization]
    values = {**section, **({"bnb_4bit_quant_type": "nf4"} if quantization == "nf4" else {})}
    settings = cases.SETUPS[setup](architecture)
    adapter = cases.make_adapter(base, tmp_path / "adapter", settings, BitsAndBytesConfig(**values))
    if setup == "lora_bias" and architecture not in ("gpt2", "gpt-neox"):
        refused(base, adapter, tmp_path)
    else:
        check(base, adapter, tmp_path, quantization=section)


def on(architecture: str, kind: Any, **settings: Any) -> tuple[str, Any]:
    return architecture, kind(**{"target_modules": cases.linear(architecture), **settings})


def adalora(architecture: str) -> tuple[str, Any]:
    return on(architecture, peft.AdaLoraConfig, init_r=4, target_r=2, total_step=10, task_type="CAUSAL_LM")


OTHERS = {
    "VeRA": on("llama", peft.VeraConfig, r=4),
    "VeRA, projections from the seed": on("gpt2", peft.VeraConfig, r=4, save_projection=False),
    "LoHa": on("llama", peft.LoHaConfig, r=4, alpha=8),
    "LoKr": on("llama", peft.LoKrConfig, r=4, alpha=8),
    "OFT": on("llama", peft.OFTConfig, oft_block_size=8),
    "BOFT": on("llama", peft.BOFTConfig, boft_block_size=4),
    "(IA)3": on("llama", peft.IA3Config, feedforward_modules=["down_proj"]),
    "(IA)3 on Conv1D": on("gpt2", peft.IA3Config, feedforward_modules=["c_fc"]),
    "AdaLoRA": adalora("llama"),
    "AdaLoRA on Conv1D": adalora("gpt2"),
    "LN tuning": ("llama", peft.LNTuningConfig(task_type="CAUSAL_LM")),
    "LN tuning with biases": ("gpt2", peft.LNTuningConfig(task_type="CAUSAL_LM")),
    "FourierFT": on("gpt2", peft.FourierFTConfig, n_frequency=50),
    "HRA": on("llama", peft.HRAConfig, r=4),
    "MiSS": on("llama", peft.MissConfig, r=4),
    "RandLoRA": on("llama", peft.RandLoraConfig, r=4),
    "VB-LoRA": on("llama", peft.VBLoRAConfig, r=2, num_vectors=8, vector_length=16),
    "trainable tokens": ("qwen3-tied", peft.TrainableTokensConfig(token_indices=[3, 7])),
    "PiSSA": on("llama", peft.LoraConfig, r=4, init_lora_weights="pissa"),
    "OLoRA": on("llama", peft.LoraConfig, r=4, init_lora_weights="olora"),
    "DoRA on embeddings": on("llama-tied", peft.LoraConfig, r=4, use_dora=True, target_modules=["embed_tokens"]),
    "tied LoRA on embeddings": (
        "llama-tied",
        peft.LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True),
    ),
    "saved embeddings, tied": on(
        "llama-tied", peft.LoraConfig, r=4, modules_to_save=["embed_tokens"], ensure_weight_tying=True
    ),
    "saved embeddings, head left": on("llama-tied", peft.LoraConfig, r=4, modules_to_save=["embed_tokens"]),
    "different tokens": on(
        "llama-tied", peft.LoraConfig, r=4, trainable_token_indices={"embed_tokens": [3, 5], "lm_head": [4]}
    ),
    "one layer": on("llama", peft.LoraConfig, r=4, layers_to_transform=[1]),
    "regular expression": on("llama", peft.LoraConfig, r=4, target_modules=r".*\.1\..*(q_proj|down_proj)"),
    "parameter": on("llama", peft.LoraConfig, r=4, target_parameters=["gate_proj.weight"]),
    "saved block": on("llama", peft.LoraConfig, r=4, target_modules=["q_proj"], modules_to_save=["mlp"]),
    "saved router": on("mixtral", peft.LoraConfig, r=4, target_modules=["q_proj"], modules_to_save=["gate"]),
    "router": on("gpt-oss", peft.LoraConfig, r=4, target_parameters=["router.weight"]),
    "experts": on("gpt-oss", peft.LoraConfig, r=4, target_parameters=["experts.gate_up_proj", "experts.down_proj"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_methods_and_settings(base_of, tmp_path, name):
    architecture, settings = OTHERS[name]
    base = base_of(architecture)
    adapter = cases.make_adapter(base, tmp_path / "adapter", settings)
    report = check(base, adapter, tmp_path)
    assert report.modules_verified >= report.layers > 0 and not report.whole_model
    assert report.untied == (name in ("DoRA on embeddings", "saved embeddings, head left", "different tokens"))


def test_pruned_ranks_of_adalora(base_of, tmp_path):
    """AdaLoRA saves the ranks that are left, and which these are."""
    base = base_of("llama")
    _, settings = adalora("llama")
    model = peft.get_peft_model(cases.load_base(base), settings)
    for name, one in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(one, std=0.2)
    kept = [True, False, True, False]
    ranks = {name.removeprefix("base_model.model."): kept for name, _ in model.named_parameters() if "lora_E" in name}
    model.peft_config["default"].rank_pattern = ranks
    model.save_pretrained(tmp_path / "adapter")
    assert check(base, tmp_path / "adapter", tmp_path).modules_verified == len(ranks)


def test_a_method_whose_layers_need_values_is_merged_whole(base_of, tmp_path):
    base = base_of("llama")
    _, settings = on("llama", peft.HiraConfig, r=4)
    report = check(base, cases.make_adapter(base, tmp_path / "adapter", settings), tmp_path)
    assert "HIRA" in report.whole_model and report.verified


def test_files_that_leave_the_prefix_out(base_of, tmp_path):
    """GPT-2's own files name h.0…; with a head of its own the merged model names transformer.h.0…"""
    bare = tmp_path / "bare"
    cases.load_base(base_of("gpt2")).transformer.save_pretrained(bare)
    for file in base_of("gpt2").glob("tokenizer*"):
        (bare / file.name).write_bytes(file.read_bytes())
    for setup in ("bias all", "head"):
        folder = tmp_path / setup
        folder.mkdir()
        adapter = cases.make_adapter(bare, folder / "adapter", cases.SETUPS[setup]("gpt2"))
        assert check(bare, adapter, folder).untied == (setup == "head")
