"""The checks of 01-Setup pass on the notebook's solutions and diagnose plausible wrong answers."""

import statistics

from exercise_contract import ExerciseContract, named

from shared.checks import lab01


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


WRONG = {
    "build_labels": [
        (lambda p, a, e: (p + a + [e], p + a + [e]), "prompt"),
        (lambda p, a, e: (p + a + [e], [0] * len(p) + a + [e]), "-100"),
        (lambda p, a, e: (p + a, [-100] * len(p) + a), "end-of-sequence"),
        (lambda p, a, e: (p + a + [e], [-100] * len(p) + a + [-100]), "stop"),
        (lambda p, a, e: (p + a + [e], [-100] * (len(p) - 1) + a + [e, -100]), "shifted"),
        (lambda p, a, e: (p + a + [e], a + [e]), "shorter"),
        (lambda p, a, e: p + a + [e], "two lists"),
    ],
    "shortest_limit": [
        (lambda lengths, keep: max(lengths), "longest"),
        (lambda lengths, keep: statistics.mean(lengths), "mean"),
        (lambda lengths, keep: keep * max(lengths), "rows"),
        (lambda lengths, keep: sorted(lengths)[min(len(lengths) - 1, int(keep * len(lengths)))], "generous"),
        (lambda lengths, keep: sorted(lengths)[0], "should return"),
    ],
    "training_bytes": [
        (lambda n, s, r: 16 * r * sum(d + k for d, k in s), "frozen base is missing"),
        (lambda n, s, r: 16 * n + 16 * r * sum(d + k for d, k in s), "full fine-tuning"),
        (lambda n, s, r: 2 * n + 16 * r * sum(d * k for d, k in s), r"r \(d \+ k\)"),
        (lambda n, s, r: 2 * n + 2 * r * sum(d + k for d, k in s), "16 bytes"),
        (lambda n, s, r: 2 * n + 16 * r * sum(k for d, k in s), "Only A"),
        (lambda n, s, r: (2 * n + 16 * r * sum(d + k for d, k in s)) / 1e9, "GB"),
    ],
    "repair": [
        (lambda model: model, "nothing has changed"),
        (_freeze_all, "no parameter is trainable"),
        (_freeze_adapter, "other way round"),
        (_any_lora, "by chance"),
        (_base_layers_only, "still train"),
        (_only_b, "frozen too"),
        (_zeroes, "values"),
        (3, "function"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-01-LoRA", "01-Setup", lab01
    SOLVED, WRONG = named("build_labels", "shortest_limit", "training_bytes", "repair"), WRONG


def test_build_labels_accepts_tensors():
    import torch

    def with_tensors(prompt, answer, eos):
        learned = answer + [eos]
        return torch.tensor(prompt + learned), torch.tensor([-100] * len(prompt) + learned)

    assert lab01.build_labels(with_tensors).passed


def test_broken_model_trains_everything():
    assert all(parameter.requires_grad for parameter in lab01.broken_model().parameters())
