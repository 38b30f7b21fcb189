"""The checks of Lab-02's 01-Setup pass on the notebook's solutions and diagnose plausible wrong answers."""

import pytest
from notebook_code import solutions

from shared.checks import lab02

EXERCISES = ("largest_bottleneck", "break_even", "encode_pair")


@pytest.fixture(scope="module")
def solved():
    return solutions("Lab-02-AdapterLayers", "01-Setup")


def refuses(check, answer, word):
    """Assert that a check finds the answer wrong and that its diagnosis holds the word."""
    result = check(answer)
    assert not result.passed and result.answered, f"accepted: {result!r}"
    assert word in result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_solution_passes(solved, name):
    result = getattr(lab02, name)(solved[f"{name}_solution"])
    assert result.passed, result.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_stub_is_not_answered_yet(name):
    def stub(*arguments): ...

    result = getattr(lab02, name)(stub)
    assert not result.passed and not result.answered


def _by_search(budget, layers, d, per_layer=2, biases=True, extra=0):
    m = 0
    while per_layer * layers * (2 * (m + 1) * d + biases * (d + m + 1)) <= budget:
        m += 1
    return m + extra


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda budget, layers, d: _by_search(budget, layers, d, per_layer=1), "Houlsby has two"),
        (lambda budget, layers, d: _by_search(budget, layers, d, biases=False), "biases are missing"),
        (lambda budget, layers, d: _by_search(budget, layers, d, extra=1), "exceeded"),
        (lambda budget, layers, d: budget // (2 * layers * (2 * d + 1)), "do not depend on m"),
        (lambda budget, layers, d: (budget - 2 * layers * d) / (2 * layers * (2 * d + 1)), "whole number"),
        (lambda budget, layers, d: d, "returns"),
    ],
)
def test_largest_bottleneck_diagnoses(answer, word):
    refuses(lab02.largest_bottleneck, answer, word)


def test_counting_up_one_by_one_is_accepted():
    assert lab02.largest_bottleneck(_by_search).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda base, adapter: 1, "full copy takes"),
        (lambda base, adapter: 2, "half the base"),
        (lambda base, adapter: next(n for n in range(1, 99) if base + n * adapter <= n * base), "*less*"),
        (lambda base, adapter: base / (base - adapter), "no whole number"),
        (lambda base, adapter: base / adapter, "returns"),
    ],
)
def test_break_even_diagnoses(answer, word):
    refuses(lab02.break_even, answer, word)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda a, b, c, s: ([c, *a, s, c, *b, s], [0] * (len(a) + 2) + [1] * (len(b) + 2)), "another [CLS]"),
        (lambda a, b, c, s: ([c, *a, s, *b], [0] * (len(a) + 2) + [1] * len(b)), "behind the second text"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0] * (len(a) + 1) + [1] * (len(b) + 2)), "belongs to the first"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0] * (len(a) + len(b) + 3)), "All segments are 0"),
        (lambda a, b, c, s: ([c, *a, *b, s], [0] * (len(a) + 1) + [1] * (len(b) + 1)), "between the texts"),
        (lambda a, b, c, s: ([c, *a, s, *b, s], [0, 1]), "each token"),
        (lambda a, b, c, s: [c, *a, s, *b, s], "two lists"),
    ],
)
def test_encode_pair_diagnoses(answer, word):
    refuses(lab02.encode_pair, answer, word)
