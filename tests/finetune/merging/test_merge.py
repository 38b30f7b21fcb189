"""Merging shard by shard equals peft's merge; what can't be merged is refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import random_models as world
import torch
from lora_adapters import LINEAR, change_tensors, make_adapter
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from shared.errors import ModelError
from shared.finetune import merge_adapter
from shared.finetune.config import load_config
from shared.finetune.merging import peft_layers
from shared.finetune.merging.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    world.make_model(folder / "model", shards="100KB")
    world.make_rows(folder / "rows.jsonl")
    world.write_config(folder / "c.yaml", world.config_dict(folder / "model", folder / "rows.jsonl"))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.down_proj": 32}},
        {"target_modules": ["q_proj"], "layers_to_transform": [1]},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=["lora", "rslora", "dora", "patterns", "one layer", "head saved"],
)
def test_streamed_merge_equals_merge_and_unload(place, tmp_path, settings):
    adapter = make_adapter(place, "adapter", **settings)
    base = AutoModelForCausalLM.from_pretrained(place / "model")
    want = PeftModel.from_pretrained(base, adapter).merge_and_unload().state_dict()
    report = merge_adapter.merge(load_config(place / "c.yaml"), adapter, tmp_path / "merged")
    got = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    plain = AutoModelForCausalLM.from_pretrained(place / "model").state_dict()
    assert got.keys() == want.keys()
    changed = 0
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-6)
        changed += not torch.equal(got[name], plain[name])
    assert changed >= report.layers > 0 and report.shards > 1
    assert report.verified and report.relative_error < 1e-5 < report.adapter_effect


def test_merged_folder_loads_without_peft_and_keeps_what_belongs(place, tmp_path):
    adapter = make_adapter(place, "adapter")
    AutoTokenizer.from_pretrained(place / "model").save_pretrained(adapter)
    assert (
        merge_adapter.main(
            [
                "--config",
                str(place / "c.yaml"),
                "--adapter_path",
                str(adapter),
                "--output_path",
                str(tmp_path / "merged"),
            ]
        )
        == 0
    )
    ids = torch.arange(7, 19)[None]
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(place / "model"), adapter).eval()
    code = (
        "import sys, torch\nsys.modules['peft'] = None\nfrom transformers import AutoModelForCausalLM as M\n"
        "from safetensors.torch import save_file\nmodel = M.from_pretrained(sys.argv[1]).eval()\n"
        "save_file({'logits': model(torch.arange(7, 19)[None]).logits.detach()}, sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "merged"), str(tmp_path / "l.safetensors")], check=True)
    with torch.no_grad():
        want = tuned(ids).logits
    torch.testing.assert_close(load_file(tmp_path / "l.safetensors")["logits"], want, rtol=1e-4, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.chat_template and tokenizer("w1 w2")["input_ids"] == [8, 9]
    assert json.loads((tmp_path / "merged" / "generation_config.json").read_text())["eos_token_id"] == 1
    assert not list((tmp_path / "merged").glob("adapter*"))


def test_sixteen_bits_are_written_and_proved(place, tmp_path):
    adapter = make_adapter(place, "adapter")
    report = merge_adapter.merge(load_config(place / "c.yaml"), adapter, tmp_path / "merged", "bfloat16")
    tensors = {k: v for file in (tmp_path / "merged").glob("*.safetensors") for k, v in load_file(file).items()}
    assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert 1e-5 < report.relative_error < 5e-2


def test_a_wrong_merge_is_found_in_its_module(place, tmp_path, monkeypatch):
    """Without the whole model's logits, as for a model above 4 GB; nothing is written."""
    adapter, right = make_adapter(place, "adapter"), peft_layers._merge

    def wrong(layer, safe):
        merged = right(layer, safe)
        merged.weight.data = merged.weight.data * 1.01
        return merged

    monkeypatch.setattr(merge_adapter, "VERIFY_BYTES", 0)
    monkeypatch.setattr(peft_layers, "_merge", wrong)
    with pytest.raises(ModelError, match="the merged module model.layers.* is not the adapted one"):
        merge_adapter.merge(load_config(place / "c.yaml"), adapter, tmp_path / "merged")
    assert not list(tmp_path.iterdir())
    assert not merge_adapter.merge(load_config(place / "c.yaml"), adapter, tmp_path / "merged", verify=False).verified


