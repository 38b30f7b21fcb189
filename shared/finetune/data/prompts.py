"""Rows from the Hub, from local files, from the generated tasks or from the cache; and rows as prompt and completion.

A chat's messages are rendered in :mod:`shared.finetune.data.chats`.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.data.chats import chat_field, chat_pairs, chat_prompt, last_answer, messages_of, plain
from shared.finetune.data.values import REMOVE, check_text, is_missing, row_numbers
from shared.finetune.schema.sections import DatasetSection

if TYPE_CHECKING:
    from datasets import Dataset


def to_prompt_completion(
    rows: Dataset, dataset: DatasetSection, tokenizer: Any = None, every_turn: bool = False
) -> Dataset:
    """Rows as ``prompt`` and ``completion``, the form in which SFTTrainer puts the loss on the completion only.

    TRL appends the tokenizer's end-of-text token to each completion, so the model learns to stop.

    Args:
        rows: Rows as :func:`load_rows` gives them.
        dataset: The ``dataset:`` section.
        tokenizer: The tokenizer, whose chat template renders a column of messages; other rows don't need it.
        every_turn: Whether each of a chat's answers is an example, instead of the last.

    Returns:
        A data set with the two text columns ``prompt`` and ``completion``.

    Raises:
        DataError: If a column that the template names is not there, or a row can't be split.
    """
    check_columns(rows.column_names, dataset)
    pairs = [
        pair
        for number, row in zip(row_numbers(rows), rows, strict=True)
        for pair in _pairs(row, dataset, number, tokenizer, every_turn)
    ]
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [p for p, _ in pairs], "completion": [c for _, c in pairs]})


def split_row(row: Mapping[str, Any], dataset: DatasetSection, tokenizer: Any = None) -> tuple[str, str]:
    """One row as (prompt, completion); see :func:`to_prompt_completion`."""
    check_columns(list(row), dataset)
    return _pairs(row, dataset, None, tokenizer)[-1]


def prompt_of(row: Mapping[str, Any], dataset: DatasetSection, tokenizer: Any = None) -> str:
    """The prompt of a row that may lack the response, as inference gets them.

    Args:
        row: The input's columns. A row with only ``text`` goes through ``input_template`` where that is set.
        dataset: The ``dataset:`` section.
        tokenizer: As in :func:`to_prompt_completion`.

    Raises:
        DataError: If a column that the prompt needs is missing.
    """
    if set(row) == {"text"}:
        return prompt_of_text(str(row["text"]), dataset, tokenizer)
    if field := chat_field(dataset):
        _check_names([field], list(row), "the input")
        return chat_prompt(messages_of(row, dataset, "the input"), tokenizer, "the input")
    if dataset.prompt_template:
        before, _ = around_response(dataset)
        _check_names(placeholders(before), list(row), "the input")
        return before.format_map(_cut(row, dataset))
    if dataset.text_field in row:
        return prompt_of_text(str(row[dataset.text_field]), dataset)
    raise DataError(
        f"the input has no column {dataset.text_field!r}; it has {', '.join(map(str, row))}",
        fix=f"name the column {dataset.text_field!r}",
    )


def prompt_columns(dataset: DatasetSection) -> list[str]:
    """The columns that a prompt is made of."""
    if dataset.prompt_template:
        return placeholders(around_response(dataset)[0])
    return [chat_field(dataset) or dataset.text_field]


def prompt_of_text(text: str, dataset: DatasetSection, tokenizer: Any = None) -> str:
    """A bare text as a prompt: through ``input_template``, into the template's only placeholder, or as a user's message
    of a chat (of which ``input_template`` then makes the content)."""
    if chat_field(dataset):
        content = (dataset.input_template or "{text}").replace("{text}", text)
        return chat_prompt([{"role": "user", "content": content}], tokenizer, "the input")
    marker = dataset.response_marker
    if marker and marker in text:
        return text[: text.rindex(marker) + len(marker)]
    if dataset.input_template:
        return dataset.input_template.replace("{text}", text)
    if marker:
        raise DataError(
            f"the input does not hold the response marker {marker!r}",
            fix=f'end it with the marker, or set dataset.input_template, for example "### Human: {{text}}{marker}"',
        )
    before, _ = around_response(dataset)
    names = list(dict.fromkeys(placeholders(before)))
    if len(names) == 1:
        return before.format_map(_cut({names[0]: text}, dataset))
    raise DataError(
        f"the prompt needs the columns {', '.join(names)}, the input is one text",
        fix="give a jsonl or csv file with these columns, or set dataset.input_template",
    )


def response_of(row: Mapping[str, Any], dataset: DatasetSection) -> str:
    """The reference answer of a row, stripped."""
    check_columns(list(row), dataset)
    if chat_field(dataset):
        return last_answer(messages_of(row, dataset, dataset.name), dataset.name).strip()
    return split_row(row, dataset)[1].strip()


def reference_of(completion: str, dataset: DatasetSection, tokenizer: Any) -> str:
    """A completion as a generated answer would look if it were right."""
    return plain(completion, tokenizer) if chat_field(dataset) else completion.strip()


def placeholders(template: str) -> list[str]:
    """The column names in a template's {placeholders}, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def around_response(dataset: DatasetSection) -> tuple[str, str]:
    """The template before the response's placeholder, and from it on.

    Spaces before the placeholder belong to the response: tokenizers merge a space and the following word, so
    a prompt that ended with the blank would be split otherwise in training than in use. A final line break, as YAML's
    ``|`` leaves one, is dropped.
    """
    template = (dataset.prompt_template or "").removesuffix("\n")
    mark = "{" + (dataset.response_field or placeholders(template)[-1])
    start = template.rindex(mark)
    before = template[:start].rstrip(" \t")
    return before, template[len(before) :]


