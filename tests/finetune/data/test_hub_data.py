"""The Hub's data sets of the shipped configurations, with their true columns, from a prepared cache."""

from __future__ import annotations

import datasets
import hub_cache
import pytest
from datasets import Dataset

from shared.finetune.config import load_config
from shared.finetune.data import load_rows, response_of, to_prompt_completion
from shared.finetune.models import load_base
from shared.paths import repo_root

CONFIGS = "shared/finetune/configs"
ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n{output}"
)
TURNS = [
    {"role": "user", "content": "Add two."}, {"role": "assistant", "content": "def add(a, b): return a - b"},
    {"role": "user", "content": "That subtracts."}, {"role": "assistant", "content": "def add(a, b): return a + b"},
]  # fmt: skip
# name on the Hub -> (its configuration's name, splits, a row with the true columns, the configuration that uses it,
# overrides, the prompt's start, the completion's end)
SETS = {
    "meta-math/MetaMathQA": (
        "default", ("train",),
        {"type": "GSM_Rephrased", "query": "What is 2 + 3?", "original_question": "2 + 3?",
         "response": "2 + 3 = 5. The answer is: 5"},
        f"{CONFIGS}/metamath_qa.yaml", (), "Query: What is 2 + 3?", " 2 + 3 = 5. The answer is: 5",
    ),
    "openai/gsm8k": (
        "main", ("train", "test"), {"question": "2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
        f"{CONFIGS}/gsm8k.yaml", (), "Question: 2 + 3?", "\n#### 5",
    ),
    "m-a-p/Code-Feedback": (
        "default", ("train",), {"id": 1, "messages": TURNS},
        f"{CONFIGS}/code_feedback.yaml", ("model.name_or_path=tiny:llama",), "", "def add(a, b): return a + b",
    ),
    "tatsu-lab/alpaca": (
        "default", ("train",),
        {"instruction": "Sort.", "input": "3 1 2", "output": "1 2 3", "text": "Below is …"},
        f"{CONFIGS}/gsm8k.yaml",
        ("dataset.name=tatsu-lab/alpaca", "dataset.config=null", "dataset.eval_split=train[95%:]",
         "dataset.test_split=train[:5%]"),
        "Below is an instruction", "1 2 3",
    ),
    "timdettmers/openassistant-guanaco": (
        "default", ("train", "test"), {"text": "### Human: hi### Assistant: hello"},
        "Lab-01-LoRA/configs/full.yaml", (), "### Human: hi### Assistant:", " hello",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    cache = tmp_path_factory.mktemp("hub")
    for name, (config, splits, row, *_) in SETS.items():
        hub_cache.fill(cache, name, config, {split: Dataset.from_list([row] * 200) for split in splits})
    return cache


@pytest.mark.parametrize("name", SETS)
def test_a_hub_data_set_becomes_prompts_and_completions(hub, monkeypatch, name):
    """Through load_dataset itself, with the splits and slices that the configuration names."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", hub)
    _, _, row, file, overrides, start, end = SETS[name]
    config = load_config(repo_root() / file, list(overrides))
    if name == "tatsu-lab/alpaca":
        config = config.changed(dataset={"prompt_template": ALPACA})
    assert config.dataset.name == name
    tokenizer = load_base(config)[1] if "messages" in row else None
    sizes = []
    for split in ("train", "eval", "test"):
        rows = load_rows(config.dataset, split)
        assert rows.column_names == list(row)
        pair = to_prompt_completion(rows, config.dataset, tokenizer)[0]
        assert pair["prompt"].startswith(start) and pair["completion"].rstrip().endswith(end), pair
        assert response_of(rows[0], config.dataset) and response_of(rows[0], config.dataset) not in pair["prompt"]
        sizes.append(len(rows))
    assert min(sizes) >= 2 and sizes[0] >= 190
