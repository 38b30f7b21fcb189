"""The engine of the exercise checks: a diagnosis for wrong answers, never an exception."""

from __future__ import annotations

import pytest
import torch

from shared import checks
from shared.checks.core import (
    CheckResult,
    Wrong,
    check,
    expect_choice,
    expect_close,
    expect_function,
    expect_number,
    expect_type,
)


@check("count")
def count(answer):
    expect_number(answer, 294_912, unit="parameters", wrong=[(147_456, "you counted <q> only")])
    return "4dr per layer"


@check("scale")
def scale(function):
    expect_function(
        function,
        lambda x, alpha, r: x * alpha / r,
        [(torch.arange(6.0).reshape(3, 2), 2.0, 4), (torch.ones(2, 2), 8.0, 4)],
        mutants=[
            (lambda x, alpha, r: x * r / alpha, "upside down"),
            (lambda x, alpha, r: x * alpha / r**0.5, "that is rsLoRA"),
            (lambda x: x, "a mutant that fails is no match"),
        ],
    )


@check("matrix")
def matrix(answer):
    expect_close(answer, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), wrong=[(torch.eye(2), "that is the identity")])


@check("text")
def text(function):
    expect_function(function, lambda words: " ".join(words), [(["a", "b"],), (["c"],)])


@check("cause")
def cause(answer):
    expect_choice(answer, "base not frozen", {"rate too high": "look at the trainable count", "none": "something is"})


def dots(x, alpha, r):
    """Only a docstring."""
    ...


def passes(x, alpha, r):
    pass


def later(x, alpha, r):
    raise NotImplementedError


def returns_dots(x, alpha, r):
    y = ...
    return y


UNANSWERED = [
    (count, ...), (count, None), (count, ""), (count, (1, ...)), (count, {"a": None}), (scale, dots), (scale, passes),
    (scale, later), (scale, returns_dots), (matrix, ...), (cause, None),
]  # fmt: skip


@pytest.mark.parametrize(("run", "answer"), UNANSWERED)
def test_unanswered(run, answer):
    result = run(answer)
    assert (result.passed, result.answered) == (False, False)
    assert "not answered yet" in repr(result) and "not answered yet" in result._repr_html_()


RIGHT = [
    (count, 294_912), (count, 294_912.0), (count, torch.tensor(294_912)), (scale, lambda x, alpha, r: alpha / r * x),
    (matrix, torch.tensor([[1, 2], [3, 4]])), (matrix, torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)),
    (cause, " Base not frozen "), (text, lambda words: " ".join(words)),
]  # fmt: skip


@pytest.mark.parametrize(("run", "answer"), RIGHT)
def test_right(run, answer):
    result = run(answer)
    assert result.passed and result.answered and result
    assert "✓ passed" in repr(result)


def in_place(x, alpha, r):
    x *= alpha / r
    return x


def no_return(x, alpha, r):
    y = x * alpha / r  # noqa: F841


def crash(x, alpha, r):
    return x.no_such_thing


def leaves(x, alpha, r):
    raise SystemExit


WRONG = [
    (count, 147_456, "you counted <q> only"),
    (count, 294_913, "too large"),
    (count, 1, "too small"),
    (count, 589_824, "twice the right one"),
    (count, -294_912, "sign"),
    (count, 294_912e3, "a unit"),
    (count, 294_912 * 1e9 / 2**30, "GB"),
    (count, "294912", "without quotes"),
    (count, True, "a bool"),
    (count, float("nan"), "NaN"),
    (count, torch.ones(3), r"shape (3,)"),
    (count, [1], "a list"),
    (count, lambda: 1, "function"),
    (scale, lambda x, alpha, r: x * r / alpha, "upside down"),
    (scale, lambda x, alpha, r: x * alpha / r**0.5, "that is rsLoRA"),
    (scale, lambda x, alpha, r: 3 * x * alpha / r, "3 times the right one everywhere"),
    (scale, lambda x, alpha, r: (x * alpha / r).T, "transposed"),
    (scale, lambda x, alpha, r: 1.0, "a float, but should be a torch.Tensor"),
    (scale, lambda x: x, "TypeError"),
    (scale, in_place, "in place"),
    (scale, no_return, "is a `return` missing?"),
    (scale, crash, "AttributeError: 'Tensor' object has no attribute 'no_such_thing'"),
    (scale, leaves, "SystemExit"),
    (scale, 3, "should be a function"),
    (matrix, torch.eye(2), "that is the identity"),
    (matrix, torch.tensor([[1.0, 3], [2, 4]]), "is transposed"),
    (matrix, torch.zeros(2, 2), "zero everywhere"),
    (matrix, torch.full((2, 2), float("nan")), "holds NaN"),
    (matrix, torch.tensor([[2.0, 4], [6, 8]]), "2 times the right one"),
    (matrix, torch.tensor([[1.0, 2], [3, 5]]), "differs by up to 1"),
    (matrix, torch.ones(2), "shape (2,), but should have (2, 2)"),
    (matrix, [[1, 2], [3, 4]], "a list, but should be a torch.Tensor"),
    (text, lambda words: "".join(words), "returns 'ab' for (['a', 'b']), but should return 'a b'"),
    (cause, "rate too high", "look at the trainable count"),
    (cause, "moon phase", "none of the choices"),
]


@pytest.mark.parametrize(("run", "answer", "diagnosis"), WRONG)
def test_wrong_gets_its_diagnosis(run, answer, diagnosis):
    result = run(answer)
    assert (result.passed, result.answered) == (False, True)
    assert diagnosis in result.diagnosis
    assert "✗ not right yet" in repr(result)


def test_html_is_escaped_and_says_the_verdict_in_words():
    result = count(147_456)._repr_html_()
    assert "&lt;q&gt;" in result and "not right yet" in result and 'role="status"' in result


def test_a_result_is_true_only_when_passed():
    assert not CheckResult(False, True, "x") and CheckResult(True, True, "x")
    assert count(294_912).diagnosis == "4dr per layer"


def test_in_place_change_does_not_spoil_the_other_cases():
    seen = []
    scale(lambda x, alpha, r: seen.append(x.clone()) or x.zero_())
    scale(lambda x, alpha, r: seen.append(x.clone()) or x.zero_())
    assert torch.equal(seen[0], seen[1])


def test_expect_type():
    expect_type(1, (int, float))
    with pytest.raises(Wrong, match="the answer is a str, but should be an int or float"):
        expect_type("x", (int, float))


def test_package_offers_labs_lazily():
    with pytest.raises(ModuleNotFoundError):
        checks.lab99  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        checks.other  # noqa: B018
