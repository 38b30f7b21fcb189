"""The interval of 02-Train and the error categories of 03-Inference, taken out of the notebooks."""

import re
from types import SimpleNamespace

import pytest
from notebook_code import definitions

LAB = "Lab-01-LoRA"
FORMAT = r"\w+(, \w+)* - [A-Z][a-z]+\."
PROMPT = "Rosa has a dog. By truck Rosa goes to work. Ida goes by train. List all Names."


def test_three_seeds_take_the_t_distribution_with_two_degrees_of_freedom():
    interval = definitions(LAB, "02-Train", "interval", **helpers())["interval"]
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.3026527 / 3**0.5, abs=1e-6)


def test_methods_are_compared_seed_by_seed():
    tests = {
        "lora": {7: {"exact_match": 0.9}, 0: {"exact_match": 0.8}, 1: {"exact_match": 0.7}, 2: {"exact_match": 0.6}},
        "full": {2: {"exact_match": 0.7}, 1: {"exact_match": 0.8}, 0: {"exact_match": 0.9}},
    }
    names = {"lora": "LoRA", "full": "full fine-tuning"}
    found = definitions(LAB, "02-Train", "interval", "against", **helpers(), tests=tests, NAMES=names)
    text = found["against"]("lora", "full")
    assert text.startswith("LoRA against full fine-tuning: -10.0 ± 0.0 percentage points, below"), "equal differences"
    assert "2 degrees of freedom" in text, "a seed of one method only has no counterpart"


@pytest.mark.parametrize(
    ("answer", "expected", "kind"),
    [
        ("Rosa, Ida - Names.", "Rosa, Ida - Names.", "right"),
        ("Rosa, Ida - List.", "Rosa, Ida - Names.", "wrong label"),  # "list" and "names" occur in the prompt
        ("Rosa - Names.", "Rosa, Ida - Names.", "incomplete"),
        ("Ida, Rosa - Names.", "Rosa, Ida - Names.", "wrong words"),
        ("Rosa", "Rosa, Ida - Names.", "wrong form"),
        ("Paris - Names.", "Rosa, Ida - Names.", "not in the prompt"),
    ],
)
def test_a_label_that_occurs_in_the_prompt_is_still_a_label(answer, expected, kind):
    given = {"ev": SimpleNamespace(format_regex=FORMAT), "labels": {"place"}, "re": re}
    category = definitions(LAB, "03-Inference", "words_of", "category", **given)["category"]
    assert category(PROMPT, SimpleNamespace(text=f" {answer}", ended=True), expected) == kind


def helpers():
    """Names that the notebook's cells have imported as modules."""
    import math
    import statistics

    return {"math": math, "statistics": statistics}
