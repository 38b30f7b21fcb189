"""The checks of 01-Setup pass on the notebook's solutions and diagnose plausible wrong answers."""

import statistics

import pytest
from notebook_code import solutions

from shared.checks import lab01

EXERCISES = ("build_labels", "shortest_limit", "training_bytes", "repair")


@pytest.fixture(scope="module")
def solved():
    return solutions("Lab-01-LoRA", "01-Setup")


def refuses(check, answer, word):
    """Assert that a check finds the answer wrong and that its diagnosis holds the word."""
    result = check(answer)
    assert not result.passed and result.answered, f"accepted: {result!r}"
    assert word in result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_passes(solved, name):
    result = getattr(lab01, name)(solved[f"{name}_solution"])
    assert result.passed, result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_stub_is_not_answered_yet(name):
    def stub(*arguments): ...

    result = getattr(lab01, name)(stub)
    assert not result.passed and not result.answered


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda p, a, e: (p + a + [e], p + a + [e]), "prompt"),
        (lambda p, a, e: (p + a + [e], [0] * len(p) + a + [e]), "-100"),
        (lambda p, a, e: (p + a, [-100] * len(p) + a), "end-of-sequence"),
        (lambda p, a, e: (p + a + [e], [-100] * len(p) + a + [-100]), "stop"),
        (lambda p, a, e: (p + a + [e], [-100] * (len(p) - 1) + a + [e, -100]), "shifted"),
        (lambda p, a, e: (p + a + [e], a + [e]), "shorter"),
        (lambda p, a, e: p + a + [e], "two lists"),
    ],
)
def test_build_labels_diagnoses(answer, word):
    refuses(lab01.build_labels, answer, word)


def test_build_labels_accepts_tensors():
    import torch

    def with_tensors(prompt, answer, eos):
        learnt = answer + [eos]
        return torch.tensor(prompt + learnt), torch.tensor([-100] * len(prompt) + learnt)

    assert lab01.build_labels(with_tensors).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda lengths, keep: max(lengths), "longest"),
        (lambda lengths, keep: statistics.mean(lengths), "mean"),
        (lambda lengths, keep: keep * max(lengths), "rows"),
        (lambda lengths, keep: sorted(lengths)[min(len(lengths) - 1, int(keep * len(lengths)))], "generous"),
        (lambda lengths, keep: sorted(lengths)[0], "should return"),
    ],
)
def test_shortest_limit_diagnoses(answer, word):
    refuses(lab01.shortest_limit, answer, word)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda n, s, r: 16 * r * sum(d + k for d, k in s), "frozen base is missing"),
        (lambda n, s, r: 16 * n + 16 * r * sum(d + k for d, k in s), "full fine-tuning"),
        (lambda n, s, r: 2 * n + 16 * r * sum(d * k for d, k in s), "r (d + k)"),
        (lambda n, s, r: 2 * n + 2 * r * sum(d + k for d, k in s), "16 bytes"),
        (lambda n, s, r: 2 * n + 16 * r * sum(k for d, k in s), "Only A"),
        (lambda n, s, r: (2 * n + 16 * r * sum(d + k for d, k in s)) / 1e9, "GB"),
    ],
)
def test_training_bytes_diagnoses(answer, word):
    refuses(lab01.training_bytes, answer, word)


def _freeze_all(model):
    model.requires_grad_(False)


def _freeze_adapter(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" not in name)


def _any_lora(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora" in name)


def _base_layers_only(model):
    for name, parameter in model.named_parameters():
        if "base_layer" in name:
            parameter.requires_grad_(False)


def _only_b(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_B" in name)


def _zeroes(model):
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.requires_grad_(False).zero_()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda model: model, "nothing has changed"),
        (_freeze_all, "nothing trains"),
        (_freeze_adapter, "other way round"),
        (_any_lora, "by chance"),
        (_base_layers_only, "still train"),
        (_only_b, "frozen too"),
        (_zeroes, "values"),
        (3, "function"),
    ],
)
def test_repair_diagnoses(answer, word):
    refuses(lab01.repair, answer, word)


def test_broken_model_trains_everything():
    assert all(parameter.requires_grad for parameter in lab01.broken_model().parameters())
