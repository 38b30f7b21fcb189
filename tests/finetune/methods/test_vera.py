"""VeRA: its formula, what it trains and stores, and the contract on more architectures."""

from __future__ import annotations

import pytest
import torch
from method_cases import configured
from method_contract import check_method

from shared.finetune.methods import METHODS
from shared.finetune.models import load_base

SETTINGS = {"vera_r": 6, "target_modules": ["query", "intermediate.dense"]}


@pytest.mark.parametrize(("task", "kind"), [("SEQ_CLS", "gpt2"), ("TOKEN_CLS", "roberta"), ("CAUSAL_LM", "llama")])
def test_the_contract_holds_on_other_architectures(bases, tmp_path, task, kind):
    check_method(bases, tmp_path, "vera", task, kind)


def adapted(bases, **settings):
    config = configured(bases, "vera", "TOKEN_CLS", "bert", SETTINGS | settings)
    model, _ = load_base(config)
    return METHODS["vera"].apply(model, config.peft, "TOKEN_CLS"), config


def test_the_update_is_the_papers_formula_and_starts_at_zero(bases):
    model, _ = adapted(bases)
    layer = model.get_submodule("base_model.model.bert.encoder.layer.0.attention.self.query")
    x = torch.randn(3, 32)
    torch.testing.assert_close(layer(x), layer.base_layer(x), msg="Λ_b is zero at the start")
    b, d = (getattr(layer, f"vera_lambda_{name}")["default"] for name in "bd")
    assert torch.equal(d, torch.full((6,), 0.1)) and not b.any()
    with torch.no_grad():
        b.normal_()
        d.normal_()
    frozen_a, frozen_b = (getattr(layer, f"vera_{name}")["default"] for name in "AB")
    update = torch.diag(b) @ frozen_b[:32] @ torch.diag(d) @ frozen_a[:, :32]
    torch.testing.assert_close(layer(x), layer.base_layer(x) + x @ update.T)


def test_the_number_of_parameters_is_r_plus_d_out_per_matrix(bases):
    model, _ = adapted(bases)
    own = [one.numel() for name, one in model.named_parameters() if one.requires_grad and "vera" in name]
    assert sum(own) == 2 * ((6 + 32) + (6 + 48)), "two layers, each with query (32 -> 32) and intermediate (32 -> 48)"


def test_the_seed_decides_the_frozen_matrices_and_all_layers_share_them(bases):
    first, again, other = (adapted(bases, projection_prng_key=seed)[0] for seed in (0, 0, 1))
    a = [model.base_model.vera_A["default"] for model in (first, again, other)]
    assert torch.equal(a[0], a[1]) and not torch.equal(a[0], a[2])
    layers = [module for module in first.modules() if hasattr(module, "vera_lambda_b")]
    assert len(layers) == 4 and all(one.vera_A is layers[0].vera_A for one in layers)
