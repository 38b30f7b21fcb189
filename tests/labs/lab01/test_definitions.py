"""LoRA and NF4 as 02-Train writes them, taken out of the notebook, equal the libraries on many shapes."""

import bitsandbytes.functional as bnb
import pytest
import torch
from notebook_code import definitions
from peft import LoraConfig, get_peft_model
from torch import nn

LAB, STAGE = "Lab-01-LoRA", "02-Train"


def lora_pair(r, alpha, seed, cls):
    """The notebook's layer and peft's with the same random weights (B too: 0 == 0 proves nothing)."""
    torch.manual_seed(seed)
    base = nn.Linear(24, 40, bias=bool(seed % 2))
    holder = nn.ModuleDict({"proj": nn.Linear(24, 40, bias=bool(seed % 2))})
    holder.load_state_dict({f"proj.{k}": v for k, v in base.state_dict().items()})
    theirs = get_peft_model(holder, LoraConfig(r=r, lora_alpha=alpha, target_modules=["proj"])).base_model.model["proj"]
    ours = cls(base, r, alpha)
    with torch.no_grad():
        ours.B.normal_()
        theirs.lora_A.default.weight.copy_(ours.A)
        theirs.lora_B.default.weight.copy_(ours.B)
    return ours, theirs


def gradients(layer, a, b, x):
    x = x.clone().requires_grad_()
    out = layer(x)
    out.square().sum().backward()
    return out, a.grad, b.grad, x.grad


@pytest.mark.parametrize(("r", "alpha", "seed"), [(1, 1, 0), (4, 8, 1), (16, 4, 2), (24, 48, 3)])
def test_lora_linear_equals_peft_in_output_and_gradients(r, alpha, seed):
    cls = definitions(LAB, STAGE, "LoRALinear")["LoRALinear"]
    ours, theirs = lora_pair(r, alpha, seed, cls)
    x = torch.randn(3, 7, 24)
    left = gradients(ours, ours.A, ours.B, x)
    right = gradients(theirs, theirs.lora_A.default.weight, theirs.lora_B.default.weight, x)
    for mine, library in zip(left, right, strict=True):
        torch.testing.assert_close(mine, library)
    assert ours.base.weight.grad is None


def test_the_comparison_notices_a_wrong_scale():
    cls = definitions(LAB, STAGE, "LoRALinear")["LoRALinear"]
    ours, theirs = lora_pair(4, 8, 0, cls)
    ours.scale *= 2
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(torch.ones(1, 24)), theirs(torch.ones(1, 24)))


def test_add_lora_wraps_exactly_the_targets_and_freezes_the_rest():
    found = definitions(LAB, STAGE, "LoRALinear", "add_lora")
    model = nn.ModuleDict({"q_proj": nn.Linear(8, 8), "k_proj": nn.Linear(8, 8), "norm": nn.LayerNorm(8)})
    found["add_lora"](model, ["q_proj"], r=2, alpha=4)
    assert isinstance(model["q_proj"], found["LoRALinear"]) and isinstance(model["k_proj"], nn.Linear)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {"q_proj.A", "q_proj.B"}


@pytest.mark.parametrize(("shape", "scale", "seed"), [((64, 64), 1.0, 0), ((128, 320), 0.02, 1), ((33, 128), 5.0, 2)])
def test_nf4_codes_and_double_quantisation_equal_bitsandbytes(shape, scale, seed):
    code = definitions(LAB, STAGE, "nf4_codebook")["nf4_codebook"]()
    found = definitions(LAB, STAGE, "quantize_nf4", "dynamic_map", "double_quantize", code=code)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale
    codes, absmax = found["quantize_nf4"](weight)
    packed, state = bnb.quantize_4bit(weight, quant_type="nf4", blocksize=64)
    library = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], dim=1).reshape(codes.shape).long()
    assert torch.equal(codes, library) and torch.equal(absmax.flatten(), state.absmax)
    packed, state = bnb.quantize_4bit(weight, quant_type="nf4", blocksize=64, compress_statistics=True)
    ours, truth = found["double_quantize"](absmax), absmax.flatten()
    theirs = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
    assert torch.isclose(ours, theirs, rtol=1e-6).float().mean() > 0.98
    # bitsandbytes searches its table on a grid of 2^-16: a constant between two entries may go to the other one
    tie = (truth - truth.mean()).abs().max() / 2**15
    assert ((ours - truth).abs() - (theirs - truth).abs()).abs().max() <= tie


def test_the_code_book_is_asymmetric_with_an_exact_zero():
    code = definitions(LAB, STAGE, "nf4_codebook")["nf4_codebook"]()
    assert len(code) == 16 and code[7] == 0 and code[0] == -1 and code[-1] == 1
    assert (code < 0).sum() == 7 and (code > 0).sum() == 8
