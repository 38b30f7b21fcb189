"""The checks of Lab-06's 01-Setup pass on the notebook's own solutions and diagnose plausible wrong answers."""

from exercise_contract import ExerciseContract, named

from shared.checks.lab06 import setup as checks


def names(model):
    return [name for name, _ in model.named_parameters()]


WRONG = {
    "bias_names": [
        (lambda model, head: [n for n in names(model) if "bias" in n], "relative_attention_bias"),
        (lambda model, head: [n for n in names(model) if n.endswith("bias")], "last part ends in"),
        (lambda model, head: [n for n in names(model) if n.endswith(".bias")], "belongs to the head"),
        (
            lambda model, head: [n for n in names(model) if n.endswith(".bias") and not n.startswith(head)],
            "classifier_norm.bias is missing",
        ),
        (
            lambda model, head: [
                n for n in names(model) if n.endswith((".bias", "norm.weight")) and n[-15:] != "classifier.bias"
            ],
            "LayerNorm's too",
        ),
        (
            lambda model, head: [n for n in names(model) if n.endswith(".bias") and n != "classifier.bias"],
            "block.q_bias is missing",
        ),
        (lambda model, head: ["block.query.bias", "classifier_norm.bias"], "block.norm.bias is missing"),
        (lambda model, head: ["query"], "no parameter's name"),
        (lambda model, head: 3, "should be"),
    ],
    "gpt2_biases": [
        (lambda n, d, f: n * (7 * d + f) + 2 * d, "BERT's formula"),
        (lambda n, d, f: n * (7 * d + f), "last block is missing"),
        (lambda n, d, f: n * (5 * d + f) + d, "3 d entries"),
        (lambda n, d, f: n * (9 * d + f) + d, "is no bias"),
        (lambda n, d, f: n * (4 * d * d + 2 * d * f), "weights"),
        (lambda n, d, f: n * d, "should return"),
    ],
    "state_bytes": [
        (lambda t, n: 16 * t, "only trainable parameters"),
        (lambda t, n: 16 * n, "frozen parameters are missing"),
        (lambda t, n: 4 * t + 8 * n, "gradients are missing"),
        (lambda t, n: 4 * t + 16 * n, "counted twice"),
        (lambda t, n: t + 3 * n, "quarter"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-06-BitFit", "01-Setup", checks
    SOLVED, WRONG = named("bias_names", "gpt2_biases", "state_bytes"), WRONG
