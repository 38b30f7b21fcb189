"""Checks for the exercises of Lab 07, notebook 01-Setup."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered

if TYPE_CHECKING:
    import torch

MASK = 4


# --- exercise 1: read the label words --------------------------------------------------------------------------------


def _read(logits: torch.Tensor, ids: torch.Tensor, mask_id: int, word_ids: list[int]) -> torch.Tensor:
    return logits[ids == mask_id][:, word_ids].argmax(dim=1)


def _read_mutants() -> list[tuple[Callable, str]]:
    import torch

    def whole_vocabulary(logits, ids, mask_id, word_ids):
        return logits[ids == mask_id].argmax(dim=1)

    def token_ids(logits, ids, mask_id, word_ids):
        return torch.tensor(word_ids)[_read(logits, ids, mask_id, word_ids)]

    def first_position(logits, ids, mask_id, word_ids):
        return logits[:, 0][:, word_ids].argmax(dim=1)

    def last_position(logits, ids, mask_id, word_ids):
        return logits[:, -1][:, word_ids].argmax(dim=1)

    def first_row(logits, ids, mask_id, word_ids):
        at = (ids[0] == mask_id).nonzero()[0, 0]
        return logits[:, at][:, word_ids].argmax(dim=1)

    def smallest(logits, ids, mask_id, word_ids):
        return logits[ids == mask_id][:, word_ids].argmin(dim=1)

    def by_id(logits, ids, mask_id, word_ids):
        return _read(logits, ids, mask_id, sorted(word_ids))

    return [
        (whole_vocabulary, "Any word of the vocabulary can win here, and you return its id. Compare the label words "
         "only, and return the index of the class."),
        (token_ids, "You return the label word's token id; return the class, which is its index in word_ids."),
        (first_position, "You read position 0, which holds [CLS]. The answer is read where ids == mask_id."),
        (last_position, "You read the last position. The answer is read where ids == mask_id."),
        (first_row, "You use the position of [MASK] in the first row for all rows; it differs from row to row."),
        (smallest, "You take the word with the lowest score."),
        (by_id, "The classes are numbered by the order of word_ids, not by the size of the ids."),
    ]  # fmt: skip


@check("Read the label words at [MASK]")
def read_answer(answer: Callable) -> str:
    """``answer(logits, ids, mask_id, word_ids)``: the class of each row."""
    import torch

    if unanswered(answer):
        raise Unanswered
    cases = []
    for seed, words in enumerate(([7, 3], [2, 9, 5], [8, 6])):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(6, 5, 10, generator=generator)
        ids = torch.full((6, 5), 1)
        ids[torch.arange(6), torch.randint(1, 4, (6,), generator=generator)] = MASK
        cases.append((logits, ids, MASK, words))
    expect_function(answer, _read, cases, mutants=_read_mutants())
    return "This is the whole verbalizer: no layer is added; some of the vocabulary's scores are compared."


# --- exercise 2: how many prompts fit --------------------------------------------------------------------------------


def _longest(positions: int, text_tokens: int) -> int:
    return max(0, positions - text_tokens - 2)


@check("The longest prompt beside an uncut text")
def longest_prompt(answer: Callable[[int, int], int]) -> str:
    """``answer(positions, text_tokens)``: the largest p, 0 if not even the text fits."""
    mutants = [
        (lambda n, t: max(0, n - t), "[CLS] and [SEP] take two positions as well."),
        (lambda n, t: n - t - 2, "Where not even the bare text fits, the answer is 0, not a negative length."),
        (lambda n, t: n - t, "[CLS] and [SEP] take two positions as well, and a length is never negative."),
        (lambda n, t: max(0, n - t - 1), "There are two special tokens around the text: [CLS] and [SEP]."),
        (lambda n, t: max(0, n - t - 3), "One position is left over: only [CLS] and [SEP] are needed beside the text."),
        (lambda n, t: n - 2, "The text takes positions too."),
    ]
    expect_function(answer, _longest, [(512, 100), (128, 24), (128, 126), (128, 127), (64, 90)], mutants=mutants)
    return "A pseudo-token takes what a word takes: one position in every layer."


# --- exercise 3: break it, the verbalizer that always says the same --------------------------------------------------

VOCABULARY = {word: i for i, word in enumerate(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "great", "dull", "##ly", "##ful", "wonder", "master", "un"]
)}  # fmt: skip
WORDS = ["great", "dull", "wonder", "abysmal", "masterly", "##ly", "##ful", "[UNK]", "[MASK]", "[CLS]", "Great", "un"]


def _usable(word: str, vocabulary: dict[str, int], unknown: str) -> bool:
    special = word == unknown or (word.startswith("[") and word.endswith("]"))
    return word in vocabulary and not special and not word.startswith("##")


def _usable_mutants() -> list[tuple[Callable, str]]:
    def lowered(word, vocabulary, unknown):
        return _usable(word.lower(), vocabulary, unknown)

    return [
        (lambda w, v, u: w in v, "Special tokens and pieces such as ##ly are in the vocabulary, but are not words."),
        (lambda w, v, u: w in v and w != u, "[UNK] is out, but [MASK], [CLS] and pieces such as ##ly still pass."),
        (lambda w, v, u: w in v and not w.startswith("["), "A piece such as ##ly only continues a word: [MASK] "
         "is a whole one."),
        (lambda w, v, u: w in v and not w.startswith("##"), "Special tokens such as [MASK] still pass."),
        (lambda w, v, u: w != u, "You compare the word with the unknown token itself. The question is whether the word "
         "*becomes* it: is it in the vocabulary?"),
        (lambda w, v, u: True, "Every word passes. Which words does the vocabulary know as one token?"),
        (lowered, "You lower the case first; the id that is looked up later then belongs to another word."),
    ]  # fmt: skip


@check("Break it: which words can be label words?")
def usable(answer: Callable[[str, dict[str, int], str], bool]) -> str:
    """``answer(word, vocabulary, unknown)``: whether the word is one token and a whole word."""
    if unanswered(answer):
        raise Unanswered
    cases = [(word, dict(VOCABULARY), "[UNK]") for word in WORDS]
    first = answer(*cases[0])
    if first is None:
        raise Unanswered
    if not isinstance(first, bool):
        raise Wrong(f"return True or False; your function returns {type(first).__name__}.")
    expect_function(answer, _usable, cases, mutants=_usable_mutants())
    return "With such a test an unusable verbalizer fails before training and not after it."