def test_a_damaged_tensor_beside_the_merged_ones_is_found_in_the_logits(place, tmp_path, monkeypatch):
    adapter, right = make_adapter(place, "adapter"), Checkpoint.pieces
    monkeypatch.setattr(Checkpoint, "pieces", lambda self, *which: [1.1 * one for one in right(self, *which)])
    with pytest.raises(ModelError, match="the merged model is not the adapted one: its logits"):
        merge_adapter.merge(load_config(place / "c.yaml"), adapter, tmp_path / "merged")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("choice", "limit", "compared"),
    [
        ("auto", 4e9, "modules, logits"),
        ("auto", 0, "modules"),
        ("always", 0, "modules, logits"),
        ("never", 4e9, ""),
    ],
)
def test_what_is_compared(place, tmp_path, monkeypatch, capsys, choice, limit, compared):
    adapter, out = make_adapter(place, "adapter"), tmp_path / "merged"
    monkeypatch.setattr(merge_adapter, "VERIFY_BYTES", limit)
    call = ["--config", str(place / "c.yaml"), "--adapter_path", str(adapter), "--output_path", str(out)]
    assert merge_adapter.main([*call, "--verify", choice]) == 0
    report, shown = json.loads((out / "merge.json").read_text()), capsys.readouterr().out
    assert report["verified"] == ("logits" in compared) == ("largest logit difference" in shown)
    assert (report["modules_verified"] == report["layers"] == 14) == ("modules" in compared)
    assert ("module by module" in shown) == ("modules" in compared)
    assert ("not verified" in shown) == (not compared) and ("--verify always" in shown) == (compared == "modules")


def test_tied_embeddings_that_the_adapter_changes_are_two_tensors_afterwards(place, tmp_path, capsys):
    world.make_model(tmp_path / "tied", tied=True)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "tied")
    for name, targets, untied in (("blocks", LINEAR, False), ("embedding", ["embed_tokens", "q_proj"], True)):
        model = get_peft_model(base, LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM"))
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(tmp_path / name)
        base, out = model.unload(), tmp_path / f"{name}-merged"
        call = ["--config", str(place / "c.yaml"), "--adapter_path", str(tmp_path / name), "--output_path", str(out)]
        assert merge_adapter.main([*call, f"model.name_or_path={tmp_path / 'tied'}"]) == 0
        assert ("config.json says tie_word_embeddings: false" in capsys.readouterr().out) == untied
        assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] != untied
        merged = AutoModelForCausalLM.from_pretrained(out)
        assert torch.equal(merged.lm_head.weight, base.lm_head.weight)
        assert torch.equal(merged.lm_head.weight, merged.model.embed_tokens.weight) != untied


def larger(tied: bool, folder: Path, **settings) -> tuple[Path, torch.Tensor]:
    """A base of 47 tokens, an adapter that was trained after three had been added, and the adapted model's logits."""
    world.make_model(folder / "base", tied=tied)
    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    model.resize_token_embeddings(50)
    model = get_peft_model(model, LoraConfig(r=2, **settings))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder / "adapter")
    with torch.no_grad():
        return folder / "base", model.eval()(torch.arange(32, 50)[None]).logits


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [47, 48, 49]},
        {"target_modules": ["q_proj"]},
    ],
    ids=["saved", "lora", "trainable tokens", "left"],
)
def test_tokens_that_were_added_before_training(place, tmp_path, settings, tied):
    """The merged model has the larger vocabulary, by the tensors that peft has saved with the adapter."""
    base, want = larger(tied, tmp_path, **settings)
    config = load_config(place / "c.yaml").changed(model={"name_or_path": str(base)})
    report = merge_adapter.merge(config, tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        got = merged(torch.arange(32, 50)[None]).logits
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert report.relative_error < 1e-5 and merged.config.vocab_size == 50


def test_added_tokens_that_were_not_saved(place, tmp_path):
    """Embeddings of another size in the file, and none for the head."""
    base, _ = larger(False, tmp_path, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    change_tensors(
        tmp_path / "adapter", lambda tensors: {name: one for name, one in tensors.items() if "lm_head" not in name}
    )
    config = load_config(place / "c.yaml").changed(model={"name_or_path": str(base)})
    with pytest.raises(ModelError, match="the adapter has 50 tokens, lm_head.weight of the base has 47") as caught:
        merge_adapter.merge(config, tmp_path / "adapter", tmp_path / "merged")
    assert "model.resize_token_embeddings(50)" in caught.value.fix and not (tmp_path / "merged").exists()
