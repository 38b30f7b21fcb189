"""QUESTION_ANS: the span of a context that answers a question (extractive, as in SQuAD 1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import DataError, ModelError
from shared.finetune.metrics import compute
from shared.finetune.tasks import Task
from shared.finetune.tasks.batches import longest, outputs
from shared.finetune.tasks.labels import find_column, needed

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

CANDIDATES = 20  # the likeliest starts and ends, which are combined
LONGEST_ANSWER = 30  # [tokens], as in the BERT paper's script


def _windows(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> tuple[list[dict], list[int], list[list]]:
    """Questions with their contexts in overlapping windows.

    Returns:
        Token numbers of each window; the row it belongs to; and for each token its (start, end) in the context
        [characters], None outside of the context.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} does not report the offsets of its tokens", fix="use a fast tokenizer"
        )
    name = config.dataset.name
    question, context = (find_column(rows, None, (one,), "name", name) for one in ("question", "context"))
    coded = tokenizer(
        [text.strip() for text in rows[question]],  # some questions of SQuAD begin with many spaces
        list(rows[context]),
        truncation="only_second",
        max_length=longest(config, model),
        stride=min(config.dataset.doc_stride, longest(config, model) // 4),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, offsets = coded.pop("overflow_to_sample_mapping"), coded.pop("offset_mapping")
    places = [
        [place if part == 1 else None for place, part in zip(offsets[window], coded.sequence_ids(window), strict=True)]
        for window in range(len(owners))
    ]
    return [dict(zip(coded.keys(), one, strict=True)) for one in zip(*coded.values(), strict=True)], owners, places


def features(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    """Windows with ``start_positions`` and ``end_positions``; 0 ([CLS]) where the answer is not within the window.

    Raises:
        DataError: For questions without an answer, as in SQuAD 2.0.
    """
    answers = rows["answers"]
    empty = next((number for number, one in enumerate(answers, 1) if not one["text"]), None)
    if empty:
        raise DataError(
            f"{config.dataset.name}, row {empty}: no answer; questions without one (SQuAD 2.0) are not supported",
            fix="remove these rows",
        )
    coded, owners, places = _windows(rows, tokenizer, config, model)
    return [{**one, **_target(answers[owner], spots)} for one, owner, spots in zip(coded, owners, places, strict=True)]


def _target(answer: dict[str, list], spots: list) -> dict[str, int]:
    """The first and last token of the answer in a window."""
    begin = answer["answer_start"][0]
    end = begin + len(answer["text"][0])
    inside = [place for place, spot in enumerate(spots) if spot and spot[0] < end and spot[1] > begin]
    whole = [spot for spot in spots if spot]
    if not inside or whole[0][0] > begin or whole[-1][1] < end:
        return {"start_positions": 0, "end_positions": 0}
    return {"start_positions": inside[0], "end_positions": inside[-1]}


def input_row(row: dict[str, Any], config: Config) -> dict[str, Any]:
    """Question and context of an input."""
    return {column: str(value) for column, value in needed(row, ["question", "context"]).items()}


def predict(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[str]:
    """The likeliest span of each context, over all its windows."""
    coded, owners, places = _windows(rows, tokenizer, config, model)
    names = ("start_logits", "end_logits")
    found = outputs(model, tokenizer, coded, config.evaluation.batch_size, names, progress)
    best: list[tuple[float, str]] = [(float("-inf"), "")] * len(rows)
    contexts = rows["context"]
    for (starts, ends), owner, spots in zip(found, owners, places, strict=True):
        value, span = _best_span(starts, ends, spots)
        if span is not None and value > best[owner][0]:
            best[owner] = (value, contexts[owner][span[0] : span[1]])
    return [text for _, text in best]


def _best_span(starts: Any, ends: Any, spots: list) -> tuple[float, tuple[int, int] | None]:
    """The highest sum of a start's and an end's logit, and where the span lies in the context [characters]."""
    allowed = [place for place, spot in enumerate(spots) if spot]
    firsts, lasts = (sorted(allowed, key=lambda place: -logits[place])[:CANDIDATES] for logits in (starts, ends))
    best, span = float("-inf"), None
    for first in firsts:
        for last in lasts:
            value = starts[first] + ends[last]
            if first <= last < first + LONGEST_ANSWER and value > best:
                best, span = float(value), (spots[first][0], spots[last][1])
    return best, span


def score(found: list[str], rows: Dataset, config: Config, model: Any) -> tuple[dict[str, float], list[list[str]]]:
    """SQuAD's exact match and F1, against the best of each question's references."""
    right = [list(one["text"]) for one in rows["answers"]]
    return compute("squad", found, right), right


TASK = Task(
    name="QUESTION_ANS",
    auto_class="AutoModelForQuestionAnswering",
    main_metric="exact_match",
    metrics=("exact_match", "f1"),
    features=features,
    label_names=("start_positions", "end_positions"),
    predict=predict,
    score=score,
    input_row=input_row,
)
