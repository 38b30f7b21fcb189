"""Tables for notebooks: rows in, HTML with left-aligned text out, and plain text for terminals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows as HTML and a terminal as text; make one with :func:`table`.

    Attributes:
        columns: The headings.
        rows: The cells, as they are shown.
        numeric: For each column, whether all its cells are numbers (then they stand on the right).
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
    rows: Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]],
    columns: Sequence[str] = (),
    caption: str = "",
    form: str = "{:.4g}",
    longest: int = 400,
) -> Table:
    """Make a table.

    Args:
        rows: Mappings (their keys are the columns, in order of first use), or sequences of cells.
        columns: The headings; default: the keys of the mappings.
        caption: What the table shows, above it.
        form: How floating point numbers are written; integers get thousands separators, None an empty cell.
        longest: Longer texts are cut in the middle [characters].

    Raises:
        ValueError: If a row of cells has not as many cells as there are columns.
    """
    if rows and isinstance(rows[0], Mapping):
        columns = tuple(columns) or tuple(dict.fromkeys(key for row in rows for key in row))
        rows = [[row.get(key) for key in columns] for row in rows]
    columns = tuple(str(column) for column in columns)
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"table: every row needs {len(columns)} cells ({', '.join(columns)})")
    numeric = tuple(bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns)))
    texts = tuple(tuple(_text(cell, form, longest) for cell in row) for row in rows)
    return Table(columns, texts, numeric, caption)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _text(value: Any, form: str, longest: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return form.format(value)
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"
