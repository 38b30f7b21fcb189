"""Checks for the exercises of Lab 01, notebook 01-Setup."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered

IGNORED = -100


# --- exercise 1: which tokens contribute to the loss -----------------------------------------------------------------


def _labels(prompt: list[int], answer: list[int], eos: int) -> tuple[list[int], list[int]]:
    return prompt + answer + [eos], [IGNORED] * len(prompt) + answer + [eos]


def _labels_mutants() -> list[tuple[Callable, str]]:
    def shifted(p: list[int], a: list[int], e: int) -> tuple:
        return p + a + [e], [IGNORED] * (len(p) - 1) + a + [e, IGNORED]

    return [
        (lambda p, a, e: (p + a + [e], p + a + [e]),
         "The prompt's tokens still contribute to the loss: their labels must be -100, or the model learns to write "
         "questions."),
        (lambda p, a, e: (p + a + [e], p + [IGNORED] * (len(a) + 1)),
         "It is the other way round: the prompt is masked, the answer contributes to the loss."),
        (lambda p, a, e: (p + a + [e], [0] * len(p) + a + [e]),
         "The prompt's labels are 0. But 0 is a token of the vocabulary, so the model is trained to write it; "
         "cross-entropy ignores -100 only."),
        (lambda p, a, e: (p + a, [IGNORED] * len(p) + a),
         "The end-of-sequence token is missing: a model that is never trained to stop does not stop."),
        (lambda p, a, e: (p + a + [e], [IGNORED] * len(p) + a + [IGNORED]),
         "The end-of-sequence token is there, but its label is -100: it is read and never learned, so the model does "
         "not stop."),
        (shifted,
         "The labels are shifted by one. The model shifts them itself when it computes the loss: the label of a "
         "position is the token that stands there."),
        (lambda p, a, e: (p + a + [e], a + [e]),
         "The labels are shorter than input_ids: they need one entry for each token, -100 where the prompt is."),
    ]  # fmt: skip


@check("Which tokens contribute to the loss?")
def build_labels(answer: Callable) -> str:
    """Check ``build_labels(prompt_ids, answer_ids, eos_id) -> (input_ids, labels)``."""

    def as_lists(*arguments: object) -> object:
        result = answer(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise Wrong("return two lists, input_ids and labels, separated by a comma.")
        return tuple([int(i) for i in part] for part in result)

    if unanswered(answer):
        raise Unanswered
    cases = [([5, 6, 7, 8], [9, 10], 2), ([11, 4], [3, 12, 13], 2), ([4, 4, 4], [4], 1)]
    expect_function(as_lists if callable(answer) else answer, _labels, cases, mutants=_labels_mutants())
    return "The prompt is read; the answer and the end token are learned."


# --- exercise 2: the limit on the length -----------------------------------------------------------------------------


def _limit(lengths: Sequence[int], keep: float) -> int:
    return sorted(lengths)[max(0, math.ceil(keep * len(lengths) - 1e-9) - 1)]


@check("The smallest max_length that keeps enough rows whole")
def shortest_limit(answer: Callable) -> str:
    """Check ``shortest_limit(lengths, keep) -> int``."""
    cases = [
        ([10, 12, 14, 16, 18, 20, 22, 24, 26, 90], 0.9), ([10, 12, 14, 16, 18, 20, 22, 24, 26, 90], 0.5),
        ([30, 10, 20, 40], 0.75), ([7, 7, 7, 50], 0.75), ([3, 9, 4, 8, 60], 1.0), ([3, 9, 4, 8, 60], 0.5),
    ]  # fmt: skip

    def beyond(lengths: Sequence[int], keep: float) -> int:
        return sorted(lengths)[min(len(lengths) - 1, int(keep * len(lengths)))]

    def one_short(lengths: Sequence[int], keep: float) -> int:
        return sorted(lengths)[max(0, math.ceil(keep * len(lengths) - 1e-9) - 2)]

    def of_tokens(lengths: Sequence[int], keep: float) -> int:
        total = 0
        for length in sorted(lengths):
            total += length
            if total >= keep * sum(lengths):
                return length
        return max(lengths)

    mutants = [
        (lambda lengths, keep: max(lengths), "This is the longest row, whatever `keep` says: it keeps every row whole, "
         "and one very long row makes all batches expensive."),
        (lambda lengths, keep: sum(lengths) / len(lengths), "This is the mean length. Rows longer than the mean, often "
         "nearly half of them, would be cut."),
        (lambda lengths, keep: keep * max(lengths), "This is a share of the longest row; what is wanted is a limit "
         "under which a share of the *rows* stays."),
        (lambda lengths, keep: lengths[max(0, math.ceil(keep * len(lengths) - 1e-9) - 1)], "Right place, but in the "
         "list as it came: sort the lengths first."),
        (beyond, "Nearly: the limit is one row too generous. With n rows sorted, the k-th one (counted from 1) keeps k "
         "rows whole, and Python counts from 0."),
        (one_short, "Nearly: the limit is one row too tight, fewer rows than asked stay whole."),
        (of_tokens, "This keeps a share of the *tokens*; asked is a share of the rows."),
    ]  # fmt: skip
    expect_function(answer, _limit, cases, mutants=mutants)
    return "Rows of just this length stay whole, and one token less would cut too many."


# --- exercise 3: bytes for training with LoRA ------------------------------------------------------------------------


@check("Bytes for the model states of LoRA")
def training_bytes(answer: Callable) -> str:
    """Check ``training_bytes(n_base, shapes, r) -> int``: 2 bytes a frozen, 16 per trainable parameter."""

    def right(n_base: int, shapes: list[tuple[int, int]], r: int) -> int:
        return 2 * n_base + 16 * r * sum(d + k for d, k in shapes)

    cases = [(1_000_000, [(64, 64), (64, 32)], 8), (5_000, [(10, 30)], 1), (7_000_000, [(128, 512)] * 4, 16)]

    def only(make: Callable) -> Callable:
        return lambda n, shapes, r: make(n, r * sum(d + k for d, k in shapes), shapes, r)

    mutants = [
        (only(lambda n, lora, s, r: 16 * lora), "The frozen base is missing. It is not trained, but it has to lie in "
         "memory: 2 bytes for each of its parameters."),
        (only(lambda n, lora, s, r: 16 * n + 16 * lora), "The base is counted with 16 bytes each. That is full "
         "fine-tuning: a frozen parameter has no gradient and no optimizer state."),
        (only(lambda n, lora, s, r: 4 * n + 16 * lora), "The base is counted with 4 bytes each: it is kept in 16 bit "
         "here, that is 2."),
        (only(lambda n, lora, s, r: 2 * n + 2 * lora), "Only the adapter's weights are counted. Trainable parameters "
         "also need a gradient, a master copy and Adam's two moments: 16 bytes in all."),
        (only(lambda n, lora, s, r: 2 * n + 16 * r * sum(d * k for d, k in s)), "You counted r·d·k. A is r x k and B "
         "is d x r, together r (d + k)."),
        (only(lambda n, lora, s, r: 2 * n + 16 * r * sum(k for _, k in s)), "Only A is counted; B has d x r more."),
        (only(lambda n, lora, s, r: 2 * n + 16 * r * sum(d for d, _ in s)), "Only B is counted; A has r x k more."),
        (only(lambda n, lora, s, r: 2 * n + 16 * sum(d + k for d, k in s)), "The rank r does not occur: A has r rows "
         "and B has r columns."),
        (only(lambda n, lora, s, r: (2 * n + 16 * lora) / 1e9), "Right, but in GB; asked are bytes."),
        (only(lambda n, lora, s, r: (2 * n + 16 * lora) / 2**30), "Right, but in GiB; asked are bytes."),
    ]  # fmt: skip
    expect_function(answer, right, cases, mutants=mutants)
    return "The frozen base needs its weights only; each trainable parameter needs 16 bytes."


# --- exercise 4: break it, the base that was not frozen --------------------------------------------------------------


def _broken_model():
    """A two-layer model with LoRA whose base was made trainable again, as one careless line does."""
    import torch
    from peft import LoraConfig, get_peft_model

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(8)
            self.q_proj, self.v_proj = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.exploration = torch.nn.Embedding(11, 8)  # "lora" is a part of this name too
            self.layers = torch.nn.ModuleList([Block(), Block()])
            self.head = torch.nn.Linear(8, 11)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.exploration(ids)
            for block in self.layers:
                x = x + block.q_proj(block.norm(x))
                block.v_proj(x)
            return self.head(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = get_peft_model(Toy(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    return model.requires_grad_(True)


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


@check("Break it: the base that was not frozen")
def repair(answer: Callable) -> str:
    """Check ``repair(model)``, which freezes the base of a peft model again, in place."""
    import torch

    if not callable(answer):
        raise Wrong(f"repair is a {type(answer).__name__}, but should be a function (without calling it).")
    model = _broken_model()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    returned = answer(model)
    target = returned if isinstance(returned, torch.nn.Module) else model
    state = dict(target.named_parameters())
    if state.keys() != before.keys():
        raise Wrong("parameters were added or removed; only `requires_grad` has to change, not the model's structure.")
    changed = [name for name, value in state.items() if not torch.equal(value, before[name])]
    if changed:
        raise Wrong(f"the values of {changed[0]} changed; a repair sets `requires_grad` and leaves the weights alone.")
    training = {name for name, value in state.items() if value.requires_grad}
    _explain(training, set(state))
    return "Only A and B are trainable again: " + f"{sum(state[n].numel() for n in training):,} parameters."


def _explain(training: set[str], everything: set[str]) -> None:
    """Say which parameters are trainable and should not be, or the reverse."""
    adapter = {name for name in everything if _is_adapter(name)}
    if training == everything:
        raise Wrong("nothing has changed: every parameter is still trainable.")
    if not training:
        raise Wrong("now no parameter is trainable: the adapter's own A and B have to keep requires_grad=True.")
    if training == everything - adapter:
        raise Wrong("it is the other way round: you froze the adapter and left the base trainable.")
    if adapter - training:
        half = "B" if all(".lora_A." in name for name in training) else "A"
        raise Wrong(f"a part of the adapter is frozen too ({sorted(adapter - training)[0]}); without {half} the update "
                    "has no direction, or no way to leave zero.")  # fmt: skip
    left = sorted(training - adapter)
    if left:
        kind = left[0].split(".")[-2]
        hint = {
            "exploration": " Its name contains 'lora' by chance: look for 'lora_A' and 'lora_B' instead.",
            "base_layer": " Frozen matrices sit in 'base_layer', inside the adapted module.",
            "norm": " The norms belong to the base too.",
            "head": " The output head belongs to the base too.",
        }.get(kind, "")
        raise Wrong(f"{len(left)} base parameters are still trainable, for example {left[0]}.{hint}")


def broken_model():
    """A fresh copy of the broken model of the last exercise.

    Returns:
        A small :class:`peft.PeftModel` all of whose parameters are trainable.
    """
    return copy.deepcopy(_broken_model())