def check_columns(columns: list[str], dataset: DatasetSection) -> None:
    """Refuse rows that lack what the prompts are made of.

    Args:
        columns: The names of the rows' columns.
        dataset: The ``dataset:`` section.

    Raises:
        DataError: Naming the columns that are there.
    """
    field, shown = chat_field(dataset), ", ".join(columns)
    if field and not dataset.messages_field and field not in columns:
        raise DataError(
            f"{dataset.name}: what is the prompt? There is neither dataset.prompt_template nor response_marker, nor a "
            f"column {field!r} with chats; the columns are {shown}",
            fix='add prompt_template: "Question: {question}\nAnswer: {answer}" with your columns, or messages_field',
        )
    if dataset.response_marker and dataset.text_field not in columns and "messages" in columns:
        raise DataError(
            f"{dataset.name}: dataset.response_marker splits a text, but the columns are {shown}",
            fix="remove response_marker: the chat messages then go through the tokenizer's chat template",
        )
    if field and dataset.max_words:
        raise DataError(f"{dataset.name}: dataset.max_words does not cut messages", fix="remove it; set sft.max_length")
    needed = [field] if field else placeholders(dataset.prompt_template or f"{{{dataset.text_field}}}")
    _check_names([*needed, *dataset.max_words], columns, dataset.name)


def _check_names(needed: list[str], columns: list[str], where: str) -> None:
    for name in needed:
        if name not in columns:
            found = f"{where}: there is no column {name!r}; the columns are {', '.join(columns)}"
            raise DataError(found, fix=f"rename the column or the placeholder: {did_you_mean(name, columns)}")


def cut_words(text: Any, column: str, dataset: DatasetSection, row: int | None = None) -> str:
    """A column's text, cut after its ``max_words``; nothing for a gap. ``row`` is its row's number, for messages."""
    check_text(text, f"{dataset.name}, row {row}" if row else dataset.name, column)
    text = "" if is_missing(text) else str(text)
    words = dataset.max_words.get(column)
    return text if words is None else " ".join(text.split()[:words])


def prompts_of(rows: Dataset, dataset: DatasetSection) -> list[str]:
    """The rows' prompts; see :func:`prompt_of`."""
    return [prompt_of(row, dataset) for row in rows]


def text_columns_of(dataset: DatasetSection) -> list[str]:
    """The columns whose values are used in a prompt or a response."""
    if dataset.prompt_template:
        return list(dict.fromkeys(placeholders(dataset.prompt_template)))
    return [dataset.text_field] if dataset.response_marker else []


def response_column(dataset: DatasetSection) -> str | None:
    """The column that holds the response; None where a marker or a chat does."""
    if not dataset.prompt_template:
        return None
    return dataset.response_field or placeholders(dataset.prompt_template)[-1]


def check_responses(rows: Dataset, dataset: DatasetSection, name: str) -> None:
    """Refuse rows without a response, and cells that have no text, whichever part of the data they will be in.

    Args:
        rows: All rows of a file.
        dataset: The ``dataset:`` section.
        name: The file, for the message.

    Raises:
        DataError: Naming the row and the column.
    """
    response = response_column(dataset)
    for column in text_columns_of(dataset):
        for number, value in enumerate(rows[column] if column in rows.column_names else (), 1):
            if not isinstance(value, str):
                check_text(value, f"{name}, row {number}", column)
            if column == response and (is_missing(value) or not str(value).strip()):
                raise DataError(f"{name}, row {number}, column {column!r}: the response is empty", fix=REMOVE)


def _cut(row: Mapping[str, Any], dataset: DatasetSection, where: str = "the input") -> dict[str, Any]:
    """The row with over-long columns cut after ``max_words`` words."""
    for name in text_columns_of(dataset):
        check_text(row.get(name), where, name)
    cut = {key: "" if is_missing(value) else value for key, value in row.items()}
    for name, words in dataset.max_words.items():
        if name in cut:
            cut[name] = " ".join(str(cut[name]).split()[:words])
    return cut


def _pairs(
    row: Mapping[str, Any], dataset: DatasetSection, number: int | None, tokenizer: Any, every_turn: bool = False
) -> list[tuple[str, str]]:
    where = f"{dataset.name}, row {number}" if number else dataset.name
    if chat_field(dataset):
        return chat_pairs(messages_of(row, dataset, where), tokenizer, where, every_turn)
    return [_pair(row, dataset, where)]


def _pair(row: Mapping[str, Any], dataset: DatasetSection, where: str) -> tuple[str, str]:
    if dataset.prompt_template:
        before, after = around_response(dataset)
        cut = _cut(row, dataset, where)
        if not str(cut.get(response_column(dataset), "")).strip():
            raise DataError(f"{where}, column {response_column(dataset)!r}: the response is empty", fix=REMOVE)
        prompt, completion = before.format_map(cut), after.format_map(cut)
    else:
        text, marker = str(row[dataset.text_field]), dataset.response_marker or ""
        at = text.rfind(marker)
        if at < 0:
            raise DataError(
                f"{where}: it does not contain the response marker {marker!r}",
                fix="set dataset.response_marker to the text that stands before each answer",
            )
        prompt, completion = text[: at + len(marker)], text[at + len(marker) :]
    if not completion.strip():
        raise DataError(f"{where}: the response is empty", fix=REMOVE)
    return prompt, completion
