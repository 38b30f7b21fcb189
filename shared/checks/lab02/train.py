"""Checks for the exercises of Lab 02, notebook 02-Train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.checks.core import Wrong, check, expect_function

# --- exercise 1: counting --------------------------------------------------------------------------------------------


@check("Count the trained parameters")
def houlsby_weights(answer: Callable) -> str:
    """Check ``houlsby_weights(layers, d, m, norms) -> int``."""

    def right(layers: int, d: int, m: int, norms: bool) -> int:
        return 2 * layers * (2 * m * d + d + m) + (4 * layers * d + 2 * d if norms else 0)

    def variant(adapters: Callable, norms_of: Callable) -> Callable:
        return lambda n, d, m, norms: adapters(n, d, m) + (norms_of(n, d) if norms else 0)

    def both(n: int, d: int, m: int) -> int:
        return 2 * n * (2 * m * d + d + m)

    def all_norms(n: int, d: int) -> int:
        return 4 * n * d + 2 * d

    cases = [(12, 768, 64, False), (12, 768, 64, True), (24, 1024, 8, True), (4, 128, 16, False), (6, 384, 1, True)]
    mutants = [
        (variant(lambda n, d, m: both(n, d, m) // 2, all_norms), "One bottleneck for each layer: that is Pfeiffer's "
         "count. Houlsby has two in each layer; the paper's 2md + d + m is one of them."),
        (variant(lambda n, d, m: 4 * n * m * d, all_norms), "The biases are missing: m of the down-projection and d of "
         "the up-projection."),
        (variant(both, lambda n, d: 4 * n * d), "The LayerNorm of the embeddings is missing: 2d more."),
        (variant(both, lambda n, d: 2 * n * d + d), "A LayerNorm has two vectors, scale and shift: 2d parameters."),
        (variant(both, lambda n, d: 2 * n * d + 2 * d), "A layer has two LayerNorms, one after each sublayer."),
        (lambda n, d, m, norms: both(n, d, m) + all_norms(n, d), "The LayerNorms are counted although `norms` is "
         "False."),
        (lambda n, d, m, norms: both(n, d, m), "The LayerNorms are not counted when `norms` is True."),
    ]  # fmt: skip
    expect_function(answer, right, cases, mutants=mutants)
    return "2L(2md + d + m), and 4Ld + 2d for the LayerNorms: BERT-base with m = 64 has 2,417,664."


# --- exercise 2: attention over adapters -----------------------------------------------------------------------------


@check("Attention over adapters")
def fusion_weights(answer: Callable) -> str:
    """Check ``fusion_weights(query, keys) -> weights``."""
    import torch

    def scores(query: Any, keys: Any) -> Any:
        return torch.einsum("bsd,bsnd->bsn", query, keys)

    def pooled(query: Any, keys: Any) -> Any:
        return scores(query, keys).mean(1, keepdim=True).softmax(-1).expand(-1, query.shape[1], -1)

    generator = torch.Generator().manual_seed(0)
    cases = [
        (torch.randn(b, s, d, generator=generator), torch.randn(b, s, n, d, generator=generator))
        for b, s, n, d in ((2, 5, 3, 8), (1, 4, 2, 6), (3, 2, 4, 5))
    ]
    mutants = [
        (scores, "The softmax is missing: the weights of the adapters have to be positive and to sum to one."),
        (lambda q, k: scores(q, k).softmax(1), "The softmax is over the tokens. For each token the weights of "
         "the *adapters* sum to one: softmax over the last axis."),
        (lambda q, k: scores(q, k).softmax(0), "The softmax is over the rows of the batch, which are independent; "
         "use the last axis."),
        (lambda q, k: (scores(q, k) / q.shape[-1] ** 0.5).softmax(-1), "You divided by the square root of d, as "
         "attention between tokens does. AdapterFusion does not (section 12)."),
        (pooled, "All tokens of a row got the same weights. Each token has its own."),
        (lambda q, k: (q.unsqueeze(2) * k).softmax(2).sum(-1), "The softmax comes after the sum over d: first the "
         "dot product, then the softmax."),
    ]  # fmt: skip
    expect_function(answer, lambda q, k: scores(q, k).softmax(-1), cases, mutants=mutants)
    return "For each token the weights of the adapters sum to one."


# --- exercise 3: break it --------------------------------------------------------------------------------------------

ERRORS = ("base trains", "head frozen", "adapter frozen", "fine")


def _broken_model(error: str, norms: bool = False, part: int = 0) -> Any:
    """A small BERT with the library's parameter names and one error.

    Args:
        error: One of :data:`ERRORS`.
        norms: Whether the LayerNorms are trained, which is not an error.
        part: Which parameter of the affected group is wrong.
    """
    from torch import nn

    def sublayer() -> nn.ModuleDict:
        bottleneck = nn.ModuleDict({"down": nn.Linear(4, 2), "up": nn.Linear(2, 4)})
        return nn.ModuleDict(
            {"dense": nn.Linear(4, 4), "LayerNorm": nn.LayerNorm(4), "adapters": nn.ModuleDict({"task": bottleneck})}
        )

    model = nn.ModuleDict({"bert": nn.ModuleDict({"output": sublayer()}), "classifier": nn.Linear(4, 2)})
    groups: dict[str, list] = {"adapter": [], "head": [], "base": []}
    for name, parameter in model.named_parameters():
        kind = "adapter" if ".adapters." in name else "head" if name.startswith("classifier") else "base"
        if "LayerNorm" in name:
            parameter.requires_grad_(norms)
        else:
            groups[kind].append(parameter.requires_grad_(kind != "base"))
    if error != "fine":
        wrong = groups[error.split()[0]]
        wrong[part % len(wrong)].requires_grad_(error == "base trains")
    return model


@check("Break it: four models that do not learn")
def diagnose(answer: Callable) -> str:
    """Check ``diagnose(model)`` on small models with a planted error."""
    if not callable(answer):
        raise Wrong("pass the function itself: diagnose, without calling it.")
    hints = {
        "base trains": "A model in which a parameter of the base is trained got {said!r}. Look at the names that "
        "belong to neither adapter, head nor LayerNorm.",
        "head frozen": "A model with a frozen part of its head got {said!r}: a head that starts at random and stays "
        "frozen stays random.",
        "adapter frozen": "A model with a frozen part of its adapter got {said!r}. One frozen tensor of the adapter is "
        "enough to make it wrong.",
        "fine": "A correct model got {said!r}.",
    }
    for error in ERRORS:
        for norms in (False, True):
            for part in range(4):
                said = answer(_broken_model(error, norms, part))
                if said is None and part == 0:
                    raise Wrong("diagnose returns None: is a `return` missing?")
                if said not in ERRORS:
                    raise Wrong(f"{said!r} is none of the four answers {ERRORS}.")
                if said != error and norms and said == "base trains":
                    raise Wrong("A model whose LayerNorms are trained got 'base trains'. Here that is not an error: "
                                "the paper trains them on purpose.")  # fmt: skip
                if said != error:
                    raise Wrong(hints[error].format(said=said))
    return "All four are distinguished, and trained LayerNorms are not taken for an error."
