"""Tables for notebooks: rows or a pandas frame in, HTML with left-aligned text out, and plain text for terminals.

A pandas ``Styler`` would leave its memory address in the notebook as its text form; :func:`table` leaves the table.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows as HTML and a terminal as text; make one with :func:`table`.

    Attributes:
        columns: The headings.
        rows: The cells, as they are shown.
        numeric: For each column, whether all its cells are numbers (then they are right-aligned).
        caption: What the table shows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str = ""

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        sides = [">" if number else "<" for number in self.numeric]
        lines = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
            for row in (self.columns, *self.rows)
        ]
        return "\n".join([self.caption, *lines] if self.caption else lines)

    def _repr_html_(self) -> str:
        styles = [f"text-align:{'right' if number else 'left'};vertical-align:top" for number in self.numeric]
        heads = _cells("th", ' scope="col"', self.columns, styles)
        body = "".join(f"<tr>{_cells('td', '', row, styles)}</tr>" for row in self.rows)
        caption = f'<caption style="text-align:left">{html.escape(self.caption)}</caption>' if self.caption else ""
        return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, scope: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    pairs = zip(cells, styles, strict=True)
    return "".join(f'<{tag}{scope} style="{style}">{html.escape(cell)}</{tag}>' for cell, style in pairs)


def table(
    rows: Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]] | Any,
    columns: Sequence[str] = (),
    caption: str = "",
    form: str | Mapping[str, str] = "",
    longest: int = 400,
) -> Table:
    """Make a table.

    Args:
        rows: Mappings (their keys are the columns, in order of first use), sequences of cells, or a pandas frame,
            whose index becomes the first columns unless it only counts the rows.
        columns: The headings; default: the keys of the mappings or the columns of the frame.
        caption: What the table shows, above it.
        form: How numbers are written: one form for all floating point numbers, or column -> form for all numbers of
            that column. Default: four digits, large numbers and integers with thousands separators. None and NaN
            are empty cells.
        longest: Longer texts are cut in the middle [characters].

    Raises:
        ValueError: If a row of cells has not as many cells as there are columns, or ``form`` names no column.
    """
    if hasattr(rows, "reset_index"):  # a pandas frame, without importing pandas here
        rows = _frame_rows(rows)
    if rows and isinstance(rows[0], Mapping):
        columns = tuple(columns) or tuple(dict.fromkeys(key for row in rows for key in row))
        rows = [[row.get(key) for key in columns] for row in rows]
    columns = tuple(str(column) for column in columns)
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"table: every row needs {len(columns)} cells ({', '.join(columns)})")
    if not isinstance(form, str) and (unknown := form.keys() - set(columns)):
        raise ValueError(f"table: form names no column: {', '.join(map(str, unknown))}; there are {', '.join(columns)}")
    numeric = tuple(bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns)))
    texts = tuple(
        tuple(_text(cell, _form(form, column, cell), longest) for column, cell in zip(columns, row, strict=True))
        for row in rows
    )
    return Table(columns, texts, numeric, caption)


def _frame_rows(frame: Any) -> list[dict[str, Any]]:
    """A pandas frame as mappings; an index that only counts (0, 1, 2 …) is left out."""
    counts = frame.index.name is None and list(frame.index) == list(range(len(frame)))
    if not counts:
        names = [name if name is not None else "" for name in frame.index.names]
        frame = frame.reset_index(names=names)
    return [dict(zip(map(str, frame.columns), row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and not _is_bool(value))


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # numpy's, too


def _text(value: Any, form: str, longest: int) -> str:
    if value is None or (isinstance(value, Real) and value != value):
        return ""
    if _is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, Real):
        return form.format(value) if form else _rounded(value)
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


def _form(form: str | Mapping[str, str], column: str, value: Any) -> str:
    if isinstance(form, str):
        return "" if isinstance(value, Integral) else form
    return form.get(column, "")


def _rounded(value: Real) -> str:
    """Four digits; from 10,000 on all digits before the point, with separators."""
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"
