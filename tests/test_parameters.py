"""Parameter counts: closed forms = verified numbers = peft and torch on the meta device."""

from __future__ import annotations

import functools
import inspect

import pytest
import torch

from shared import parameters as P
from shared.errors import ModelError

#: Trainable parameters without the task's head, and 100 x trainable / base [%]: computed once with torch 2.13,
#: transformers 5.23 and peft 0.21.2 on the meta device, by hand-written modules where peft has no such method, and by
#: arithmetic for the rest.
VERIFIED = {
    "bert-base-uncased": [
        ("houlsby", {"m": 8}, 313_536, 0.2864),
        ("houlsby", {"m": 48}, 1_789_056, 1.6341),
        ("houlsby", {"m": 64}, 2_379_264, 2.1732),
        ("houlsby", {"m": 256}, 9_461_760, 8.6423),
        ("houlsby", {"m": 64, "layernorm": True}, 2_417_664, 2.2083),
        ("pfeiffer", {"m": 16}, 304_320, 0.2780),
        ("pfeiffer", {"m": 48}, 894_528, 0.8171),
        ("pfeiffer", {"m": 64}, 1_189_632, 1.0866),
        ("lora", {"r": 1}, 36_864, 0.0337),
        ("lora", {"r": 4}, 147_456, 0.1347),
        ("lora", {"r": 8}, 294_912, 0.2694),
        ("lora", {"r": 16}, 589_824, 0.5387),
        ("lora-all-linear", {"r": 8}, 1_339_392, 1.2234),
        ("prompt-tuning", {"p": 10}, 7_680, 0.0070),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0140),
        ("prompt-tuning", {"p": 100}, 76_800, 0.0701),
        ("prefix-tuning", {"p": 10}, 184_320, 0.1684),
        ("prefix-tuning", {"p": 20}, 368_640, 0.3367),
        ("prefix-tuning", {"p": 100}, 1_843_200, 1.6836),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 9_857_024, 9.0033),
        ("p-tuning-mlp", {"p": 20, "h": 768}, 1_787_136, 1.6324),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 229_376, 0.2095),
        ("p-tuning-lstm", {"p": 20, "h": 768}, 27_174_144, 24.8206),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0140),
        ("ia3", {}, 55_296, 0.0505),
        ("ia3-peft", {}, 64_512, 0.0589),
        ("bitfit", {}, 102_912, 0.0940),
        ("bitfit-subset", {}, 46_080, 0.0421),
    ],
    "bert-large-uncased": [
        ("houlsby", {"m": 8}, 835_968, 0.2494),
        ("houlsby", {"m": 48}, 4_770_048, 1.4233),
        ("houlsby", {"m": 64}, 6_343_680, 1.8928),
        ("houlsby", {"m": 256}, 25_227_264, 7.5273),
        ("houlsby", {"m": 64, "layernorm": True}, 6_444_032, 1.9228),
        ("pfeiffer", {"m": 16}, 811_392, 0.2421),
        ("pfeiffer", {"m": 48}, 2_385_024, 0.7116),
        ("pfeiffer", {"m": 64}, 3_171_840, 0.9464),
        ("lora", {"r": 1}, 98_304, 0.0293),
        ("lora", {"r": 4}, 393_216, 0.1173),
        ("lora", {"r": 8}, 786_432, 0.2347),
        ("lora", {"r": 16}, 1_572_864, 0.4693),
        ("lora-all-linear", {"r": 8}, 3_555_328, 1.0608),
        ("prompt-tuning", {"p": 10}, 10_240, 0.0031),
        ("prompt-tuning", {"p": 20}, 20_480, 0.0061),
        ("prompt-tuning", {"p": 100}, 102_400, 0.0306),
        ("prefix-tuning", {"p": 10}, 491_520, 0.1467),
        ("prefix-tuning", {"p": 20}, 983_040, 0.2933),
        ("prefix-tuning", {"p": 100}, 4_915_200, 1.4666),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 25_750_016, 7.6833),
        ("p-tuning-mlp", {"p": 20, "h": 1024}, 3_169_280, 0.9457),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 300_288, 0.0896),
        ("p-tuning-lstm", {"p": 20, "h": 1024}, 48_290_816, 14.4091),
        ("prompt-tuning", {"p": 20}, 20_480, 0.0061),
        ("ia3", {}, 147_456, 0.0440),
        ("ia3-peft", {}, 172_032, 0.0513),
        ("bitfit", {}, 272_384, 0.0813),
        ("bitfit-subset", {}, 122_880, 0.0367),
    ],
    "roberta-base": [
        ("houlsby", {"m": 8}, 313_536, 0.2515),
        ("houlsby", {"m": 48}, 1_789_056, 1.4353),
        ("houlsby", {"m": 64}, 2_379_264, 1.9088),
        ("houlsby", {"m": 256}, 9_461_760, 7.5909),
        ("houlsby", {"m": 64, "layernorm": True}, 2_417_664, 1.9396),
        ("pfeiffer", {"m": 16}, 304_320, 0.2441),
        ("pfeiffer", {"m": 48}, 894_528, 0.7177),
        ("pfeiffer", {"m": 64}, 1_189_632, 0.9544),
        ("lora", {"r": 1}, 36_864, 0.0296),
        ("lora", {"r": 4}, 147_456, 0.1183),
        ("lora", {"r": 8}, 294_912, 0.2366),
        ("lora", {"r": 16}, 589_824, 0.4732),
        ("lora-all-linear", {"r": 8}, 1_339_392, 1.0746),
        ("prompt-tuning", {"p": 10}, 7_680, 0.0062),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0123),
        ("prompt-tuning", {"p": 100}, 76_800, 0.0616),
        ("prefix-tuning", {"p": 10}, 184_320, 0.1479),
        ("prefix-tuning", {"p": 20}, 368_640, 0.2958),
        ("prefix-tuning", {"p": 100}, 1_843_200, 1.4788),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 9_857_024, 7.9080),
        ("p-tuning-mlp", {"p": 20, "h": 768}, 1_787_136, 1.4338),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 229_376, 0.1840),
        ("p-tuning-lstm", {"p": 20, "h": 768}, 27_174_144, 21.8011),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0123),
        ("ia3", {}, 55_296, 0.0444),
        ("ia3-peft", {}, 64_512, 0.0518),
        ("bitfit", {}, 102_912, 0.0826),
        ("bitfit-subset", {}, 46_080, 0.0370),
    ],
    "gpt2": [
        ("houlsby", {"m": 8}, 313_536, 0.2520),
        ("houlsby", {"m": 48}, 1_789_056, 1.4377),
        ("houlsby", {"m": 64}, 2_379_264, 1.9120),
        ("houlsby", {"m": 256}, 9_461_760, 7.6035),
        ("pfeiffer", {"m": 16}, 304_320, 0.2446),
        ("pfeiffer", {"m": 48}, 894_528, 0.7188),
        ("pfeiffer", {"m": 64}, 1_189_632, 0.9560),
        ("lora", {"r": 1}, 36_864, 0.0296),
        ("lora", {"r": 4}, 147_456, 0.1185),
        ("lora", {"r": 8}, 294_912, 0.2370),
        ("lora", {"r": 16}, 589_824, 0.4740),
        ("lora-all-linear", {"r": 8}, 1_179_648, 0.9480),
        ("prompt-tuning", {"p": 10}, 7_680, 0.0062),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0123),
        ("prompt-tuning", {"p": 100}, 76_800, 0.0617),
        ("prefix-tuning", {"p": 10}, 184_320, 0.1481),
        ("prefix-tuning", {"p": 20}, 368_640, 0.2962),
        ("prefix-tuning", {"p": 100}, 1_843_200, 1.4812),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 9_857_024, 7.9211),
        ("p-tuning-mlp", {"p": 20, "h": 768}, 1_787_136, 1.4361),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 229_376, 0.1843),
        ("p-tuning-lstm", {"p": 20, "h": 768}, 27_174_144, 21.8372),
        ("prompt-tuning", {"p": 20}, 15_360, 0.0123),
        ("ia3", {}, 55_296, 0.0444),
        ("ia3-peft", {}, 64_512, 0.0518),
        ("bitfit", {}, 102_144, 0.0821),
    ],
    "t5-small": [
        ("houlsby", {"m": 8}, 209_088, 0.3456),
        ("houlsby", {"m": 48}, 1_193_088, 1.9718),
        ("houlsby", {"m": 64}, 1_586_688, 2.6223),
        ("houlsby", {"m": 256}, 6_309_888, 10.4284),
        ("pfeiffer", {"m": 16}, 202_944, 0.3354),
        ("pfeiffer", {"m": 48}, 596_544, 0.9859),
        ("pfeiffer", {"m": 64}, 793_344, 1.3112),
        ("lora", {"r": 1}, 36_864, 0.0609),
        ("lora", {"r": 4}, 147_456, 0.2437),
        ("lora", {"r": 8}, 294_912, 0.4874),
        ("lora", {"r": 16}, 589_824, 0.9748),
        ("lora-all-linear", {"r": 8}, 1_081_344, 1.7871),
        ("prompt-tuning", {"p": 10}, 5_120, 0.0085),
        ("prompt-tuning", {"p": 20}, 10_240, 0.0169),
        ("prompt-tuning", {"p": 100}, 51_200, 0.0846),
        ("prefix-tuning", {"p": 10}, 61_440, 0.1015),
        ("prefix-tuning", {"p": 20}, 122_880, 0.2031),
        ("prefix-tuning", {"p": 100}, 614_400, 1.0154),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 3_419_648, 5.6517),
        ("p-tuning-mlp", {"p": 20, "h": 512}, 808_448, 1.3361),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 168_704, 0.2788),
        ("p-tuning-lstm", {"p": 20, "h": 512}, 12_097_024, 19.9929),
        ("prompt-tuning", {"p": 20}, 10_240, 0.0169),
        ("ia3", {}, 43_008, 0.0711),
        ("bitfit", {}, 0, 0.0000),
    ],
    "Llama-2-7b": [
        ("houlsby", {"m": 8}, 4_456_960, 0.0661),
        ("houlsby", {"m": 48}, 25_431_040, 0.3774),
        ("houlsby", {"m": 64}, 33_820_672, 0.5019),
        ("houlsby", {"m": 256}, 134_496_256, 1.9960),
        ("pfeiffer", {"m": 16}, 4_325_888, 0.0642),
        ("pfeiffer", {"m": 48}, 12_715_520, 0.1887),
        ("pfeiffer", {"m": 64}, 16_910_336, 0.2510),
        ("lora", {"r": 1}, 524_288, 0.0078),
        ("lora", {"r": 4}, 2_097_152, 0.0311),
        ("lora", {"r": 8}, 4_194_304, 0.0622),
        ("lora", {"r": 16}, 8_388_608, 0.1245),
        ("lora-all-linear", {"r": 8}, 19_988_480, 0.2966),
        ("lora-all-linear", {"r": 16}, 39_976_960, 0.5933),
        ("lora-all-linear", {"r": 64}, 159_907_840, 2.3731),
        ("prompt-tuning", {"p": 10}, 40_960, 0.0006),
        ("prompt-tuning", {"p": 20}, 81_920, 0.0012),
        ("prompt-tuning", {"p": 100}, 409_600, 0.0061),
        ("prefix-tuning", {"p": 10}, 2_621_440, 0.0389),
        ("prefix-tuning", {"p": 20}, 5_242_880, 0.0778),
        ("prefix-tuning", {"p": 100}, 26_214_400, 0.3890),
        ("prefix-tuning-training", {"p": 10, "k": 512}, 136_618_496, 2.0275),
        ("p-tuning-mlp", {"p": 20, "h": 4096}, 50_425_856, 0.7483),
        ("p-tuning-mlp", {"p": 20, "h": 128}, 1_151_232, 0.0171),
        ("p-tuning-lstm", {"p": 20, "h": 4096}, 771_977_216, 11.4564),
        ("prompt-tuning", {"p": 20}, 81_920, 0.0012),
        ("ia3", {}, 614_400, 0.0091),
        ("bitfit", {}, 0, 0.0000),
    ],
}
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
