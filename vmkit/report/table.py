"""Tables as kubectl writes them, and CSV: columns that are functions of a row."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmkit.report.text import escape_text

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        title: its heading, in capitals.
        text: the cell of a row; an empty one is shown as "<none>".
        wide: only in wide tables and CSV.
    """

    title: str
    text: Callable[[Row], str]
    wide: bool = False


def render_table(
    columns: Sequence[Column[Row]], rows: Iterable[Row], *, wide: bool = False, headers: bool = True
) -> str:
    """Columns three spaces apart, as wide as their widest cell; no rows and no headers give an empty text."""
    shown = [column for column in columns if wide or not column.wide]
    lines = [[escape_text(column.text(row)) or "<none>" for column in shown] for row in rows]
    if headers:
        lines.insert(0, [column.title for column in shown])
    if not lines:
        return ""
    widths = [max(map(display_width, cells)) for cells in zip(*lines, strict=True)]
    return "".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (width - display_width(cell)) for cell, width in zip(cells[:-1], widths[:-1], strict=True)
    ]
    return "   ".join([*padded, cells[-1]]).rstrip() + "\n"


def display_width(text: str) -> int:
    """How many cells of a terminal the text takes: East Asian wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def render_csv(columns: Sequence[Column[Row]], rows: Iterable[Row], *, headers: bool = True) -> str:
    """Every column, RFC 4180, with "\\\\n" at line ends.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if headers:
        writer.writerow([column.title.lower().replace(" ", "_").replace("-", "_") for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(column.text(row)) for column in columns])
    return out.getvalue()


def _csv_cell(text: str) -> str:
    safe = escape_text(text)
    return f"'{safe}" if safe[:1] in ("=", "+", "-", "@") else safe
