"""The pre-flight report: its rows, and how they are shown in notebooks and terminals."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass, field
from typing import Any

from shared.errors import HardwareError
from shared.machine import Choice

HEADINGS = ("", "what", "found or chosen", "why, or what is needed")
LEFT = "text-align:left"


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Attributes:
        topic: What it is about.
        value: What was found or chosen.
        reason: Why, or what is needed.
        ok: True: requirement met; None: a note; False: the lab cannot run.
        fix: What to do where ``ok`` is False or None.
        private: Identifies the machine, so it is left out of notebooks.
    """

    topic: str
    value: str
    reason: str = ""
    ok: bool | None = True
    fix: str = ""
    private: bool = False

    @property
    def sign(self) -> str:
        """The status as a word, so that it does not depend on colour."""
        return {True: "ok", None: "note", False: "stop"}[self.ok]


@dataclass(frozen=True)
class Preflight:
    """The report: a table in notebooks and terminals.

    Attributes:
        rows: Its lines.
        device: The chosen device and why.
        dtype: The chosen dtype and why.
        title: What it is about.
    """

    rows: list[Row] = field(repr=False)
    device: Choice
    dtype: Choice
    title: str = "This machine"

    @property
    def ok(self) -> bool:
        """Whether the lab can run here."""
        return all(row.ok is not False for row in self.rows)

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        stops = [row.topic for row in self.rows if row.ok is False]
        return f"Cannot run here: {', '.join(stops)}." if stops else "Ready: all requirements are met."

    def require(self) -> Preflight:
        """Return the report itself, or raise.

        Raises:
            HardwareError: Listing all requirements that are not met, with their fixes.
        """
        stops = [row for row in self.rows if row.ok is False]
        if stops:
            listed = "".join(f"\n  - {row.topic}: {row.value}; {row.reason}" for row in stops)
            fixes = list(dict.fromkeys(row.fix for row in stops if row.fix))
            raise HardwareError(
                f"{self.title}: this machine does not meet the requirements{listed}", fix="; or ".join(fixes)
            )
        return self

    def record(self) -> dict[str, Any]:
        """The report as plain data for a run folder, without what identifies the machine."""
        shown = [row for row in self.rows if not row.private]
        rows = [{"topic": row.topic, "value": row.value, "reason": row.reason, "ok": row.ok} for row in shown]
        return {"ok": self.ok, "device": self.device.value, "dtype": self.dtype.value, "rows": rows}

    def text(self, private: bool = False, width: int = 110) -> str:
        """The report as a table of plain text.

        Args:
            private: Whether to include system and CPU model, for ``peft-labs doctor``.
            width: Characters in a line.
        """
        from rich.console import Console
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", expand=False)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in self.rows:
            if private or not row.private:
                fix = f"\n-> {row.fix}" if row.fix and row.ok is not True else ""
                table.add_row(row.sign, row.topic, row.value, row.reason + fix)
        buffer = io.StringIO()
        console = Console(file=buffer, width=width, color_system=None, highlight=False, markup=False)
        console.print(table)
        lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
        return "\n".join([*lines, self.verdict])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col" style="{LEFT}">{heading}</th>' for heading in HEADINGS)
        lines = "".join(_html_row(row) for row in self.rows if not row.private)
        caption = f'<caption style="{LEFT};font-weight:bold">{html.escape(self.title)}</caption>'
        table = f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        return f"{table}<p>{html.escape(self.verdict)}</p>"


def _html_row(row: Row) -> str:
    colour = {"ok": "#00704F", "note": "#8A5A00", "stop": "#B34700"}[row.sign]
    fix = f"<br><em>{html.escape(row.fix)}</em>" if row.fix and row.ok is not True else ""
    return (
        f'<tr><td><strong style="color:{colour}">{row.sign}</strong></td>'
        f'<th scope="row" style="{LEFT}">{html.escape(row.topic)}</th>'
        f'<td style="{LEFT}">{html.escape(row.value)}</td>'
        f'<td style="{LEFT}">{html.escape(row.reason)}{fix}</td></tr>'
    )
