"""BitFit as 02-Train writes it, taken out of the notebook, equals the framework's method and peft's bias training."""

import pytest
import torch
from notebook_code import definitions
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaConfig,
    DebertaForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from shared.finetune.methods import METHODS
from shared.finetune.methods.bitfit import is_bias

LAB, STAGE = "Lab-06-BitFit", "02-Train"
HEAD = ("classifier.", "score.")
SIZES = [(16, 2, 40, 1, 2, 0), (24, 3, 24, 3, 5, 1), (8, 1, 64, 2, 3, 2)]  # d, heads, d_ff, layers, classes, seed


def bert(d, heads, dff, layers, classes, seed):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=d, num_attention_heads=heads, intermediate_size=dff, num_hidden_layers=layers,
        num_labels=classes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def batch(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 5:] = 0
    ids = torch.randint(1, 50, (3, 9), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(3) % classes}


def pair(sizes):
    """The notebook's shifted model, and the same model trained by the framework's method, with equal random shifts."""
    found = definitions(LAB, STAGE, "Shifted", "add_shifts")
    ours, theirs = bert(*sizes), bert(*sizes)
    shifts = found["add_shifts"](ours, HEAD)
    METHODS["bitfit"].apply(theirs, METHODS["bitfit"].section(method="bitfit"), "SEQ_CLS")
    with torch.no_grad():
        for name, wrapper in shifts.items():
            wrapper.shift.normal_()
            theirs.get_parameter(f"{name}.bias").add_(wrapper.shift)
    return ours, theirs, shifts


@pytest.mark.parametrize("sizes", SIZES)
def test_shifts_equal_the_frameworks_biases_in_output_and_gradients(sizes):
    ours, theirs, shifts = pair(sizes)
    left, right = (model(**batch(sizes[4], sizes[5])) for model in (ours, theirs))
    torch.testing.assert_close(left.logits, right.logits)
    left.loss.backward()
    right.loss.backward()
    trained = {n for n, p in theirs.named_parameters() if p.requires_grad and not n.startswith(HEAD)}
    assert trained == {f"{name}.bias" for name in shifts} and len(trained) == 8 * sizes[3] + 2
    for name, wrapper in shifts.items():
        torch.testing.assert_close(wrapper.shift.grad, theirs.get_parameter(f"{name}.bias").grad)
        assert all(parameter.grad is None for parameter in wrapper.layer.parameters())


@pytest.mark.parametrize("sizes", SIZES)
def test_the_same_biases_train_in_peft(sizes):
    bitfit = definitions(LAB, STAGE, "is_bias", "bitfit")["bitfit"]
    ours, base = bert(*sizes), bert(*sizes)
    chosen = bitfit(ours, HEAD)
    settings = LoraConfig(target_modules=["query"], bias="all", modules_to_save=["classifier"])
    lora = get_peft_model(base, settings).eval()
    theirs = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in lora.named_parameters()}
    assert set(chosen) == {
        n for n, p in theirs.items() if n.endswith("bias") and p.requires_grad and "classifier" not in n
    }
    with torch.no_grad():
        for name in chosen:
            ours.get_parameter(name).normal_()
            theirs[name].copy_(ours.get_parameter(name))
    left, right = (model(**batch(sizes[4], sizes[5])) for model in (ours, lora))
    torch.testing.assert_close(left.logits, right.logits)
    left.loss.backward()
    right.loss.backward()
    for name in chosen:
        torch.testing.assert_close(ours.get_parameter(name).grad, theirs[name].grad)


