"""The checks of Lab-07 pass on the notebooks' own solutions and diagnose plausible wrong answers."""

import re

import pytest
import torch
from notebook_code import solutions

from shared.checks import lab07 as checks

SOLVED = {
    "read_answer": ("01-Setup", "read_answer_solution"),
    "longest_prompt": ("01-Setup", "longest_prompt_solution"),
    "usable": ("01-Setup", "usable_solution"),
    "lstm_encoder_weights": ("02-Train", "lstm_encoder_weights_solution"),
    "bytes_on_disk": ("02-Train", "bytes_on_disk_solution"),
    "classify": ("02-Train", "classify_solution"),
    "nearest": ("03-Inference", "nearest_solution"),
    "same_prompt": ("03-Inference", "same_prompt_solution"),
    "move_positions": ("04-Merge_and_Deploy", "move_positions_solution"),
    "share_a_base": ("04-Merge_and_Deploy", "share_a_base_solution"),
    "bundle": ("04-Merge_and_Deploy", "left_out_solution"),
}
VALUES = ("bytes_on_disk", "bundle")  # answers that are no functions


def lstm(directions=2, gates=4, biases=2, second=2, embeddings=1, mlp=1):
    def count(p, d, h):
        layers = directions * gates * (d * h + h * h + biases * h + second * h * h + h * h + biases * h)
        return embeddings * p * d + layers + mlp * (4 * h * h + 2 * h + 2 * h * d + d)

    return count


def forward(fill=1, at=None, use=True):
    def classify(bert, head, vectors, ids, mask):
        if not use:
            return head(bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0])
        embedded = torch.cat([vectors.expand(len(ids), -1, -1), bert.get_input_embeddings()(ids)], dim=1)
        wide = torch.cat([mask.new_full((len(ids), len(vectors)), fill), mask], dim=1)
        hidden = bert(inputs_embeds=embedded, attention_mask=wide).last_hidden_state
        return head(hidden[:, len(vectors) if at is None else at])

    return classify


def detached(bert, head, vectors, ids, mask):
    return forward()(bert, head, vectors.detach(), ids, mask)


def by(score):
    return lambda v, t, w, k: [w[i] for i in score(v, t).topk(k).indices.tolist()]


def swapped(table, p):
    new = table.clone()
    new[[0, p]] = new[[p, 0]]
    return new


def in_place(table, p):
    moved = torch.cat([table[p : p + 1], table[:p], table[p + 1 :]])
    table.copy_(moved)
    return table


