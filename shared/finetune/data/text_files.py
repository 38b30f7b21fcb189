"""Text files as other programs write them: byte order marks, UTF-16, delimiters, and CSV records with their lines."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from shared.errors import DataError

DELIMITERS = (",", "\t", ";", "|")
SPOKEN = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a vertical bar"}
SAMPLE = 20  # records that have to fit a delimiter
AS_UTF8 = "save the file as UTF-8 (spreadsheets call it 'CSV UTF-8'), or convert it: iconv -f latin1 -t utf-8"


def encoding_of(path: Path) -> str:
    """The encoding that a file's byte order mark names; UTF-8 without one.

    Raises:
        DataError: If the file is empty, or is UTF-16 without a mark.
    """
    with path.open("rb") as opened:
        start = opened.read(1000)
    if not start.strip():
        raise DataError(f"{path} is empty", fix="check the file: it has no rows")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start:
        raise DataError(f"{path} holds zero bytes: it is UTF-16 without a byte order mark, or no text", fix=AS_UTF8)
    return "utf-8-sig"


def open_text(path: Path, newline: str = "") -> IO[str]:
    """A text file, opened in its encoding; bytes that are not UTF-8 become lone surrogates (:func:`is_damaged`)."""
    encoding = encoding_of(path)
    return path.open(
        encoding=encoding, errors="replace" if encoding == "utf-16" else "surrogateescape", newline=newline
    )


def is_damaged(text: str) -> bool:
    """Whether bytes of another encoding are in a text that :func:`open_text` read."""
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def read_text(path: Path) -> str:
    """The whole text of a file; line ends are ``\\n``.

    Raises:
        DataError: If it is empty or in another encoding; with the line.
    """
    encoding, raw = encoding_of(path), path.read_bytes()
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not {encoding.removesuffix('-sig').upper()} (byte 0x{raw[error.start]:02x})",
            fix=AS_UTF8,
        ) from error
    return text.replace("\r\n", "\n")


@dataclass(frozen=True)
class Record:
    """One record of a CSV file.

    Attributes:
        line: The line of the file that it begins in, from 1.
        values: Its fields; None where the record can't be read.
        error: Why it can't be read.
    """

    line: int
    values: list[str] | None = None
    error: str = ""


def csv_records(path: Path) -> tuple[list[str], Iterator[Record]]:
    """The header of a CSV or TSV file and its records, read as they are asked for.

    Args:
        path: The file. Its delimiter is found from its first records: a comma, tab, semicolon or vertical bar.

    Raises:
        DataError: If it is empty, or a column name stands twice.
    """
    records = _records(path, delimiter_of(path))
    first = next(records, None)
    if first is None or first.values is None:
        why = first.error if first else "no header"
        raise DataError(f"{path}, line 1: {why}", fix="write the column names into the first line")
    # a table's index, which pandas writes without a name; it also reads it by this one
    header = [name or f"Unnamed: {number}" for number, name in enumerate(first.values)]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: the column name {twice!r} stands twice", fix="rename one of the columns")
    return header, (_of_width(one, len(header)) for one in records)


def delimiter_of(path: Path) -> str:
    """What separates the columns of a CSV file: several of them, in all of the first records."""

    def fit(delimiter: str) -> tuple[bool, bool, int]:
        widths = [len(record.values or ()) for record in islice(_records(path, delimiter), SAMPLE)]
        columns = widths[0] if widths else 0
        return columns > 1, len(set(widths)) == 1, columns

    return max(DELIMITERS, key=fit)  # the first of equals


def _records(path: Path, delimiter: str) -> Iterator[Record]:
    with open_text(path) as opened:
        reader = csv.reader(opened, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(line, error=f"not CSV: {error}")
                continue
            if any(map(is_damaged, values)):
                yield Record(line, error="not UTF-8")
            elif values:
                yield Record(line, values)


def _of_width(record: Record, width: int) -> Record:
    if record.values is not None and len(record.values) != width:
        return Record(record.line, error=f"{len(record.values)} columns instead of {width}")
    return record
