"""TOKEN_CLS: one class for each word, as in named-entity recognition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.data.local_files import kind_of, shown
from shared.finetune.data.values import row_numbers
from shared.finetune.metrics import compute
from shared.finetune.tasks import Task
from shared.finetune.tasks.batches import IGNORED, longest, outputs
from shared.finetune.tasks.labels import (
    class_names,
    find_column,
    known_labels,
    model_labels,
    needed,
    number_of,
    probabilities,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

WORDS, TAGS = ("tokens", "words"), ("ner_tags", "tags", "labels")


def word_column(rows: Dataset, config: Config) -> str:
    """The column with each row's words."""
    asked = (config.dataset.text_columns or [None])[0]
    return find_column(rows, asked, WORDS, "text_columns", config.dataset.name)


def _tag_column(rows: Dataset, config: Config) -> str:
    return find_column(rows, config.dataset.label_column, TAGS, "label_column", config.dataset.name)


def labels(config: Config) -> list[str]:
    """The tags of the training rows.

    Raises:
        DataError: If they are bare numbers: seqeval has to know which tags begin an entity.
    """
    from shared.finetune.data import load_rows

    rows = load_rows(config.dataset, "train")
    column = _tag_column(rows, config)
    _check_rows(rows, column, config)
    values = [tag for tags in rows[column] for tag in tags]
    if class_names(rows, column) is None and any(isinstance(tag, int) for tag in values[:1]):
        raise DataError(
            f"{config.dataset.name}: {column} holds bare numbers", fix="write the tags as text: O, B-PER, I-PER …"
        )
    return known_labels(config, rows, column, values)


def _check_rows(rows: Dataset, column: str, config: Config) -> None:
    """Refuse rows of which the words or the tags are no list, or that have more of one than of the other."""
    words = word_column(rows, config)
    for number, texts, tags in zip(row_numbers(rows), rows[words], rows[column], strict=True):
        where = f"{config.dataset.name}, row {number}"
        for name, value in ((words, texts), (column, tags)):
            if not isinstance(value, list) or not all(isinstance(one, (str, int)) for one in value):
                found = (
                    f"{where}, column {name!r}: {kind_of(value)} ({shown(value)}) instead of a list, one for each word"
                )
                raise DataError(found, fix='write lists, such as ["Ann", "left"] and ["B-PER", "O"]')
        if len(texts) != len(tags):
            found = f"{where}: {len(texts)} in {words!r}, but {len(tags)} in {column!r}"
            raise DataError(found, fix="write one tag for each word, or remove the row")


def _coded(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> tuple[list[dict], list[list[int | None]]]:
    """Token numbers, and for each token the word that it begins (None for the rest of a word and special tokens)."""
    coded = tokenizer(
        list(rows[word_column(rows, config)]),
        is_split_into_words=True,
        truncation=True,
        max_length=longest(config, model),
    )
    firsts = []
    for row in range(len(rows)):
        words = coded.word_ids(row)
        firsts.append([word if word != before else None for before, word in zip([None, *words], words, strict=False)])
    return [dict(zip(coded.keys(), one, strict=True)) for one in zip(*coded.values(), strict=True)], firsts


def references(rows: Dataset, config: Config, names: list[str]) -> list[list[int]]:
    """Each word's class as a number, row by row."""
    column = _tag_column(rows, config)
    _check_rows(rows, column, config)
    declared = class_names(rows, column) is not None
    return [[number_of(tag, names, column, config.dataset.name, declared) for tag in tags] for tags in rows[column]]


def features(rows: Dataset, tokenizer: Any, config: Config, model: Any) -> list[dict[str, Any]]:
    """Words as token numbers; ``labels`` stand at each word's first token, all others are ignored."""
    tags = references(rows, config, model_labels(model))
    coded, firsts = _coded(rows, tokenizer, config, model)
    return [
        {**one, "labels": [IGNORED if word is None else row[word] for word in words]}
        for one, words, row in zip(coded, firsts, tags, strict=True)
    ]


def input_row(row: dict[str, Any], config: Config) -> dict[str, Any]:
    """The words of an input; a text is split at whitespace."""
    column = (config.dataset.text_columns or [next((word for word in WORDS if word in row), WORDS[0])])[0]
    words = needed(row, [column])[column]
    words = words.split() if isinstance(words, str) else words
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise DataError(f"{column} holds no words", fix="write a text, or a list of words")
    return {column: words}


def answers(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[dict[str, Any]]:
    """The likeliest tag of each word with its probability; O (or the first tag) and None for words cut off."""
    coded, firsts = _coded(rows, tokenizer, config, model)
    names = model_labels(model)
    found = outputs(model, tokenizer, coded, config.evaluation.batch_size, progress=progress)
    rest = "O" if "O" in names else names[0]
    tagged = []
    for (logits,), words, row in zip(found, firsts, rows[word_column(rows, config)], strict=True):
        tags, chances, each = [rest] * len(row), [None] * len(row), probabilities(logits)
        for place, word in enumerate(words):
            if word is not None:
                tags[word], chances[word] = names[int(logits[place].argmax())], float(each[place].max())
        tagged.append({"answer": tags, "probabilities": chances})
    return tagged


def predict(model: Any, tokenizer: Any, rows: Dataset, config: Config, progress: Any = None) -> list[list[str]]:
    """The likeliest tag of each word."""
    return [one["answer"] for one in answers(model, tokenizer, rows, config, progress)]


def score(
    found: list[list[str]], rows: Dataset, config: Config, model: Any
) -> tuple[dict[str, float], list[list[str]]]:
    """seqeval's F1, precision and recall over whole entities, and the accuracy over words."""
    names = model_labels(model)
    right = [[names[number] for number in row] for row in references(rows, config, names)]
    return compute("tagging", found, right), right


TASK = Task(
    name="TOKEN_CLS",
    auto_class="AutoModelForTokenClassification",
    main_metric="f1",
    metrics=("f1", "precision", "recall", "accuracy"),
    columns=lambda rows, config: [word_column(rows, config)],
    labels=labels,
    references=references,
    features=features,
    predict=predict,
    answers=answers,
    score=score,
    input_row=input_row,
)
