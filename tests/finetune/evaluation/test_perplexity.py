"""Perplexity: a model that knows nothing has the vocabulary's size; batches and virtual tokens change nothing."""

from __future__ import annotations

import math

import pytest
import random_models as world
import torch

from shared.finetune import evaluate
from shared.finetune.config import Config
from shared.finetune.data import load_rows
from shared.finetune.evaluation.perplexity import perplexity
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base
from shared.finetune.schema.problems import InvalidConfig

KINDS = {"CAUSAL_LM": "llama", "SEQ_2_SEQ_LM": "t5"}


@pytest.fixture(params=KINDS)
def task(request):
    return request.param


def configured(bases, task, **changes) -> Config:
    values = world.task_config(
        bases / KINDS[task], bases / f"{task}.jsonl", task, changes.pop("peft", {"method": "full"})
    )
    return Config.model_validate(values).changed(**changes)


def head(model):
    return model.get_output_embeddings().weight


def test_a_model_that_knows_nothing_has_the_vocabularys_size(bases, task):
    config = configured(bases, task)
    model, tokenizer = load_base(config)
    with torch.no_grad():
        head(model).zero_()
    found = perplexity(model, tokenizer, load_rows(config.dataset, "test"), config)
    assert found == pytest.approx(head(model).shape[0], rel=1e-4)


def test_it_is_the_models_own_loss_per_token_whatever_the_batches(bases, task):
    """Row by row with the labels given to the model itself, and all rows in one padded batch."""
    config = configured(bases, task, evaluation={"batch_size": 64})
    model, tokenizer = load_base(config)
    with torch.no_grad():  # a random model is near to knowing nothing: larger weights tell rows apart
        head(model).mul_(20)
    rows = load_rows(config.dataset, "test")
    together = perplexity(model, tokenizer, rows, config)
    one_by_one = perplexity(model, tokenizer, rows, config.changed(evaluation={"batch_size": 1}))
    assert together == pytest.approx(one_by_one, rel=1e-4)
    losses, tokens = [], 0
    for row in rows:
        prompt, answer = f"Question : {row['question']}\nAnswer :", f" {row['answer']}"
        first, whole = (
            tokenizer(prompt)["input_ids"],
            tokenizer(prompt + answer)["input_ids"] + [tokenizer.eos_token_id],
        )
        labels = [-100] * len(first) + whole[len(first) :]
        if task == "SEQ_2_SEQ_LM":
            whole, labels = tokenizer(prompt.strip())["input_ids"], tokenizer(answer.strip())["input_ids"]
        found = model(input_ids=torch.tensor([whole]), labels=torch.tensor([labels]))
        number = sum(label != -100 for label in labels)
        losses.append(found.loss.item() * number)
        tokens += number
    assert together == pytest.approx(math.exp(sum(losses) / tokens), rel=1e-4)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_virtual_tokens_are_not_counted(bases, task, method):
    config = configured(bases, task, peft={"method": method, "num_virtual_tokens": 3})
    model, tokenizer = load_base(config)
    model = METHODS[method].apply(model, config.peft, task)
    with torch.no_grad():
        head(model).zero_()
    found = perplexity(model, tokenizer, load_rows(config.dataset, "test"), config)
    assert found == pytest.approx(head(model).shape[0], rel=1e-4)


def test_it_is_measured_where_it_is_asked_for(bases, task):
    config = configured(bases, task, evaluation={"perplexity": True, "max_new_tokens": 2})
    found = evaluate.evaluate_rows(*load_base(config), config)
    assert found["perplexity"] > 1 and f"perplexity {found['perplexity']:.2f}" in evaluate.scores_text(found)
    assert "perplexity" not in evaluate.evaluate_rows(*load_base(config), configured(bases, task))


def test_classes_have_none(bases):
    values = world.task_config(bases / "bert", bases / "SEQ_CLS.jsonl", "SEQ_CLS", {"method": "full"})
    with pytest.raises(InvalidConfig, match="evaluation.perplexity = True: SEQ_CLS generates no text"):
        Config.model_validate(values).changed(evaluation={"perplexity": True})
