"""The checks of Lab-06's 04-Merge_and_Deploy pass on the notebook's solutions and diagnose plausible wrong answers."""

import torch
from exercise_contract import ExerciseContract, named
from notebook_code import definitions

from shared.checks.lab06 import merge as checks


def in_place(state, delta, checksum):
    if checks.digest({name: state[name] for name in delta}) != checksum:
        raise ValueError
    for name, tensor in delta.items():
        state[name].copy_(tensor)
    return state


def whole(state, delta, checksum):
    """The digest over the whole state instead of the named tensors."""
    if checks.digest(state) != checksum:
        raise ValueError
    return {**state, **delta}


def adding(state, delta, checksum):
    if checks.digest({name: state[name] for name in delta}) != checksum:
        raise ValueError
    return {name: tensor + delta[name] if name in delta else tensor for name, tensor in state.items()}


def by_shape(state, delta, checksum):
    """Takes a state whose shapes fit for the base."""
    if any(state[name].shape != tensor.shape for name, tensor in delta.items()):
        raise ValueError
    return {**state, **delta}


WRONG = {
    "xor_delta": [
        (lambda old, new: new - old, "rounded"),
        (lambda old, new: new.view(torch.int32) - old.view(torch.int32), "subtracted the bit patterns"),
        (lambda old, new: old.int() ^ new.int(), "reads their bits"),
        (lambda old, new: (old.view(torch.int32) ^ new.view(torch.int32)).long(), "fit torch.int32"),
        (lambda old, new: 0, "should return a torch.Tensor"),
    ],
    "mixed_linear": [
        (lambda x, w, b, t: x @ w.T + b[t], "wrong axis"),
        (lambda x, w, b, t: x @ w.T + b[t].mean(0), "mean of their biases"),
        (lambda x, w, b, t: x @ w.T + b.sum(0), "added up"),
        (lambda x, w, b, t: x @ w + b[t][:, None], "transpose"),
        (lambda x, w, b, t: x @ w.T, "missing"),
    ],
    "apply_once": [
        (lambda state, delta, checksum: {**state, **delta}, "accepted"),
        (in_place, "given state was changed"),
        (adding, "added the delta"),
        (lambda state, delta, checksum: dict(delta), "whole state"),
        (whole, "raised ValueError"),
        (by_shape, "accepted a state that already has"),
    ],
}


class TestExercises(ExerciseContract):
    LAB, STAGE, CHECKS = "Lab-06-BitFit", "04-Merge_and_Deploy", checks
    SOLVED, WRONG = named("xor_delta", "mixed_linear", "apply_once"), WRONG


def test_the_checks_digest_is_the_notebooks():
    theirs = definitions("Lab-06-BitFit", "04-Merge_and_Deploy", "digest")["digest"]
    tensors = {"b": torch.randn(3), "a": torch.randn(2, 2)}
    assert theirs(tensors) == checks.digest(tensors)