WRONG = {
    "read_answer": [
        (lambda x, i, m, w: x[i == m].argmax(1), "Any word of the vocabulary"),
        (lambda x, i, m, w: torch.tensor(w)[x[i == m][:, w].argmax(1)], "token id"),
        (lambda x, i, m, w: x[:, 0][:, w].argmax(1), "position 0"),
        (lambda x, i, m, w: x[i == m][:, sorted(w)].argmax(1), "order of word_ids"),
    ],
    "longest_prompt": [
        (lambda n, t: max(0, n - t), "CLS"),
        (lambda n, t: n - t - 2, "negative"),
        (lambda n, t: max(0, n - t - 1), "Two special"),
        (lambda n, t: n - 2, "text takes"),
    ],
    "usable": [
        (lambda w, v, u: w in v, "Special tokens and pieces"),
        (lambda w, v, u: w in v and not w.startswith("["), "##ly only"),
        (lambda w, v, u: w != u, "becomes"),
        (lambda w, v, u: True, "Every word"),
        (lambda w, v, u: v.get(w), "True or False"),
    ],
    "lstm_encoder_weights": [
        (lstm(directions=1), "bidirectional"),
        (lstm(gates=1), "four gates"),
        (lstm(biases=1), "two bias"),
        (lstm(second=1), "width 2h"),
        (lstm(embeddings=0), "embeddings"),
        (lstm(mlp=0), "MLP on top"),
    ],
    "bytes_on_disk": [
        (20_480, "four bytes"),
        (4 * 3_169_280, "not in the file"),
        (40_960, "float16"),
        (61_440, "BERT-base"),
        ("81920", "text"),
    ],
    "classify": [
        (forward(fill=0, at=0), "Both faults"),
        (forward(fill=0), "mask is 0"),
        (forward(at=0), "first pseudo-token"),
        (forward(at=-1), "last position"),
        (forward(use=False), "bare model"),
        (detached, "detached"),
    ],
    "nearest": [
        (by(lambda v, t: t @ v), "inner product"),
        (by(lambda v, t: -(t - v).norm(dim=1)), "Euclidean"),
        (by(lambda v, t: -torch.cosine_similarity(t, v[None])), "most unlike"),
        (by(lambda v, t: torch.cosine_similarity(t, v[None]).abs()), "sign"),
        (lambda v, t, w, k: torch.cosine_similarity(t, v[None]).topk(k).indices.tolist(), "numbers of rows"),
    ],
    "same_prompt": [
        (lambda m, s: torch.equal(m.prompt_encoder["default"].embedding.weight, s), "input"),
        (lambda m, s: m.get_prompt(1)[0].shape == s.shape, "shape|everything pass"),
        (lambda m, s: False, "refuses everything"),
        (lambda m, s: True, "everything pass"),
    ],
    "move_positions": [
        (lambda t, p: t.clone(), "Nothing has moved"),
        (lambda t, p: torch.cat([t[p:], t[:p]]), "whole table"),
        (lambda t, p: torch.cat([t[1 : p + 1], t[:1], t[p + 1 :]]), "inverse"),
        (swapped, "swapped"),
        (in_place, "in place"),
    ],
    "share_a_base": [
        (lambda n, b, p, d, c: n * 4 * (b + p * d + d * c + c) / 1e9, "copy of the base"),
        (lambda n, b, p, d, c: 4 * (b + n * p * d) / 1e9, "head of its own"),
        (lambda n, b, p, d, c: (b + n * (p * d + d * c + c)) / 1e9, "four bytes"),
        (lambda n, b, p, d, c: 4 * (b + p * d + d * c + c) / 1e9, "several tasks"),
    ],
    "bundle": [
        ("prompt vectors", "longer"),
        ("encoder", "not needed"),
        ("classification head", "chance"),
        ("tokenizer", "short texts as well"),
        ("the mask", "none of the choices"),
    ],
}


@pytest.fixture(scope="module")
def solved():
    stages = {stage for stage, _ in SOLVED.values()}
    return {stage: solutions("Lab-07-P_Tuning", stage) for stage in stages}


@pytest.mark.parametrize("name", SOLVED)
def test_the_notebooks_solution_passes(solved, name):
    stage, solution = SOLVED[name]
    result = getattr(checks, name)(solved[stage][solution])
    assert result.passed, result


@pytest.mark.parametrize(("name", "answer", "diagnosis"), [(n, a, d) for n, wrong in WRONG.items() for a, d in wrong])
def test_a_wrong_answer_fails_with_its_diagnosis(name, answer, diagnosis):
    result = getattr(checks, name)(answer)
    assert result.answered and not result.passed
    assert re.search(diagnosis, result.diagnosis), result.diagnosis


@pytest.mark.parametrize("name", SOLVED)
def test_a_stub_is_not_answered_and_does_not_raise(name):
    def stub(*arguments): ...

    result = getattr(checks, name)(... if name in VALUES else stub)
    assert not result.answered and not result.passed


def test_a_function_that_returns_none_is_not_answered_either():
    for name in set(SOLVED) - set(VALUES):
        result = getattr(checks, name)(lambda *arguments: print(end=""))
        assert not result.passed, name


def test_each_exercise_has_at_least_three_wrong_answers():
    assert set(WRONG) == set(SOLVED) and all(len(wrong) >= 3 for wrong in WRONG.values())
