"""Every method on every task: what trains, what stays, and that a reload gives the same outputs."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import random_models as world
import torch
from method_cases import BASES, answer, batch_for, configured
from safetensors.torch import save_file
from transformers import TrainerCallback

from shared.finetune import train
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base, load_tuned, storage
from shared.finetune.tasks import TASKS

# What each method's parameters are called
OWN = {
    "lora": ("lora_A", "lora_B"),
    "adalora": ("lora_A", "lora_B", "lora_E"),
    "ia3": ("ia3_l",),
    "prompt-tuning": ("prompt_encoder",),
    "prefix-tuning": ("prompt_encoder",),
    "p-tuning": ("prompt_encoder",),
    "p-tuning-v2": ("prompt_encoder",),
    "adapter": (".adapters.task.", "LayerNorm", "ln_", "layernorm", "layer_norm", "model.norm"),
    "bitfit": (".bias",),
    "head": (),
    "full": ("",),
}
MORE = {  # other architectures, where a method has to do something else than on the first
    ("SEQ_CLS", "gpt2"): ("lora", "ia3", "prompt-tuning", "p-tuning", "p-tuning-v2"),
    ("SEQ_CLS", "llama"): ("lora", "prompt-tuning"),
    ("TOKEN_CLS", "gpt2"): ("bitfit", "prompt-tuning", "p-tuning-v2"),
    ("CAUSAL_LM", "llama"): ("ia3", "adapter", "prompt-tuning", "p-tuning-v2"),
}
BARRED = [("bitfit", "SEQ_2_SEQ_LM"), ("head", "SEQ_2_SEQ_LM"), ("head", "CAUSAL_LM")]  # tests of tasks: refusals
COMBINATIONS = [
    *((method, task, kind) for task, kind in BASES.items() for method in METHODS if (method, task) not in BARRED),
    *((method, task, kind) for (task, kind), methods in MORE.items() for method in methods),
]


STORED: dict[str, str] = {}  # what was trained -> the folder with its files and outputs


@pytest.fixture(scope="module")
def place(bases):
    return bases


class Start(TrainerCallback):
    """Keeps what is trained as it was before the first step."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.trained = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}


@pytest.mark.parametrize(("method", "task", "kind"), COMBINATIONS, ids=["-".join(one) for one in COMBINATIONS])
def test_a_method_on_a_task(place, tmp_path, method, task, kind):
    config = configured(place, method, task, kind)
    base, _ = load_base(config)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    heads = ("classifier", "score", "qa_outputs", "pooler") if TASKS[task].has_head else ()
    start, scored = Start(), method in ("lora", "prompt-tuning")
    result = train.run(config, tmp_path / "checkpoints", seed=0, callbacks=[start], score=scored)
    model = result.trainer.model

    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    wanted = (*OWN[method], *heads)
    assert trained and all(any(part in name for part in wanted) for name in trained), sorted(trained)
    moved = [name for name, one in start.trained.items() if not torch.equal(model.get_parameter(name), one)]
    assert len(moved) > 0.6 * len(trained), f"stood still: {sorted(trained - set(moved))}"
    for head in heads:
        if any(f"{head}." in name for name in before):
            assert any(f"{head}." in name for name in moved), f"{head} is not trained"
    assert all(math.isfinite(step["loss"]) for step in result.history if "loss" in step)
    assert {"seconds", "steps", "trainable", "total", "method", "seed"} <= result.metrics.keys()
    if scored:
        scores = {name: result.metrics[name] for name in TASKS[task].metrics}
        correlation = scores.pop("matthews", 0)  # of a model that learnt nothing it may be below zero
        assert -1 <= correlation <= 1 and all(0 <= one <= 1 for one in scores.values())
        assert result.metrics["main_metric"] in TASKS[task].metrics

    if method != "full":
        frozen = {name: one for name, one in model.state_dict().items() if name not in trained}
        for name, tensor in before.items():
            spots = [spot for spot in frozen if spot.replace(".base_layer", "").endswith(name)]
            if not any(head in name for head in heads) and spots:
                assert torch.equal(frozen[spots[0]], tensor), f"{name} of the base has moved"

    storage.store(model, tmp_path / "out", config)
    result.trainer.processing_class.save_pretrained(tmp_path / "out")
    assert not [file for file in (tmp_path / "out").iterdir() if file.suffix in (".bin", ".pt")]
    torch.manual_seed(99)  # another random head than at the start
    again, tokenizer = load_tuned(config, tmp_path / "out")
    batch = batch_for(config, base, tokenizer)
    torch.testing.assert_close(answer(again, batch), answer(model, batch), rtol=1e-4, atol=1e-5)
    plain = answer(base, batch)
    assert plain.shape == answer(again, batch).shape or task == "CAUSAL_LM"
    if plain.shape == answer(again, batch).shape:
        assert (plain - answer(again, batch)).abs().max() > 1e-4, "two steps have changed nothing"
    world.write_config(tmp_path / "config.yaml", config.given())
    save_file({**batch, "answer": answer(model, batch)}, tmp_path / "stored.safetensors")
    STORED[f"{method} on {task}, {kind}"] = str(tmp_path)


FRESH = """
import json, sys
import torch
from safetensors.torch import load_file
from shared.finetune.config import load_config
from shared.finetune.models import load_tuned

wrong = {}
for name, folder in json.load(sys.stdin).items():
    stored = load_file(f"{folder}/stored.safetensors")
    want = stored.pop("answer")
    model, _ = load_tuned(load_config(f"{folder}/config.yaml"), f"{folder}/out")
    with torch.no_grad():
        out = model(**stored)
    got = torch.cat([out[key].flatten() for key in ("logits", "start_logits", "end_logits") if key in out])
    if got.shape != want.shape or not torch.allclose(got, want, rtol=1e-4, atol=1e-5):
        wrong[name] = str(got.shape) if got.shape != want.shape else float((got - want).abs().max())
print(json.dumps(wrong))
"""


def test_a_fresh_process_gives_the_same_outputs(place, tmp_path):
    """All that the tests above have stored (one of them where this test runs alone), reloaded by a process that has
    seen none of the trainings: heads, virtual tokens and biases come from the files or not at all."""
    if not STORED:
        test_a_method_on_a_task(place, tmp_path, "bitfit", "SEQ_CLS", "bert")
    done = subprocess.run(
        [sys.executable, "-c", FRESH], input=json.dumps(STORED), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {}


@pytest.mark.parametrize("method", ["prefix-tuning", "p-tuning-v2", "prompt-tuning", "p-tuning", "lora"])
def test_a_text_is_generated_as_the_training_sees_it(place, tmp_path, method):
    """Each word that ``generate`` writes is the likeliest one of a forward pass over all words before it."""
    config = configured(place, method, "SEQ_2_SEQ_LM", "t5")
    model = train.run(config, tmp_path / "checkpoints", seed=0, score=False).trainer.model.eval()
    tokenizer = load_base(config)[1]
    batch = batch_for(config, model, tokenizer)
    del batch["decoder_input_ids"]
    with torch.no_grad():
        written = model.generate(**batch, max_new_tokens=5, min_new_tokens=5, do_sample=False)
        logits = model(**batch, decoder_input_ids=written[:, :-1]).logits
        logits[..., model.config.eos_token_id] = -torch.inf  # as min_new_tokens does
    assert torch.equal(logits.argmax(-1), written[:, 1:])
