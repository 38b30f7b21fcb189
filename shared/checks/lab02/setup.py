"""Checks for the exercises of Lab 02, notebook 01-Setup."""

from __future__ import annotations

from collections.abc import Callable

from shared.checks.core import Unanswered, Wrong, check, expect_function, unanswered


@check("The largest bottleneck for a budget")
def largest_bottleneck(answer: Callable) -> str:
    """Check ``largest_bottleneck(budget, layers, d) -> m``."""

    def right(budget: int, layers: int, d: int) -> int:
        return (budget - 2 * layers * d) // (2 * layers * (2 * d + 1))

    cases = [(2_379_264, 12, 768), (2_379_263, 12, 768), (100_000, 4, 128), (6_343_680, 24, 1024), (20_000, 2, 8)]
    mutants = [
        (lambda b, n, d: (b - n * d) // (n * (2 * d + 1)), "You counted one bottleneck per layer; Houlsby has two, "
         "one after attention and one after the feed-forward part."),
        (lambda b, n, d: b // (4 * n * d), "The biases are missing: a bottleneck has d + m of them in addition to "
         "the two matrices."),
        (lambda b, n, d: b // (2 * n * (2 * d + 1)), "The d biases of the up-projection do not depend on m: "
         "subtract them from the budget first."),
        (lambda b, n, d: (b - 2 * n * d) // (4 * n * d), "The bias of the down-projection has m parameters, so each "
         "unit of m adds 2d + 1 and not 2d."),
        (lambda b, n, d: right(b, n, d) + 1, "One too many: the budget is exceeded. Round down."),
        (lambda b, n, d: (b - 2 * n * d) / (2 * n * (2 * d + 1)), "This is not a whole number: round down with //."),
    ]  # fmt: skip
    expect_function(answer, right, cases, mutants=mutants)
    return "The count is linear in m: 2Ld parameters are fixed, and each unit of m adds 2L(2d + 1)."


@check("When does a shared base need less disk space?")
def break_even(answer: Callable) -> str:
    """Check ``break_even(base, adapter) -> tasks``."""

    def right(base: float, adapter: float) -> int:
        tasks = 1
        while base + tasks * adapter >= tasks * base:
            tasks += 1
        return tasks

    def not_strict(base: float, adapter: float) -> int:
        tasks = 1
        while base + tasks * adapter > tasks * base:
            tasks += 1
        return tasks

    cases = [(438, 9.7), (100, 50), (100, 49), (100, 80), (90, 60), (4.1, 0.27)]
    mutants = [
        (not_strict, "At your number both need the same space; the question is when the shared base needs *less*."),
        (lambda base, adapter: 1, "For one task a full copy needs `base`, and base + adapter is more than that."),
        (lambda base, adapter: 2, "Two tasks are enough only while the adapter is smaller than half the base; try "
         "break_even(100, 80)."),
        (lambda base, adapter: right(base, adapter) - 1, "One too few: insert your number into both sides and "
         "compare."),
        (lambda base, adapter: base / (base - adapter), "This is where both are equal, and not a whole number; "
         "the answer is the next whole number above it."),
    ]  # fmt: skip
    expect_function(answer, right, cases, mutants=mutants)
    return (
        "If an adapter has a few per cent of the base's size, the shared base needs less space from the second task on."
    )


def _pair(first: list, second: list, cls: int, sep: int) -> tuple[list, list]:
    left, right = [cls, *first, sep], [*second, sep]
    return left + right, [0] * len(left) + [1] * len(right)


@check("A sentence pair as BERT reads it")
def encode_pair(answer: Callable) -> str:
    """Check ``encode_pair(first, second, cls, sep) -> (ids, segments)``."""

    def as_lists(*arguments: object) -> object:
        result = answer(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise Wrong("return two lists, the token ids and the segment ids, separated by a comma.")
        ids, segments = (list(part) for part in result)
        if len(ids) != len(segments):
            raise Wrong(f"there are {len(ids)} token ids but {len(segments)} segment ids: each token, the special "
                        "ones too, has a segment.")  # fmt: skip
        return ids, segments

    def second_cls(a: list, b: list, cls: int, sep: int) -> tuple[list, list]:
        left, right = [cls, *a, sep], [cls, *b, sep]
        return left + right, [0] * len(left) + [1] * len(right)

    def early(a: list, b: list, cls: int, sep: int) -> tuple[list, list]:
        ids = _pair(a, b, cls, sep)[0]
        return ids, [0] * (len(a) + 1) + [1] * (len(b) + 2)

    mutants = [
        (second_cls, "The second text begins with another [CLS]. A sequence has one, at its beginning: the head "
         "reads its hidden state."),
        (lambda a, b, c, s: ([c, *a, s, *b], [0] * (len(a) + 2) + [1] * len(b)), "The [SEP] after the second text is "
         "missing."),
        (early, "The first [SEP] has segment 1; it belongs to the first text, segment 0."),
        (lambda a, b, c, s: (_pair(a, b, c, s)[0], [0] * (len(a) + len(b) + 3)), "All segments are 0: BERT could not "
         "distinguish the two texts by them."),
        (lambda a, b, c, s: ([c, *a, *b, s], [0] * (len(a) + 1) + [1] * (len(b) + 1)), "The [SEP] between the texts is "
         "missing."),
        (lambda a, b, c, s: (_pair(a, b, c, s)[0], [1 - x for x in _pair(a, b, c, s)[1]]), "The segments are swapped: "
         "the first text has 0."),
    ]  # fmt: skip
    if unanswered(answer):
        raise Unanswered
    cases = [([5, 6, 7], [8], 2, 3), ([9], [4, 3, 6], 101, 102), ([], [7], 2, 3)]
    expect_function(as_lists if callable(answer) else answer, _pair, cases, mutants=mutants)
    return "One [CLS], two [SEP], and a segment for each token."