def test_the_comparison_notices_a_shift_that_is_missing():
    ours, theirs, shifts = pair(SIZES[0])
    with torch.no_grad():
        shifts["bert.encoder.layer.0.intermediate.dense"].shift.zero_()
    inputs = batch(SIZES[0][4], 0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(ours(**inputs).logits, theirs(**inputs).logits)


def deberta():
    config = DebertaConfig(
        vocab_size=50, hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2,
        max_position_embeddings=32,
    )  # fmt: skip
    return DebertaForSequenceClassification(config)


@pytest.mark.parametrize("make", [lambda: bert(*SIZES[1]), deberta], ids=["bert", "deberta"])
def test_the_chosen_names_are_the_frameworks(make):
    bitfit = definitions(LAB, STAGE, "is_bias", "bitfit")["bitfit"]
    ours, theirs = make(), make()
    chosen = bitfit(ours, HEAD)
    METHODS["bitfit"].apply(theirs, METHODS["bitfit"].section(method="bitfit"), "SEQ_CLS")
    assert all(p.requires_grad == theirs.get_parameter(n).requires_grad for n, p in ours.named_parameters())
    assert chosen and not any(name.startswith(HEAD) for name in chosen)


@pytest.mark.parametrize("stage", ["01-Setup", "02-Train"])
@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("encoder.layer.0.attention.self.query.bias", True), ("attention.self.q_bias", True), ("in_proj_bias", True),
        ("lstm.bias_hh_l0_reverse", True), ("bias", True), ("SelfAttention.relative_attention_bias.weight", False),
        ("position_bias.relative_attention_bias", False), ("debias.unbias", False), ("LayerNorm.weight", False),
    ],
)  # fmt: skip
def test_both_notebooks_have_the_frameworks_rule(stage, name, want):
    theirs = definitions(LAB, stage, "is_bias")["is_bias"]
    assert theirs(name) == is_bias(name) == want


def test_layernorm_weights_and_the_heads_bias_are_not_taken_for_biases():
    bitfit = definitions(LAB, STAGE, "is_bias", "bitfit")["bitfit"]
    model = GPT2ForSequenceClassification(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=20))
    chosen = bitfit(model, HEAD)
    d, dff, layers = 8, 32, 2
    assert sum(model.get_parameter(name).numel() for name in chosen) == layers * (7 * d + dff) + d
    assert not any(name.endswith("weight") or name.startswith(HEAD) for name in chosen)
    assert model.score.weight.requires_grad


@pytest.mark.parametrize(("shape", "seed"), [((2, 3, 5), 0), ((4, 7), 1), ((1, 1, 6, 5), 2)])
def test_linear_gradients_equal_autograds(shape, seed):
    linear_gradients = definitions(LAB, STAGE, "linear_gradients")["linear_gradients"]
    torch.manual_seed(seed)
    layer, x = nn.Linear(shape[-1], 4), torch.randn(shape)
    upstream = torch.randn(*shape[:-1], 4)
    layer(x).backward(upstream)
    weight, bias = linear_gradients(x, upstream)
    torch.testing.assert_close(weight, layer.weight.grad)
    torch.testing.assert_close(bias, layer.bias.grad)


@pytest.mark.parametrize("sizes", SIZES)
def test_key_biases_do_nothing_and_value_biases_can_be_folded(sizes):
    fold = definitions(LAB, STAGE, "fold_value_bias")["fold_value_bias"]
    model, inputs = bert(*sizes), batch(sizes[4], 0)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.attention.self.value.bias.normal_()
        before = model(**inputs).logits
        for layer in model.bert.encoder.layer:
            layer.attention.self.key.bias.normal_()
            fold(layer.attention)
        torch.testing.assert_close(model(**inputs).logits, before, atol=1e-5, rtol=1e-4)
        assert all(not layer.attention.self.value.bias.any() for layer in model.bert.encoder.layer)
        model.bert.encoder.layer[0].attention.self.query.bias.normal_(std=5)
        assert (model(**inputs).logits - before).abs().max() > 1e-5, "a query bias must matter"


def test_less_is_saved_for_the_backward_pass_of_biases():
    found = definitions(LAB, "01-Setup", "saved_for_backward", "mebibytes")
    bitfit = definitions(LAB, STAGE, "is_bias", "bitfit")["bitfit"]
    model, inputs = bert(*SIZES[1]), batch(5, 0)

    def saved():
        return found["mebibytes"](found["saved_for_backward"](model, inputs))

    everything = saved()
    bitfit(model, HEAD)
    biases = saved()
    model.requires_grad_(False)
    assert 0 == saved() < biases < everything


