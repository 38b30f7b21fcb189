"""Every method on every task: the contract of tests/support/method_contract.py."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from method_cases import BASES, batch_for, configured
from method_contract import check_method

from shared.finetune import merge_adapter, train
from shared.finetune.config import load_config
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base
from shared.finetune.tasks import TASKS

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


@pytest.mark.parametrize(("method", "task", "kind"), COMBINATIONS, ids=["-".join(one) for one in COMBINATIONS])
def test_a_method_on_a_task(place, tmp_path, method, task, kind):
    scored = method in ("lora", "prompt-tuning")
    STORED[f"{method} on {task}, {kind}"] = check_method(place, tmp_path, method, task, kind, scored)


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


MERGED = dict.fromkeys(
    [
        *((name, "SEQ_CLS", "bert") for name, method in METHODS.items() if method.mergeable and name != "head"),
        ("lora", "SEQ_CLS", "gpt2"),
        ("adalora", "TOKEN_CLS", "bert"),
        ("ia3", "QUESTION_ANS", "bert"),
        ("ia3", "SEQ_2_SEQ_LM", "t5"),
        ("vera", "CAUSAL_LM", "gpt2"),
        ("ln-tuning", "SEQ_2_SEQ_LM", "t5"),
        ("ln-tuning", "CAUSAL_LM", "gpt2"),
    ]
)


@pytest.mark.parametrize(("method", "task", "kind"), MERGED)
def test_merged_models_load_without_the_method(place, tmp_path, method, task, kind):
    """What the contract has trained and stored is merged; it is trained here only where this test runs alone."""
    folder = STORED.get(f"{method} on {task}, {kind}") or check_method(place, tmp_path / "trained", method, task, kind)
    config = load_config(f"{folder}/config.yaml")
    report = merge_adapter.merge(config, f"{folder}/out", tmp_path / "merged")
    assert report.verified and report.relative_error < 1e-4 < report.adapter_effect and report.layers > 2
    assert not list((tmp_path / "merged").glob("adapter*"))
    about = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert about["architectures"][0].endswith(TASKS[task].auto_class.removeprefix("AutoModel").removesuffix("LM")) or (
        task in ("SEQ_2_SEQ_LM", "CAUSAL_LM")
    )


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
