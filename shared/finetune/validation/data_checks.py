"""Problems that only the rows show: splits and columns that the data set lacks, prompts that fill the whole length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import DataError, PeftLabsError
from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.data.chats import chat_field
from shared.finetune.data.prompts import check_columns, placeholders, prompts_of
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.yaml_source import Source, section_of
from shared.finetune.tasks import TASKS, seq_cls, token_cls
from shared.finetune.validation.local_inputs import AtHand

NAME, TASK = "dataset.name", "task_type"
SPLITS = ("dataset.config", "dataset.train_split", "dataset.eval_split", "dataset.test_split", "training.eval_strategy")
SAMPLE = 200  # rows whose prompts are measured


def split_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """A data set that should be on this machine and is not, or lacks a split that the run will read."""
    evaluates = hand.config.training.eval_strategy != "no"
    for split in ("train", "eval", "test") if evaluates else ("train", "test"):
        try:
            hand.rows(split)
        except PeftLabsError as error:
            message = error.message
            name = getattr(hand.config.dataset, f"{split}_split")
            key = next((key for word, key in PLACES if word in message), None)
            key = key or (f"{split}_split" if _names_split(message, name) else "name")
            yield source.problem(("dataset", key), message, error.fix, getattr(hand.config.dataset, key))
            if key != f"{split}_split":
                return  # the other splits would say the same


def _names_split(message: str, spec: str) -> bool:
    """Whether a message is about a split, or about one of those that a part is taken of."""
    return any(repr(name) in message for name in (spec, *re.findall(r"[^\s+\[\]]+(?=\[|\+|$)", spec)))


PLACES = (("unknown difficulty", "config"), ("unknown task", "name"), ("there is no file", "name"))


def column_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """Columns that the configuration names, or its task needs, and the rows lack."""
    columns = _columns(hand)
    if columns is None:
        return
    task, data = hand.config.task_type, hand.config.dataset
    for name in data.max_words:
        yield from _lacks(source, ("dataset", "max_words", name), name, columns, data.name)
    if task in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        yield from _prompt_columns(hand, source, columns)
    elif task == "QUESTION_ANS":
        for name in ("question", "context", "answers"):
            if name not in columns:
                why, fix = f"{data.name} has no column {name!r}; it has {', '.join(columns)}", "rename its column"
                yield source.problem(("dataset", "name"), why, fix)
    else:
        for number, name in enumerate(data.text_columns or ()):
            yield from _lacks(source, ("dataset", "text_columns", number), name, columns, data.name)
        if data.label_column:
            yield from _lacks(source, ("dataset", "label_column"), data.label_column, columns, data.name)


def _prompt_columns(hand: AtHand, source: Source, columns: Sequence[str]) -> Iterator[Problem]:
    data = hand.config.dataset
    if data.prompt_template:
        for name in dict.fromkeys(placeholders(data.prompt_template)):
            yield from _lacks(source, ("dataset", "prompt_template"), name, columns, data.name, f"{{{name}}}: ")
    elif data.response_marker and data.text_field not in columns and "messages" not in columns:
        key = "text_field" if source.get(("dataset", "text_field")) is not None else "response_marker"
        yield from _lacks(source, ("dataset", key), data.text_field, columns, data.name, fix="set text_field: ")
    elif data.messages_field:
        yield from _lacks(source, ("dataset", "messages_field"), data.messages_field, columns, data.name)
    elif not (set(section_of(source, "dataset")) - set(type(data).model_fields)):  # else a misspelt key was meant
        try:
            check_columns(list(columns), data)
        except DataError as error:
            yield source.problem(("dataset",), error.message, error.fix, value=None)


def _lacks(
    source: Source, path: tuple, name: str, columns: Sequence[str], where: str, shown: str = "", fix: str = ""
) -> Iterator[Problem]:
    if name not in columns:
        why = f"{shown}{where} has no column {name!r}; it has {', '.join(columns)}"
        yield source.problem(path, why, fix + did_you_mean(name, columns))


def label_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """Labels that are no classes, or columns that no one named and the task does not know."""
    task, rows = TASKS[hand.config.task_type], _rows(hand)
    if task.labels is None or rows is None:
        return
    finders = {"SEQ_CLS": (seq_cls.text_columns, "text_columns"), "TOKEN_CLS": (token_cls.word_column, "text_columns")}
    find, key = finders[task.name]
    if not hand.config.dataset.text_columns:
        yield from _told(lambda: find(rows, hand.config), ("dataset", key), source)
    yield from _told(lambda: task.labels(hand.config), ("dataset", "label_column"), source)


def hidden_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """Test rows whose labels are hidden (-1) or none of the training rows' classes."""
    config, task = hand.config, TASKS[hand.config.task_type]
    try:
        rows = hand.rows("test") if task.references else None
        names = task.labels(config) if rows is not None else []
    except PeftLabsError:
        return  # told by split_problems or label_problems
    if rows is not None:
        yield from _told(lambda: task.references(rows, config, names), ("dataset", "test_split"), source)