def test_what_bitfit_saves_is_what_the_formula_of_the_notebook_says():
    found = definitions(LAB, "01-Setup", "saved_for_backward", "mebibytes")
    d, heads, dff, layers = 64, 2, 160, 3
    model = bert(d, heads, dff, layers, 2, 0)
    METHODS["bitfit"].apply(model, METHODS["bitfit"].section(method="bitfit"), "SEQ_CLS")
    inputs = {"input_ids": torch.randint(1, 50, (4, 24)), "labels": torch.zeros(4, dtype=torch.long)}
    want = (layers * (6 * d + dff) + d) * 4 * 24 * 4 / 2**20
    assert found["mebibytes"](found["saved_for_backward"](model, inputs)) == pytest.approx(want, rel=0.05)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_toggling_twice_brings_every_bit_back(scale):
    toggle = definitions(LAB, "04-Merge_and_Deploy", "toggle")["toggle"]
    old, new = torch.randn(1000), torch.randn(1000) * scale
    pattern = old.view(torch.int32) ^ new.view(torch.int32)
    assert torch.equal(toggle(old, pattern), new) and torch.equal(toggle(toggle(old, pattern), pattern), old)


def test_the_switch_applies_and_removes_a_delta_and_refuses_other_models(tmp_path):
    found = definitions(LAB, "04-Merge_and_Deploy", "toggle", "digest", "write_delta", "switch")
    model = bert(*SIZES[0])
    old = {n: p.detach().clone() for n, p in model.named_parameters() if n.endswith("bias")}
    new = {n: torch.randn_like(p) for n, p in old.items()}
    found["write_delta"](tmp_path / "a", old, new)
    assert found["switch"](model, tmp_path / "a") == "applied"
    assert all(torch.equal(model.get_parameter(n), p) for n, p in new.items())
    assert found["switch"](model, tmp_path / "a") == "removed"
    assert all(torch.equal(model.get_parameter(n), p) for n, p in old.items())
    with torch.no_grad():
        model.get_parameter(next(iter(old)))[0] += 1
    with pytest.raises(ValueError, match="neither"):
        found["switch"](model, tmp_path / "a")


def test_each_row_gets_its_own_tasks_shift():
    per_row = definitions(LAB, "04-Merge_and_Deploy", "PerRow")["PerRow"]
    layer, shifts, chosen = nn.Linear(4, 3), torch.randn(2, 3), {"rows": torch.tensor([1, 0, 1])}
    x = torch.randn(3, 3, 4)  # as many tokens as rows: a shift over the wrong axis would not fail by its shape
    got = per_row(layer, shifts, chosen)(x)
    for row, task in enumerate(chosen["rows"]):
        torch.testing.assert_close(got[row], layer(x[row]) + shifts[task])
    torch.testing.assert_close(per_row(layer, shifts, chosen)(x[:, 0]), got[:, 0])


def test_the_monitor_reports_latency_memory_and_a_shift_of_the_answers():
    monitor = definitions(LAB, "04-Merge_and_Deploy", "Monitor")["Monitor"]({"a": 0.5, "b": 0.5}, window=100)
    for i in range(300):  # the first 200 leave the window
        monitor.record(9.0 if i < 200 else 0.001 * (1 + i % 2), "b" if i < 200 else "ab"[i % 2])
    report = monitor.report()
    assert report["p50 [ms]"] == pytest.approx(1.5) and report["p95 [ms]"] == pytest.approx(2)
    assert report["requests/s"] == pytest.approx(1000 / 1.5) and report["RAM [MB]"] > 10
    assert report["drift"] == pytest.approx(0)
    for _ in range(100):
        monitor.record(0.001, "a")
    assert monitor.report()["drift"] == pytest.approx(10)  # (1 - 0.5) / sqrt(0.25 / 100)


def test_each_way_is_timed_first_equally_often():
    rotated = definitions(LAB, "04-Merge_and_Deploy", "rotated")["rotated"]
    called = []
    ways = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = rotated(ways, rounds=6, warm_up=3)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 6, "b": 6, "c": 6}
    assert [called[i] for i in range(0, 27, 3)] == ["a", "b", "c"] * 3
