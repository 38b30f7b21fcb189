"""A file of inputs, read row by row: each row becomes a prompt, the columns of a task, or an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.data import prompt_of, prompt_of_text
from shared.finetune.data.text_files import csv_records, is_damaged, open_text
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from shared.finetune.config import Config

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        line: Its line in the file, from 1.
        row: Its columns; None for an invalid row.
        prompt: The prompt made of it, for CAUSAL_LM.
        needed: The columns that the task predicts from, for the other tasks.
        error: What is wrong with an invalid row.
    """

    line: int
    row: dict[str, Any] | None = None
    prompt: str | None = None
    needed: dict[str, Any] | None = None
    error: str | None = None


def read_inputs(file: Path, config: Config, tokenizer: Any = None) -> Iterator[Item]:
    """The inputs of a file, one per line (.txt), row (.csv or .tsv, with a header) or object (.jsonl).

    They are read lazily, so that a file may be larger than the memory.

    Args:
        file: The file.
        config: The configuration: its task, and for CAUSAL_LM the template that turns a row into a prompt.
        tokenizer: For chats: the tokenizer whose template renders them.

    Returns:
        One item per input in the file's order; invalid rows have an ``error``.

    Raises:
        DataError: If the file is missing or has an unknown suffix.
    """
    if file.suffix not in SUFFIXES:
        raise DataError(f"{file}: input files are {', '.join(SUFFIXES)}", fix="convert the file")
    if not file.is_file():
        raise DataError(f"there is no file {file}", fix="check --input_file")
    rows = {".txt": _txt, ".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl}[file.suffix](file)
    return (_item(line, row, error, config, tokenizer) for line, row, error in rows)


def text_item(text: str, config: Config, tokenizer: Any = None) -> Item:
    """One text as an input.

    Raises:
        DataError: If the task or the template needs more than one text.
    """
    row = {"text": text}
    if config.task_type == "CAUSAL_LM":
        return Item(1, row, prompt=prompt_of_text(text, config.dataset, tokenizer))
    return Item(1, row, needed=TASKS[config.task_type].input_row(row, config))


Row = tuple[int, dict[str, Any] | None, str | None]


def _item(line: int, row: dict[str, Any] | None, error: str | None, config: Config, tokenizer: Any) -> Item:
    if row is None:
        return Item(line, error=error)
    try:
        if config.task_type == "CAUSAL_LM":
            return Item(line, row, prompt=prompt_of(row, config.dataset, tokenizer))
        return Item(line, row, needed=TASKS[config.task_type].input_row(row, config))
    except DataError as problem:
        return Item(line, error=f"{problem.message} ({problem.fix})")


def _lines(file: Path) -> Iterator[tuple[int, str | None, str | None]]:
    """Each line with its number, or an error if it is not UTF-8; blank lines are skipped."""
    with open_text(file, newline="\n") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            if is_damaged(line):
                yield number, None, "not UTF-8"
            else:
                yield number, line.rstrip("\r\n"), None


def _txt(file: Path) -> Iterator[Row]:
    for number, text, error in _lines(file):
        yield number, None if text is None else {"text": text}, error


def _jsonl(file: Path) -> Iterator[Row]:
    for number, text, error in _lines(file):
        if text is None:
            yield number, None, error
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as problem:
            yield number, None, f"not JSON: {problem}"
            continue
        if isinstance(row, str):
            row = {"text": row}
        yield (number, row, None) if isinstance(row, dict) else (number, None, "not a JSON object")


def _csv(file: Path) -> Iterator[Row]:
    header, records = csv_records(file)
    for record in records:
        row = None if record.values is None else dict(zip(header, record.values, strict=True))
        yield record.line, row, record.error or None
