"""LN tuning: which layers it trains, what it refuses, and the contract on more architectures."""

from __future__ import annotations

import pytest
import torch
from method_cases import configured
from method_contract import check_method

from shared.errors import ModelError
from shared.finetune.methods import METHODS
from shared.finetune.methods.ln_tuning import norm_modules
from shared.finetune.models import load_base


@pytest.mark.parametrize(("task", "kind"), [("SEQ_CLS", "gpt2"), ("TOKEN_CLS", "roberta"), ("CAUSAL_LM", "llama")])
def test_the_contract_holds_on_other_architectures(bases, tmp_path, task, kind):
    check_method(bases, tmp_path, "ln-tuning", task, kind)


@pytest.mark.parametrize(
    ("task", "kind", "number"),
    # BERT: 2 per layer and the embeddings'; GPT-2, Llama: 2 per layer and the last; T5: 2 per encoder layer, 3 per
    # decoder layer, and the last of either
    [("TOKEN_CLS", "bert", 5), ("CAUSAL_LM", "gpt2", 5), ("CAUSAL_LM", "llama", 5), ("SEQ_2_SEQ_LM", "t5", 12)],
)
def test_all_normalization_layers_are_found(bases, task, kind, number):
    model, _ = load_base(configured(bases, "ln-tuning", task, kind))
    assert len(norm_modules(model)) == number


def test_only_the_named_layers_are_trained(bases):
    config = configured(bases, "ln-tuning", "TOKEN_CLS", "bert", {"layers": [1]})
    model, _ = load_base(config)
    tuned = METHODS["ln-tuning"].apply(model, config.peft, "TOKEN_CLS")
    trained = [name for name, one in tuned.named_parameters() if one.requires_grad and "classifier" not in name]
    assert len(trained) == 4 and all("layer.1." in name for name in trained), "weight and bias of two LayerNorms"


def test_layers_that_the_model_does_not_have_are_refused(bases):
    config = configured(bases, "ln-tuning", "TOKEN_CLS", "bert", {"layers": [7]})
    with pytest.raises(ModelError, match="peft.layers") as caught:
        METHODS["ln-tuning"].apply(load_base(config)[0], config.peft, "TOKEN_CLS")
    assert caught.value.fix


def test_a_model_without_normalization_layers_is_refused():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    section = METHODS["ln-tuning"].section(method="ln-tuning")
    reason, fix = METHODS["ln-tuning"].refuse(section, model, "CAUSAL_LM")
    assert "no normalization layers" in reason and fix


def test_users_do_not_see_pefts_notice_about_normalization_layers(bases, recwarn):
    from shared.library_notices import hide_library_notices

    config = configured(bases, "ln-tuning", "TOKEN_CLS", "bert")
    model, _ = load_base(config)
    hide_library_notices()
    METHODS["ln-tuning"].apply(model, config.peft, "TOKEN_CLS")
    assert not [one for one in recwarn if "Unsupported layer type" in str(one.message)]
