"""The adapters of 02-Train, taken out of the notebook, equal the adapters library on several shapes, gradients too."""

import logging

import adapters
import pytest
import torch
from adapters import DoubleSeqBnConfig, SeqBnConfig
from adapters.configuration import DynamicAdapterFusionConfig, StaticAdapterFusionConfig
from adapters.methods.modeling import BertFusion
from notebook_code import definitions
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

LAB, STAGE = "Lab-02-AdapterLayers", "02-Train"
PRESETS = {"houlsby": DoubleSeqBnConfig, "pfeiffer": SeqBnConfig}
PHI = {"relu": nn.functional.relu, "gelu": nn.functional.gelu, "swish": nn.functional.silu}


@pytest.fixture(scope="module")
def notebook():
    return definitions(LAB, STAGE, "Bottleneck", "AdaptedOutput", "add_bottlenecks", "Fusion")


def bert(d, layers, seed):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=d, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=2 * d,
        max_position_embeddings=16,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def ours_and_theirs(notebook, kind, phi, d, m, layers, seed):
    """The notebook's model and the library's, on equal bases, with the same random (not near-zero) adapters."""
    logging.getLogger("adapters").setLevel(logging.ERROR)
    ours, theirs = bert(d, layers, seed), bert(d, layers, seed)
    notebook["add_bottlenecks"](ours, kind, m, phi=PHI[phi], std=0.3)
    adapters.init(theirs)
    theirs.add_adapter("task", config=PRESETS[kind](reduction_factor=d / (m + 0.5), non_linearity=phi), set_active=True)
    theirs.train_adapter("task")
    return ours, theirs.eval()


def pairs(notebook, ours, theirs):
    for name, mine in ours.named_modules():
        if isinstance(mine, notebook["AdaptedOutput"]):
            twin = theirs.get_submodule(name).adapters["task"]
            for own, library in ((mine.bottleneck.down, twin.adapter_down[0]), (mine.bottleneck.up, twin.adapter_up)):
                nn.init.normal_(own.bias, std=0.1)
                yield own, library


CASES = [
    ("houlsby", "gelu", 16, 4, 2, 0),
    ("houlsby", "swish", 24, 5, 1, 1),
    ("houlsby", "relu", 8, 1, 3, 2),
    ("pfeiffer", "relu", 16, 4, 2, 3),
    ("pfeiffer", "gelu", 24, 7, 1, 4),
]


@pytest.mark.parametrize(("kind", "phi", "d", "m", "layers", "seed"), CASES)
def test_both_placements_equal_the_library_in_logits_and_gradients(notebook, kind, phi, d, m, layers, seed):
    ours, theirs = ours_and_theirs(notebook, kind, phi, d, m, layers, seed)
    twins = list(pairs(notebook, ours, theirs))
    assert len(twins) == 2 * layers * (2 if kind == "houlsby" else 1)
    for own, library in twins:
        assert own.weight.shape == library.weight.shape
        library.load_state_dict(own.state_dict())
        own.requires_grad_(True)
    ids, mask = torch.randint(50, (3, 7)), torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]])
    left, right = (model(input_ids=ids, attention_mask=mask).logits for model in (ours, theirs))
    left.square().sum().backward()
    right.square().sum().backward()
    torch.testing.assert_close(left, right)
    for own, library in twins:
        torch.testing.assert_close(own.weight.grad, library.weight.grad)
        torch.testing.assert_close(own.bias.grad, library.bias.grad)
    frozen = [p for n, p in ours.named_parameters() if "bottleneck" not in n and "classifier" not in n]
    assert frozen and all(p.grad is None for p in frozen)


def test_the_comparison_notices_the_other_placement(notebook):
    ours, theirs = ours_and_theirs(notebook, "pfeiffer", "relu", 16, 4, 2, 0)
    for own, library in pairs(notebook, ours, theirs):
        library.load_state_dict(own.state_dict())
    for module in ours.modules():
        if isinstance(module, notebook["AdaptedOutput"]):
            module.kind = "houlsby"  # planted: reads the projection instead of the LayerNorm's output
    ids = torch.randint(50, (2, 5))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)


def test_a_fresh_bottleneck_is_nearly_the_identity_and_has_the_formulas_size(notebook):
    torch.manual_seed(0)
    bottleneck, h = notebook["Bottleneck"](64, 8), torch.randn(2, 3, 64)
    assert (bottleneck(h) - h).norm() < 1e-4 * h.norm()
    assert sum(p.numel() for p in bottleneck.parameters()) == 2 * 8 * 64 + 64 + 8
    assert max(layer.weight.abs().max() for layer in (bottleneck.down, bottleneck.up)) <= 2e-3


@pytest.mark.parametrize(("d", "n", "seed"), [(8, 2, 0), (16, 3, 1), (12, 5, 2)])
def test_fusion_equals_the_library_in_output_and_gradients(notebook, d, n, seed):
    torch.manual_seed(seed)
    ours, theirs = notebook["Fusion"](d), BertFusion(DynamicAdapterFusionConfig(), d, 0.0)
    nn.init.normal_(ours.value.weight)
    theirs.load_state_dict(ours.state_dict())
    state, updates, residual = torch.randn(2, 4, d), torch.randn(2, 4, n, d), torch.randn(2, 4, d)
    left, right = ours(state, updates, residual), theirs(state, updates, updates, residual.clone())
    left.square().sum().backward()
    right.square().sum().backward()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, rtol=1e-3, atol=1e-3)


def test_the_comparison_notices_a_scaled_attention(notebook):
    torch.manual_seed(0)
    ours, theirs = notebook["Fusion"](8), BertFusion(StaticAdapterFusionConfig(), 8, 0.0)
    theirs.load_state_dict({name: p for name, p in ours.state_dict().items() if "value" not in name})
    state, updates = torch.randn(1, 3, 8), torch.randn(1, 3, 2, 8)
    for layer in (ours.query, theirs.query):
        nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(1))
    right = theirs(state, updates, updates, torch.zeros(1, 3, 8))
    torch.testing.assert_close(ours(state, updates, torch.zeros(1, 3, 8)), right, rtol=1e-4, atol=1e-4)
    ours.query.weight.data /= 8**0.5
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(state, updates, torch.zeros(1, 3, 8)), right, rtol=1e-4, atol=1e-4)
