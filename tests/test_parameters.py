"""Parameter counts: closed forms = verified numbers = peft and torch on the meta device."""

from __future__ import annotations

import functools
import inspect

import pytest
import torch
from verified_counts import VERIFIED

from shared import parameters as P
from shared.errors import ModelError

ROWS = [(model, *row) for model, rows in VERIFIED.items() for row in rows]


@functools.cache
def shared_model(name: str) -> torch.nn.Module:
    return P.reference_model(name)


@pytest.mark.parametrize(("model", "method", "sizes", "count", "percent"), ROWS)
def test_closed_form_equals_verified_count(model, method, sizes, count, percent):
    assert P.formula_count(method, model, **sizes) == count
    assert 100 * count / P.architecture(model).total == pytest.approx(percent, abs=6e-5)


def test_all_formulas_are_verified():
    assert {method for _, method, *_ in ROWS} == set(P.FORMULAS)
    for function, text in P.FORMULAS.values():
        assert text and list(inspect.signature(function).parameters)[0] == "s"


@pytest.mark.parametrize("name", list(P.ARCHITECTURES))
def test_reference_models_have_their_true_size(name):
    model = shared_model(name)
    assert P.count(model).total == P.architecture(name).total
    assert all(parameter.is_meta for parameter in model.parameters())


# --- against peft on the meta device ---------------------------------------------------------------------------------

QV = {
    "bert-base-uncased": ["query", "value"], "bert-large-uncased": ["query", "value"],
    "roberta-base": ["query", "value"], "gpt2": ["c_attn"], "t5-small": ["q", "v"], "Llama-2-7b": ["q_proj", "v_proj"],
}  # fmt: skip


def peft_count(name: str, config) -> int:
    """Trainable parameters of peft's model around a fresh reference model."""
    from peft import get_peft_model

    with torch.device("meta"):
        model = get_peft_model(P.reference_model(name), config)
    return P.count(model).trainable


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(QV))
def test_lora_on_q_and_v_equals_peft(name):
    from peft import LoraConfig

    config = LoraConfig(r=4, target_modules=QV[name], fan_in_fan_out=name == "gpt2")
    shapes = P.linear_shapes(shared_model(name), QV[name]).values()
    count = peft_count(name, config)
    assert count == P.formula_count("lora", name, r=4) == P.lora_count(shapes, 4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["bert-base-uncased", "gpt2", "t5-small", "Llama-2-7b"])
def test_lora_on_all_linear_layers_equals_peft(name):
    from peft import LoraConfig

    # On a bare encoder peft does not know the pooler as an output layer, so it is adapted as any other.
    config = LoraConfig(r=8, target_modules="all-linear", fan_in_fan_out=name == "gpt2")
    shapes = P.linear_shapes(shared_model(name)).values()
    count = peft_count(name, config)
    assert count == P.formula_count("lora-all-linear", name, r=8) == P.lora_count(shapes, 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "settings", "method", "sizes"),
    [
        ("PromptTuningConfig", {}, "prompt-tuning", {}),
        ("PrefixTuningConfig", {}, "prefix-tuning", {}),
        ("PrefixTuningConfig", {"prefix_projection": True, "encoder_hidden_size": 512},
         "prefix-tuning-training", {"k": 512}),
        ("PromptEncoderConfig", {"encoder_hidden_size": 128}, "p-tuning-mlp", {"h": 128}),
        ("PromptEncoderConfig", {"encoder_reparameterization_type": "LSTM", "encoder_hidden_size": 768},
         "p-tuning-lstm", {"h": 768}),
    ],
)  # fmt: skip
def test_prompt_methods_equal_peft(kind, settings, method, sizes):
    import peft

    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=20, **settings)
    assert peft_count("gpt2", config) == P.formula_count(method, "gpt2", p=20, **sizes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "method"), [("bert-base-uncased", "ia3-peft"), ("gpt2", "ia3-peft"), ("Llama-2-7b", "ia3")]
)
def test_ia3_equals_peft(name, method):
    from peft import IA3Config
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
    )
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS,
    )

    kind = P.architecture(name).family
    targets, feedforward = TARGETS[kind], FEEDFORWARD[kind]
    config = IA3Config(target_modules=targets, feedforward_modules=feedforward, fan_in_fan_out=kind == "gpt2")
    assert peft_count(name, config) == P.formula_count(method, name)


@pytest.mark.parametrize("name", ["bert-base-uncased", "roberta-base", "gpt2", "t5-small", "Llama-2-7b"])
def test_bitfit_equals_counting_biases(name):
    biases = [parameter for key, parameter in shared_model(name).named_parameters() if key.endswith("bias")]
    assert sum(parameter.numel() for parameter in biases) == P.formula_count("bitfit", name)


def test_bottlenecks_equal_torch_modules():
    d, m = 768, 48
    adapter = torch.nn.Sequential(torch.nn.Linear(d, m), torch.nn.GELU(), torch.nn.Linear(m, d))
    assert 12 * P.count(adapter).total == P.formula_count("pfeiffer", "bert-base-uncased", m=m)
    assert 24 * P.count(adapter).total == P.formula_count("houlsby", "bert-base-uncased", m=m)


# --- counting --------------------------------------------------------------------------------------------------------


def test_counts_and_percentages():
    model = torch.nn.Sequential(torch.nn.Linear(10, 10, bias=False), torch.nn.Linear(10, 1, bias=False))
    model[0].requires_grad_(False)
    counts = P.count(model)
    assert (counts.trainable, counts.total, counts.frozen) == (10, 110, 100)
    assert counts.percent == pytest.approx(100 / 11) and counts.percent_of_base == 10
    assert str(counts).startswith("10 of 110 parameters are trained (9.09")


def test_tied_weights_count_once():
    model = shared_model("gpt2")
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16])
def test_packed_4_bit_weights_count_unpacked(storage):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    linear = bitsandbytes.nn.Linear4bit(64, 32, bias=False, quant_type="nf4", quant_storage=storage)
    full = P.count(linear).total
    packed = linear.to("cpu")
    assert packed.weight.numel() < 2048, "it is not packed, so this test proves nothing"
    assert full == P.count(packed).total == 2048
    del packed.weight.quant_state
    assert P.numel(packed.weight) == 2048, "without its quant_state (as right after loading) too"


def test_linear_shapes_names_what_there_is():
    model = shared_model("Llama-2-7b")
    shapes = P.linear_shapes(model, ["q_proj", "down_proj"])
    assert shapes["model.layers.0.self_attn.q_proj"] == (4096, 4096)
    assert shapes["model.layers.31.mlp.down_proj"] == (4096, 11008) and len(shapes) == 64
    assert not any("lm_head" in name for name in P.linear_shapes(model))
    assert P.linear_shapes(shared_model("gpt2"), "c_attn")["transformer.h.0.attn.c_attn"] == (2304, 768)
    with pytest.raises(ModelError, match=r"ends in query(.|\n)*k_proj, lm_head, o_proj, q_proj"):
        P.linear_shapes(model, ["q_proj", "query"])


def test_unknown_names():
    with pytest.raises(ModelError, match="no reference architecture 'gpt5'"):
        P.reference_model("gpt5")
    with pytest.raises(ModelError, match="no formula for 'lorra'"):
        P.formula_count("lorra", "gpt2", r=1)
