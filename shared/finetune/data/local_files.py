"""Rows of a local file (JSON lines, JSON, CSV, TSV, Parquet); what can't be read is named by file, row and column."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.common.processes import say
from shared.finetune.data.text_files import AS_UTF8, SPOKEN, csv_records, delimiter_of, read_text

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
ONE_KIND = "write the column in one way in all rows; a number among texts goes into quotes"
# What programs write for a missing number; in a column of texts these are texts
GAPS = ("", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None")


def read_file(path: Path, texts: Sequence[str] = ()) -> Dataset:
    """The rows of a file.

    Args:
        path: The file.
        texts: The columns that are texts: they are taken as they are written. Another column of a CSV file of which
            every value is a number (or true or false) is read as such.

    Raises:
        DataError: Naming the file, the row and what was found.
    """
    about = path.stat()
    return _read(path, tuple(texts), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=3)  # a folder's splits: the checks and the run read each file once
def _read(path: Path, texts: tuple[str, ...], *version: int) -> Dataset:
    if path.suffix == ".parquet":
        return _parquet(path)
    return _csv(path, texts) if path.suffix in (".csv", ".tsv") else _json(path, texts)


def shown(value: Any, limit: int = 40) -> str:
    """A value for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    words = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return words.get(type(value), type(value).__name__)


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(path: Path, texts: Sequence[str]) -> Dataset:
    text = read_text(path)
    whole = _whole_json(path, text) if path.suffix == ".json" else None
    numbered = list(enumerate(whole, 1)) if whole is not None else json_lines(path, text)
    word = "row" if whole is not None else "line"
    for number, row in numbered:
        if not isinstance(row, dict):
            found = f"{path}, {word} {number}: {kind_of(row)} ({shown(row)}) instead of an object"
            raise DataError(found, fix='write {"column": "value", …}')
    return _table(path, numbered, word, texts)


def _whole_json(path: Path, text: str) -> list[Any] | None:
    """The list that a .json file holds; None where it holds lines."""
    try:
        found = _loads(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg})", fix="correct the file") from error
        return None
    if isinstance(found, dict) and len(text.strip().splitlines()) > 1:
        keys = ", ".join(map(repr, found))
        raise DataError(
            f"{path} holds one object (with {keys}) instead of a list of rows",
            fix="write [{…}, {…}], or one row a line",
        )
    return found if isinstance(found, list) else None


def json_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    """Each line's number and value; blank lines are left out.

    Raises:
        DataError: Naming the line that is not JSON.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() also splits inside of texts, at U+2028
        if not line.strip():
            continue
        try:
            rows.append((number, _loads(line)))
        except json.JSONDecodeError as error:
            found = f"{path}, line {number}: not JSON ({error})"
            raise DataError(found, fix="correct or remove the line") from error
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error.message}", fix=error.fix) from error
    return rows


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the key {twice!r} stands twice in one object", fix="rename or remove one of the two")
    return found


def _table(path: Path, numbered: list[tuple[int, dict[str, Any]]], word: str, texts: Sequence[str]) -> Dataset:
    """Rows as a table; each column has one kind of value."""
    from datasets import Dataset

    firsts: dict[str, tuple[str, int]] = {}
    for number, row in numbered:
        for name, value in row.items():
            if value is None or value != value:
                firsts.setdefault(name, ("", number))
                continue
            kind = kind_of(value)
            before, at = firsts.get(name) or ("", number)
            if before and before != kind:
                found = (
                    f"{path}, {word} {number}, column {name!r}: {kind} ({shown(value)}), but {before} in {word} {at}"
                )
                raise DataError(found, fix=ONE_KIND)
            if not before:
                firsts[name] = (kind, number)
    columns = {name: [_no_nan(row.get(name)) for _, row in numbered] for name in firsts}
    for name, values in columns.items():
        if name in texts and len({type(value) for value in values if value is not None}) > 1:
            values[:] = [
                None if value is None else str(value) for value in values
            ]  # 1 and 0.5 would become 1.0 and 0.5
        _check_nested(path, name, values, [number for number, _ in numbered], word)
    return Dataset.from_dict(columns)


def _no_nan(value: Any) -> Any:
    return None if value != value else value  # only NaN differs from itself


def _check_nested(path: Path, name: str, values: list[Any], numbers: list[int], word: str) -> None:
    """Lists and objects whose parts differ in kind, as a table can't hold them."""
    import pyarrow

    def fits(until: int) -> str:
        try:
            pyarrow.array(values[:until])
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError, OverflowError) as error:
            return str(error)
        return ""

    why, low, high = fits(len(values)), 0, len(values)
    if not why:
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    found = f"{path}, {word} {numbers[low]}, column {name!r}: {shown(values[low])} does not fit the rows before: {why}"
    raise DataError(found, fix=ONE_KIND)


# -- CSV --------------------------------------------------------------------------------------------------------------


def _csv(path: Path, texts: Sequence[str]) -> Dataset:
    from datasets import Dataset

    header, records = csv_records(path)
    rows = []
    for record in records:
        if record.values is None:
            fix = AS_UTF8 if record.error == "not UTF-8" else "a field that holds the delimiter or a quote is quoted"
            raise DataError(f"{path}, line {record.line}: {record.error}", fix=fix)
        rows.append(record.values)
    if not rows:
        raise DataError(f"{path} has a header and no rows", fix="check the file")
    if (delimiter := delimiter_of(path)) != ("\t" if path.suffix == ".tsv" else ","):
        say(f"{path}: the columns are separated by {SPOKEN[delimiter]}")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    return Dataset.from_dict(
        {name: [one or None for one in v] if name in texts else _typed(v) for name, v in columns.items()}
    )


WHOLE, TRUTH = re.compile(r"[+-]?(0|[1-9]\d{0,17})"), {"true": True, "false": False}


def _typed(values: list[str]) -> list[Any]:
    """Numbers and truth values where all values of a column are such; empty fields are gaps."""
    given = {value for value in values if value not in GAPS}
    kind: Callable[[str], Any] = str
    if given and all(WHOLE.fullmatch(value) for value in given):
        kind = int
    elif given and all(_is_number(value) for value in given):
        kind = float
    elif given and all(value.lower() in TRUTH for value in given):
        return [TRUTH.get(value.lower()) for value in values]
    gaps = GAPS if kind is not str else ("",)
    return [None if value in gaps else kind(value) for value in values]


def _is_number(value: str) -> bool:
    try:
        # a leading zero is part of a name: 007 is no 7
        return math.isfinite(float(value)) and not re.match(r"[+-]?0\d", value) and "_" not in value
    except ValueError:
        return False


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Dataset:
    import pyarrow
    import pyarrow.parquet
    from datasets import load_dataset

    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", fix="check the file: it has no rows")
    try:
        names = pyarrow.parquet.read_schema(path).names
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} can't be read: {error}", fix="write the file again; it is cut off or not Parquet"
        ) from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the column name {twice!r} stands twice", fix="rename one of the columns")
    try:
        return load_dataset("parquet", data_files=str(path), split="train")
    except Exception as error:  # datasets wraps the reader's errors in several classes
        raise DataError(f"{path} can't be read: {error.__cause__ or error}", fix="write the file again") from error
