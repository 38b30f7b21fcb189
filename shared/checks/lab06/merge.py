"""Checks for the exercises of Lab-06's 04-Merge_and_Deploy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, Wrong, check, expect_function


def _random(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@check("A delta that is its own inverse")
def xor_delta(answer: Callable[[Any, Any], Any]) -> str:
    """``answer(old, new)``: the exclusive or of the bit patterns of two float32 vectors, as int32."""
    import torch

    for seed, scale in ((0, 0.01), (2, 1.0), (4, 100.0)):
        old, new = _random(50, seed=seed, scale=scale), _random(50, seed=seed + 1)
        got = answer(old.clone(), new.clone())
        if got is None or got is ...:
            raise Unanswered
        if not isinstance(got, torch.Tensor):
            raise Wrong(f"your function returns {type(got).__name__}, but should return a torch.Tensor.")
        _check_xor(got, old, new)
    return "old ⊕ (old ⊕ new) = new and new ⊕ (old ⊕ new) = old: one file, both directions, every bit."


def _check_xor(got: Any, old: Any, new: Any) -> None:
    import torch

    if got.dtype.is_floating_point:
        if got.shape == old.shape and torch.equal(got.float(), new - old):
            raise Wrong("This is the difference, which is rounded: old + (new − old) is not always new.")
        raise Wrong("The result holds floating point numbers; bit patterns are integers: view(torch.int32).")
    if got.dtype != torch.int32:
        raise Wrong(f"The result is {got.dtype}; the 32 bits of a float32 fit torch.int32.")
    if got.shape != old.shape:
        raise Wrong(f"The result has the shape {tuple(got.shape)}, but should have {tuple(old.shape)}.")
    a, b = old.view(torch.int32), new.view(torch.int32)
    if torch.equal(got, a ^ b):
        return
    if torch.equal(got, b - a):
        raise Wrong("You subtracted the bit patterns. That can be undone, but only if the direction is known; use ^.")
    if torch.equal(got, old.int() ^ new.int()):
        raise Wrong(".int() rounds the values to integers; .view(torch.int32) reads their bits.")
    raise Wrong("The bits are not old ⊕ new.")


def _per_row(x: Any, weight: Any, biases: Any, tasks: Any) -> Any:
    return x @ weight.T + biases[tasks][:, None, :]


@check("A linear layer with a bias for each row")
def mixed_linear(answer: Callable[[Any, Any, Any, Any], Any]) -> str:
    """``answer(x, weight, biases, tasks)``: rows of a batch, each with the bias of its own task."""
    import torch

    mutants = [
        (lambda x, w, b, t: x @ w.T + b[t].mean(0), "All rows got the mean of their biases: each row has its own."),
        (lambda x, w, b, t: x @ w.T + b[t[0]], "All rows got the first row's bias."),
        (lambda x, w, b, t: x @ w.T + b.sum(0), "All tasks' biases are added up; choose by `tasks`."),
        (lambda x, w, b, t: x @ w.T, "The bias is missing."),
        (lambda x, w, b, t: x @ w.T + b[: len(x)][:, None, :],
         "Rows got the biases in the order of the tasks; look at `tasks`."),
        (lambda x, w, b, t: x @ w.T + b[t],
         "The bias of row i went to token i: with as many tokens as rows, torch broadcasts "
         "(rows, out) over the wrong axis without an error. Make it (rows, 1, out)."),
        (lambda x, w, b, t: x @ w + b[t][:, None, :],
         "The weight has the shape (out, in), as in nn.Linear: transpose it."),
    ]  # fmt: skip
    cases = [
        (_random(3, 3, 4), _random(4, 4, seed=1), _random(3, 4, seed=2), torch.tensor([2, 0, 2])),
        (_random(2, 2, 5, seed=3), _random(5, 5, seed=4), _random(4, 5, seed=5), torch.tensor([3, 1])),
    ]
    expect_function(answer, _per_row, cases, mutants=mutants)
    return "One matrix product for all rows, one vector for each: (rows, 1, out) is broadcast over the tokens."


def digest(tensors: dict[str, Any]) -> str:
    """SHA-256 over the bytes of tensors in the order of their names, as 04-Merge_and_Deploy computes it."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


@check("Break it: a delta on top of a delta")
def apply_once(answer: Callable[[dict, dict, str], dict]) -> str:
    """``answer(state, delta, base_digest)``: the new state, or ValueError where the state is not the base."""
    import torch

    base = {"a.bias": _random(4), "b.bias": _random(3, seed=1), "a.weight": _random(4, 4, seed=2)}
    delta = {"a.bias": _random(4, seed=3), "b.bias": _random(3, seed=4)}
    checksum = digest({name: base[name] for name in delta})
    given = {name: tensor.clone() for name, tensor in base.items()}
    got = answer(given, dict(delta), checksum)
    if got is None or got is ...:
        raise Unanswered
    if any(not torch.equal(given[name], base[name]) for name in base):
        raise Wrong("The given state was changed; return a new dictionary and leave the base as it is.")
    if not isinstance(got, dict) or got.keys() != base.keys():
        raise Wrong("Return the whole state, with the parameters that the delta does not name.")
    if any(torch.equal(got[name], base[name] + delta[name]) for name in delta):
        raise Wrong("You added the delta; this file holds the new values themselves, so put them in place.")
    if any(not torch.equal(got[name], {**base, **delta}[name]) for name in base):
        raise Wrong("The new state is not the base with the delta's tensors in place.")
    _must_refuse(answer, got, delta, checksum, "a state that already has the delta")
    other = {**base, "b.bias": base["b.bias"] + 1e-7 * base["b.bias"].abs() + 1e-6}
    _must_refuse(answer, other, delta, checksum, "another base, which differs in the last bits only")
    tuned = {**base, "a.weight": base["a.weight"] + 1}
    if not isinstance(_outcome(answer, tuned, delta, checksum), dict):
        raise Wrong("You refused a state whose *named* tensors are the base's: the digest is over those alone.")
    return "Nothing else would reveal it: the shapes fit, and the model answers, but wrongly."


def _outcome(answer: Callable, state: dict, delta: dict, checksum: str) -> Any:
    try:
        return answer(dict(state), dict(delta), checksum)
    except ValueError as refused:
        return refused


def _must_refuse(answer: Callable, state: dict, delta: dict, checksum: str, story: str) -> None:
    if not isinstance(_outcome(answer, state, delta, checksum), ValueError):
        raise Wrong(f"You accepted {story}; raise ValueError where the digest of the named tensors differs.")
