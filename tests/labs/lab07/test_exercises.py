"""The checks of Lab-07 pass on the notebooks' own solutions and diagnose plausible wrong answers."""

import torch
from exercise_contract import ExerciseContract, named

from shared.checks import lab07 as checks


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
        (lambda n, t: max(0, n - t - 1), "two special"),
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
        (forward(fill=0, at=0), "Both errors"),
        (forward(fill=0), "mask is 0"),
        (forward(at=0), "first pseudo-token"),
        (forward(at=-1), "last position"),
        (forward(use=False), "bare model"),
        (detached, "detached"),
    ],
    "nearest": [
        (by(lambda v, t: t @ v), "inner product"),
        (by(lambda v, t: -(t - v).norm(dim=1)), "Euclidean"),
        (by(lambda v, t: -torch.cosine_similarity(t, v[None])), "smallest cosine"),
        (by(lambda v, t: torch.cosine_similarity(t, v[None]).abs()), "sign"),
        (lambda v, t, w, k: torch.cosine_similarity(t, v[None]).topk(k).indices.tolist(), "row indices"),
    ],
    "same_prompt": [
        (lambda m, s: torch.equal(m.prompt_encoder["default"].embedding.weight, s), "input"),
        (lambda m, s: m.get_prompt(1)[0].shape == s.shape, "shape|accepts everything"),
        (lambda m, s: False, "rejects everything"),
        (lambda m, s: True, "accepts everything"),
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
        ("tokenizer", "also break short texts"),
        ("the mask", "none of the choices"),
    ],
}


class Lab07(ExerciseContract):
    LAB, CHECKS = "Lab-07-P_Tuning", checks

    def test_a_function_that_returns_nothing_does_not_pass(self, name):
        assert not self.judged(name, lambda *arguments: print(end="")).passed


def wrong(*names):
    return {name: WRONG[name] for name in names}


class TestSetup(Lab07):
    STAGE, WRONG = "01-Setup", wrong("read_answer", "longest_prompt", "usable")
    SOLVED = named(*WRONG)


class TestTrain(Lab07):
    STAGE, WRONG = "02-Train", wrong("lstm_encoder_weights", "bytes_on_disk", "classify")
    SOLVED, STUBS = named(*WRONG), {"bytes_on_disk": ...}


class TestInference(Lab07):
    STAGE, WRONG = "03-Inference", wrong("nearest", "same_prompt")
    SOLVED = named(*WRONG)


class TestMerge(Lab07):
    STAGE, WRONG = "04-Merge_and_Deploy", wrong("move_positions", "share_a_base", "bundle")
    SOLVED, STUBS = named(*WRONG) | {"bundle": "left_out_solution"}, {"bundle": ...}
