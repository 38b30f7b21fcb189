"""Scores of a model on the rows of a split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shared.finetune.common.processes import split_over_processes
from shared.finetune.evaluation.generation import Generation, generate_answers
from shared.finetune.metrics.answers import NAMES as ANSWERS
from shared.finetune.metrics.answers import correct_answers, references_for
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.regression import SCORES as REGRESSION_SCORES

if TYPE_CHECKING:
    from shared.finetune.config.loading import Config


def score(
    generations: Sequence[Generation], references: Sequence[str], format_regex: str | None = None
) -> dict[str, float]:
    """How many answers are correct, and how many have the right format.

    Args:
        generations: The answers.
        references: The references, in the same order.
        format_regex: The regular expression that a whole answer has to match; None: it only has to end with the
            end-of-text token.

    Returns:
        ``exact_match`` and ``format`` as shares [0–1], ``n`` is the number of answers.

    Raises:
        ValueError: If the numbers of answers and references differ.
    """
    right = [one.text.strip() == reference.strip() for one, reference in zip(generations, references, strict=True)]
    pattern = re.compile(format_regex, re.DOTALL) if format_regex else None
    formed = [one.ended and (pattern is None or pattern.fullmatch(one.text.strip()) is not None) for one in generations]
    number = len(right)
    return {"exact_match": sum(right) / max(number, 1), "format": sum(formed) / max(number, 1), "n": number}


def evaluate_rows(model: Any, tokenizer: Any, config: Config, split: str = "test", progress: Any = None) -> dict:
    """Answer the rows of a split and score the answers, as set in ``evaluation:``.

    Returns:
        The metrics of the task as shares [0–1], ``perplexity`` if it is asked for, ``n``, and ``answers``: one
        dict per row with answer, reference, right (and prompt for CAUSAL_LM, whose shares are those of :func:`score`).
    """
    rows = scored_rows(config, split)
    answer = _answer_rows if config.task_type == "CAUSAL_LM" else TASKS[config.task_type].evaluate
    extra = {}
    if config.evaluation.perplexity:
        from shared.finetune.evaluation.perplexity import perplexity

        extra["perplexity"] = perplexity(model, tokenizer, rows, config)
    return {**answer(model, tokenizer, rows, config, progress), **extra}


def check_references(config: Config, split: str = "test") -> None:
    """Refuse rows that can't be scored, before hours of training: columns that ``evaluation.metric`` needs are missing,
    or the labels are hidden.

    Raises:
        DataError: Naming what is missing.
    """
    from shared.finetune.data.prompts import response_of

    task = TASKS[config.task_type]
    if task.references is not None:
        task.references(scored_rows(config, split), config, task.labels(config))
    elif config.task_type == "CAUSAL_LM" and config.evaluation.metric != "exact_match":
        rows = scored_rows(config, split)
        references_for(rows, [response_of(row, config.dataset) for row in rows], config)


def scored_rows(config: Config, split: str) -> Any:
    """The rows of a split that are answered: the first ``evaluation.rows``."""
    from shared.finetune.data.loading import load_rows

    rows, number = load_rows(config.dataset, split), config.evaluation.rows
    return rows if number is None or number >= len(rows) else rows.select(range(number))


def _answer_rows(model: Any, tokenizer: Any, rows: Any, config: Config, progress: Any = None) -> dict:
    from shared.finetune.data.prompts import reference_of, to_prompt_completion

    settings = config.evaluation
    pairs = to_prompt_completion(rows, config.dataset, tokenizer)
    prompts = list(pairs["prompt"])
    references = [reference_of(text, config.dataset, tokenizer) for text in pairs["completion"]]
    right = references_for(rows, references, config)

    def answers_of(places: list[int]) -> list[Generation]:
        own = [prompts[place] for place in places]
        return generate_answers(
            model, tokenizer, own, settings.max_new_tokens, settings.batch_size, settings.stop, progress
        )

    found = split_over_processes(len(prompts), answers_of)
    correct = correct_answers(settings.metric, [one.text for one in found], right)
    answers = [
        {"prompt": prompt, "answer": one.text.strip(), "reference": reference, "ended": one.ended, "right": right_}
        for prompt, one, reference, right_ in zip(prompts, found, references, correct, strict=True)
    ]
    scores = score(found, references, settings.format_regex) | {settings.metric: sum(correct) / len(correct)}
    return {**scores, "answers": answers}


def scores_text(found: dict[str, Any]) -> str:
    """The metrics in one line, ``accuracy 81.0%, f1 80.2% (n=200)``."""
    known = [*ANSWERS[1:], *(name for task in TASKS.values() for name in task.metrics), *REGRESSION_SCORES]
    shown = ", ".join(f"{name.replace('_', ' ')} {found[name]:.1%}" for name in dict.fromkeys(known) if name in found)
    more = f", perplexity {found['perplexity']:.2f}" if "perplexity" in found else ""
    return f"{shown}{more} (n={found['n']})"


def majority(references: Iterable[str]) -> dict[str, Any]:
    """The most frequent answer, and the share of exact matches if it were always given."""
    from collections import Counter

    references = [one.strip() for one in references]
    answer, times = Counter(references).most_common(1)[0]
    return {"answer": answer, "exact_match": times / len(references), "n": len(references)}