def _told(call: Any, path: tuple, source: Source) -> Iterator[Problem]:
    try:
        call()
    except DataError as error:
        yield source.problem(path, error.message, error.fix)


def reference_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """What programs' tests and numbers need and the rows lack."""
    from shared.finetune.metrics.answers import tests_of

    config = hand.config
    if config.evaluation.metric != "pass_at_1":
        return
    try:
        rows = hand.rows("test")
    except PeftLabsError:
        return
    if rows is not None:
        yield from _told(lambda: tests_of(rows, config), ("evaluation", "tests_field"), source)


def prompt_problems(hand: AtHand, source: Source) -> Iterator[Problem]:
    """Prompts that leave no room for the response: more than half of them is a problem of the configuration."""
    found = long_prompts(hand)
    if found and 2 * found[0] > found[1]:
        longest = hand.config.sft.max_length
        key = "max_seq_length" if source.get(("sft", "max_seq_length")) is not None else "max_length"
        why = f"{found[0]} of {found[1]} prompts have {longest} tokens or more: the response is cut off"
        fix = f"write {key}: {2 ** (found[2]).bit_length()} or so (the longest prompt has {found[2]} tokens), or set"
        yield source.problem(("sft", key), why, f"{fix} dataset.max_words")


def long_prompts(hand: AtHand) -> tuple[int, int, int] | None:
    """How many of the first training rows' prompts fill the whole length.

    Returns:
        Their number, the number of rows looked at, the longest prompt [tokens]; None where that can't be known.
    """
    config, rows = hand.config, _rows(hand)
    longest = config.sft.max_length
    if config.task_type != "CAUSAL_LM" or rows is None or longest is None or chat_field(config.dataset):
        return None
    if hand.tokenizer is None or not longest:
        return None
    rows = rows.select(range(min(SAMPLE, len(rows))))
    try:
        sizes = [len(ids) for ids in hand.tokenizer(prompts_of(rows, config.dataset))["input_ids"]]
    except (DataError, KeyError):
        return None  # told by column_problems
    return sum(size >= longest for size in sizes), len(sizes), max(sizes)


def _rows(hand: AtHand) -> Any:
    try:
        return hand.rows("train")
    except PeftLabsError:
        return None  # told by split_problems


def _columns(hand: AtHand) -> list[str] | None:
    rows = _rows(hand)
    return None if rows is None else rows.column_names


TEMPLATE = ("dataset.prompt_template", "dataset.response_marker", "dataset.text_field", "dataset.messages_field")
CHECKS = (
    ((NAME, *SPLITS), split_problems),
    ((NAME, TASK, *SPLITS, *TEMPLATE, "dataset.max_words", "dataset.text_columns"), column_problems),
    ((NAME, TASK, *SPLITS, "dataset.label_column", "dataset.text_columns"), label_problems),
    ((NAME, TASK, *SPLITS, "dataset.label_column", "dataset.text_columns"), hidden_problems),
    ((NAME, TASK, *SPLITS, "evaluation"), reference_problems),
    ((NAME, TASK, *SPLITS, *TEMPLATE, "dataset.response_field", "dataset.max_words", "sft.max_length",
      "model.name_or_path"), prompt_problems),
)  # fmt: skip
