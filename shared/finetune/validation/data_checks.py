"""Problems that only the rows show: splits and columns that the data set lacks, responses that are cut off entirely."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import DataError, HardwareError, PeftLabsError
from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.data.chats import chat_field
from shared.finetune.data.lengths import ResponseLengths, check_lengths, response_lengths
from shared.finetune.data.prompts import check_columns, placeholders, response_of, to_prompt_completion
from shared.finetune.metrics.answers import references_for
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.yaml_source import Source, section_of
from shared.finetune.tasks import TASKS, seq_cls, token_cls
from shared.finetune.validation.local_inputs import LocalInputs

NAME, TASK = "dataset.name", "task_type"
SPLITS = ("dataset.config", "dataset.train_split", "dataset.eval_split", "dataset.test_split", "training.eval_strategy")
SAMPLE = 5000  # rows that are measured: half a second


def split_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """A data set that should be on this machine and is not, or lacks a split that the run will read."""
    for split in local.splits:
        try:
            local.rows(split)
        except PeftLabsError as error:
            message = error.message
            name = getattr(local.config.dataset, f"{split}_split")
            key = next((key for word, key in PLACES if word in message), None)
            key = key or (f"{split}_split" if _names_split(message, name) else "name")
            yield source.problem(("dataset", key), message, error.fix, getattr(local.config.dataset, key))
            if key != f"{split}_split":
                return  # the other splits would say the same


def _names_split(message: str, spec: str) -> bool:
    """Whether a message is about a split, or about one of those that a part is taken of."""
    return any(repr(name) in message for name in (spec, *re.findall(r"[^\s+\[\]]+(?=\[|\+|$)", spec)))


PLACES = (("unknown difficulty", "config"), ("unknown task", "name"), ("there is no file", "name"))


def column_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Columns that the configuration names, or its task needs, and the rows lack."""
    columns = _columns(local)
    if columns is None:
        return
    task, data = local.config.task_type, local.config.dataset
    for name in data.max_words:
        yield from _lacks(source, ("dataset", "max_words", name), name, columns, data.name)
    if task in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        yield from _prompt_columns(local, source, columns)
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


def _prompt_columns(local: LocalInputs, source: Source, columns: Sequence[str]) -> Iterator[Problem]:
    data = local.config.dataset
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


def label_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Labels that are no classes, or columns that no one named and the task does not know."""
    task, rows = TASKS[local.config.task_type], _rows(local)
    if task.labels is None or rows is None:
        return
    finders = {"SEQ_CLS": (seq_cls.text_columns, "text_columns"), "TOKEN_CLS": (token_cls.word_column, "text_columns")}
    find, key = finders[task.name]
    if not local.config.dataset.text_columns:
        yield from _told(lambda: find(rows, local.config), ("dataset", key), source)
    yield from _told(lambda: task.labels(local.config), ("dataset", "label_column"), source)


def hidden_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Test rows whose labels are hidden (-1) or none of the training rows' classes."""
    config, task = local.config, TASKS[local.config.task_type]
    try:
        rows = local.rows(local.scored) if task.references and local.scored else None
        names = task.labels(config) if rows is not None else []
    except PeftLabsError:
        return  # reported by split_problems or label_problems
    if rows is not None:
        yield from _told(lambda: task.references(rows, config, names), ("dataset", f"{local.scored}_split"), source)


def _told(call: Any, path: tuple, source: Source, value: Any = ...) -> Iterator[Problem]:
    try:
        call()
    except (DataError, HardwareError) as error:
        yield source.problem(path, error.message, error.fix, value)


def reference_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """What scoring needs and the rows lack: reference answers, programs' tests, numbers."""
    config = local.config
    try:
        rows = local.rows(local.scored) if local.scored and config.task_type == "CAUSAL_LM" else None
    except PeftLabsError:
        return  # reported by split_problems
    if rows is None:
        return
    number = config.evaluation.rows
    rows = rows if number is None else rows.select(range(min(number, len(rows))))
    try:
        answers = [response_of(row, config.dataset) for row in rows]
    except DataError as error:
        yield source.problem(("dataset",), error.message, error.fix, value=None)
        return
    key = "tests_field" if config.evaluation.metric == "pass_at_1" else "metric"
    yield from _told(lambda: references_for(rows, answers, config), ("evaluation", key), source)


def pair_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Rows that can't be made prompts and responses, and a longest sequence that leaves nothing of any response."""
    yield from _told(lambda: lengths(local), ("dataset",), source, value=None)
    found = _lengths(local)
    if found is None:
        return
    try:
        check_lengths(found, local.config.sft)
    except DataError as error:
        key = length_key(source)
        why = error.message.removeprefix("sft.max_length: ")
        yield source.problem(("sft", key), why, found.fix(key))


def length_key(source: Source) -> str:
    """How the file calls the longest sequence."""
    return "max_seq_length" if source.get(("sft", "max_seq_length")) is not None else "max_length"


def lengths(local: LocalInputs) -> ResponseLengths | None:
    """How much of the responses is cut off; of the first :data:`SAMPLE` rows, unless none is left of these.

    Returns:
        None where that can't be known.

    Raises:
        DataError: If a row can't be made a prompt and a response.
    """
    config, rows = local.config, _rows(local) if local.trains else None
    if config.task_type != "CAUSAL_LM" or rows is None or (chat_field(config.dataset) and local.tokenizer is None):
        return None
    for number in (SAMPLE, len(rows)):
        some = rows.select(range(min(number, len(rows))))
        pairs = to_prompt_completion(some, config.dataset, local.tokenizer, config.dataset.train_on == "all")
        if local.tokenizer is None:
            return None
        found = response_lengths(pairs, local.tokenizer, config.sft)
        if found.lost < found.rows:
            break
    return found


def _lengths(local: LocalInputs) -> ResponseLengths | None:
    try:
        return lengths(local)
    except DataError:
        return None  # reported by pair_problems


def _rows(local: LocalInputs) -> Any:
    """The rows that show the columns: those to train on, else those to score; None where there are none."""
    try:
        return local.rows(local.splits[0]) if local.splits else None
    except PeftLabsError:
        return None  # reported by split_problems


def _columns(local: LocalInputs) -> list[str] | None:
    rows = _rows(local)
    return None if rows is None else rows.column_names


TEMPLATE = ("dataset.prompt_template", "dataset.response_marker", "dataset.text_field", "dataset.messages_field")
CHECKS = (
    ((NAME, *SPLITS), split_problems),
    ((NAME, TASK, *SPLITS, *TEMPLATE, "dataset.max_words", "dataset.text_columns"), column_problems),
    ((NAME, TASK, *SPLITS, "dataset.label_column", "dataset.text_columns"), label_problems),
    ((NAME, TASK, *SPLITS, "dataset.label_column", "dataset.text_columns"), hidden_problems),
    ((NAME, TASK, *SPLITS, *TEMPLATE, "dataset.response_field", "evaluation"), reference_problems),
    ((NAME, TASK, *SPLITS, *TEMPLATE, "dataset.response_field", "dataset.max_words", "sft.max_length",
      "model.name_or_path"), pair_problems),
)  # fmt: skip
