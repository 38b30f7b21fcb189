"""Checks for the exercises of Lab 07, notebook 04-Merge_and_Deploy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Unanswered, check, expect_choice, expect_function, unanswered

# --- exercise 1: move the positions ----------------------------------------------------------------------------------


def _moved(table: Any, p: int) -> Any:
    import torch

    return torch.cat([table[p : p + 1], table[:p], table[p + 1 :]])


def _moved_mutants() -> list[tuple[Callable, str]]:
    import torch

    return [
        (lambda t, p: t.clone(), "Nothing has moved: position 0 still has the row with which the first pseudo-token "
         "was trained."),
        (lambda t, p: torch.cat([t[p:], t[:p]]), "You rotated the whole table; only [CLS] moves, and the text after "
         "the prompt keeps its rows."),
        (lambda t, p: torch.cat([t[1 : p + 1], t[:1], t[p + 1 :]]), "This is the inverse: [CLS] needs the row p, which "
         "was its own in training, and the pseudo-tokens the rows 0 to p - 1."),
        (lambda t, p: _swap(t, 0, p), "You swapped rows 0 and p. Then h_1, now at position 1, gets row 1 instead of "
         "row 0, and all others are shifted, too."),
        (lambda t, p: torch.cat([t[p : p + 1], t[:p], t[p:]]), "Row p is there twice: the table has become longer, and "
         "the whole text is one row off."),
        (lambda t, p: torch.cat([t[p - 1 : p], t[: p - 1], t[p:]]), "One row off: the prompt has the positions 0 to "
         "p - 1, so [CLS] was at p."),
    ]  # fmt: skip


def _swap(table: Any, a: int, b: int) -> Any:
    new = table.clone()
    new[a], new[b] = table[b], table[a]
    return new


@check("Move the positions so that [CLS] comes first")
def move_positions(answer: Callable) -> str:
    """``answer(table, p)``: the position table for [CLS], h_1 … h_p, text."""
    import torch

    if unanswered(answer):
        raise Unanswered
    cases = [(torch.arange(n * 3, dtype=torch.float32).reshape(n, 3), p) for n, p in ((12, 4), (9, 2), (7, 5))]
    expect_function(answer, _moved, cases, mutants=_moved_mutants())
    return "A transformer knows the order only through its position embeddings: permute both, and nothing changes."


# --- exercise 2: many tasks on one base ------------------------------------------------------------------------------


def _gigabytes(tasks: int, base: int, p: int, d: int, classes: int) -> float:
    return (4 * base + tasks * 4 * (p * d + d * classes + classes)) / 1e9


@check("Gigabytes for many tasks on one base")
def share_a_base(answer: Callable[[int, int, int, int, int], float]) -> str:
    """``answer(tasks, base, p, d, classes)``: float32 memory of one base with a prompt and a linear head per task."""
    mutants = [
        (lambda n, b, p, d, c: n * (4 * b + 4 * (p * d + d * c + c)) / 1e9, "This keeps a copy of the base for each "
         "task; they can share it, since nothing in it has changed."),
        (lambda n, b, p, d, c: (4 * b + n * 4 * p * d) / 1e9, "Each task has a head of its own, too: d · classes "
         "weights and a bias for each class."),
        (lambda n, b, p, d, c: (4 * b + n * 4 * (p * d + d * c)) / 1e9, "The head has biases, one for each class."),
        (lambda n, b, p, d, c: (4 * b + 4 * (p * d + d * c + c)) / 1e9, "There are several tasks: multiply what each "
         "of them has of its own."),
        (lambda n, b, p, d, c: _gigabytes(n, b, p, d, c) / 4, "These are billions of parameters; a float32 takes "
         "four bytes."),
        (lambda n, b, p, d, c: _gigabytes(n, b, p, d, c) * 1e9, "These are bytes; the answer is in GB (1e9 bytes)."),
        (lambda n, b, p, d, c: (4 * b + n * 4 * (p * d + 3 * (d * d + d) + d * c + c)) / 1e9, "The encoder is not "
         "stored: its outputs are."),
    ]  # fmt: skip
    cases = [(1000, 109_482_240, 20, 768, 2), (50, 335_141_888, 100, 1024, 5), (7, 1_000_000, 10, 128, 3)]
    expect_function(answer, _gigabytes, cases, mutants=mutants, rtol=1e-9)
    return f"1,000 tasks on BERT-base: {_gigabytes(*cases[0]):.2f} GB, where 1,000 copies would take 438 GB."


# --- exercise 3: break it, what was left out of the bundle -----------------------------------------------------------

_WHY = {
    "prompt vectors": "Without the prompt vectors the model would still answer, but its logits would be far off in "
    "every row, because the head was trained with the prompt. Here only a *longer* text fails.",
    "classification head": "A fresh head answers at chance on all rows. Here the short texts are right.",
    "encoder": "The encoder is not needed: its outputs are in the bundle, and short texts are right.",
    "tokenizer": "Another tokenizer would also break short texts.",
}


@check("Break it: the bundle that fails on long texts only")
def bundle(answer: str) -> str:
    """What is missing in a bundle that answers short texts right and fails on long ones."""
    expect_choice(answer, "length limit", _WHY)
    return "The tokenizer cuts at the model's number of positions; with a prompt it has to cut p tokens earlier."
