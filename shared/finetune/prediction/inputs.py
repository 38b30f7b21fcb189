"""A file of inputs, read row by row: each row becomes a prompt, the columns of a task, or an error."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.data import prompt_of, prompt_of_text
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from shared.finetune.config import Config

SUFFIXES = (".txt", ".csv", ".jsonl")


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
    """The inputs of a file, one per line (.txt), row (.csv, with a header) or object (.jsonl).

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
    rows = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}[file.suffix](file)
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
    with file.open("rb") as opened:
        for number, raw in enumerate(opened, 1):
            raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if not raw.strip():
                continue
            try:
                yield number, raw.decode("utf-8").rstrip("\r\n"), None
            except UnicodeDecodeError as error:
                yield number, None, f"not UTF-8 ({error.reason} at byte {error.start})"


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
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        header = next(reader, [])
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, None, f"not CSV: {error}"
                continue
            if not values:
                continue
            if len(values) != len(header):
                yield line, None, f"{len(values)} columns instead of {len(header)}"
            elif any("\udc80" <= char <= "\udcff" for value in values for char in value):
                yield line, None, "not UTF-8"
            else:
                yield line, dict(zip(header, values, strict=True)), None
