"""The checks of Lab-02's 01-Setup pass on the notebook's solutions and diagnose plausible wrong answers."""

from exercise_contract import ExerciseContract, named

from shared.checks import lab02


def _by_search(budget, layers, d, per_layer=2, biases=True, extra=0):
    m = 0
    while per_layer * layers * (2 * (m + 1) * d + biases * (d + m + 1)) <= budget:
        m += 1
    return m + extra


WRONG = {
    "largest_bottleneck": [
        (lambda budget, layers, d: _by_search(budget, layers, d, per_layer=1), "Houlsby has two"),
        (lambda budget, layers, d: _by_search(budget, layers, d, biases=False), "biases are missing"),
        (lambda budget, layers, d: _by_search(budget, layers, d, extra=1), "exceeded"),
        (lambda budget, layers, d: budget // (2 * layers * (2 * d + 1)), "do not depend on m"),
        (lambda budget, layers, d: (budget - 2 * layers * d) / (2 * layers * (2 * d + 1)), "whole number"),
        (lambda budget, layers, d: d, "returns"),
    ],
    "break_even": [
        (lambda base, adapter: 1, "full copy needs"),
        (lambda base, adapter: 2, "half the base"),
        (lambda base, adapter: next(n for n in range(1, 99) if base + n * adapter <= n * base), r"\*less\*"),
        (lambda base, adapter: base / (base - adapter), "not a whole number"),
        (lambda base, adapter: base / adapter, "returns"),
    ],
    "encode_pair": [
        (lambda a, b, c, s: ([c, *a, s, c, *b, s], [0] * (len(a) + 2) + [1] * (len(b) + 2)), r"another \[CLS\]"),
        (lambda a, b, c, s: ([c, *a, s, *b], [0] * (len(a) + 2) + [1] * len(b)), "after the second text"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0] * (len(a) + 1) + [1] * (len(b) + 2)), "belongs to the first"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0] * (len(a) + len(b) + 3)), "All segments are 0"),
        (lambda a, b, c, s: ([c, *a, *b, s], [0] * (len(a) + 1) + [1] * (len(b) + 1)), "between the texts"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0, 1]), "each token"),
        (lambda a, b, c, s: [c, *a, s, *b, s], "two lists"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-02-AdapterLayers", "01-Setup", lab02
    SOLVED, WRONG = named("largest_bottleneck", "break_even", "encode_pair"), WRONG


def test_counting_up_one_by_one_is_accepted():
    assert lab02.largest_bottleneck(_by_search).passed
