"""What a page is made of. Values only: no markup, and no wording but that of whoever makes the page.

A picture has a title that says what it shows and a description that says what is to be seen in it: whoever cannot
see the picture gets both, and the Markdown has its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

ROW_LIMIT: Final = 200
"""Rows that a table shows unless it says otherwise; the rest is in the report's JSON."""


class Tone(StrEnum):
    """What something means to the reader. Shown by a word and a sign as well as by a colour."""

    NEUTRAL = "neutral"
    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


# --- within a line -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mono:
    """Something to be typed or found as it stands: a name, a path, an option."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """What the eye should find first in a paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word or two."""

    text: str
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True)
class Meter:
    """A share as a short bar with its number: ``share`` from 0 to 1, ``text`` as it is to be read."""

    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A course of values in the height of a line.

    Attributes:
        values: at even steps; None where nothing is known.
        text: what is to be seen in it, for those who do not see it.
    """

    values: tuple[float | None, ...]
    text: str


Inline: TypeAlias = str | Mono | Strong | Badge
Cell: TypeAlias = str | Mono | Strong | Badge | Meter | Sparkline | tuple[Inline, ...]
Paragraph: TypeAlias = str | tuple[Inline, ...]


# --- blocks of text ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs."""

    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Callout:
    """Something the reader must not miss, with what follows from it."""

    tone: Tone
    title: str
    paragraphs: tuple[Paragraph, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that the report is about.

    Attributes:
        label: what it is.
        value: the number as it is to be read.
        unit: behind it, smaller.
        note: a line under it.
        tone: of the note.
    """

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The few numbers that the report is about; up to six read well."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms and what is to be said of each."""

    items: tuple[tuple[str, Paragraph], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be copied or read as they stand.

    Attributes:
        text: the lines.
        language: what Markdown calls it ("sh", "yaml"); "" for none.
        caption: what they are; "" for none.
    """

    text: str
    language: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that stay closed until somebody wants them; printed and written to Markdown in full."""

    summary: str
    blocks: tuple[Block, ...]


# --- tables --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: its heading, whether it holds numbers (set flush right), or sentences (given room)."""

    title: str
    numeric: bool = False
    sentences: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names the row.

    Attributes:
        caption: what the table holds.
        columns: at least one.
        rows: each with as many cells as there are columns. The first ``limit`` are shown.
        note: a line under it; "" for none.
        limit: how many rows are shown.
        total: how many there are, where ``rows`` does not hold them all.
        rest: where the others are.
    """

    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    limit: int = ROW_LIMIT
    total: int | None = None
    rest: str = "in the JSON"

    @property
    def shown(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows that are shown."""
        return self.rows[: self.limit]

    @property
    def left_out(self) -> int:
        """How many rows are not shown."""
        return max(len(self.rows), self.total or 0) - len(self.shown)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Where two lists meet.

    Attributes:
        caption: what it holds.
        corner: what the rows are.
        columns: headings.
        rows: a heading, and a cell for each column.
        note: a line under it; "" for none.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""


# --- pictures ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is of, how long, and the number as it is to be read ("" has the unit behind the value)."""

    label: str
    value: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class BarChart:
    """One bar a row, longest bar as wide as there is room.

    Attributes:
        title: what it shows.
        description: what is to be seen in it.
        bars: from top to bottom; none below zero.
        unit: of the values.
    """

    title: str
    description: str
    bars: tuple[Bar, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StackedBars:
    """Bars of several parts.

    Attributes:
        title: what it shows.
        description: what is to be seen in it.
        parts: names of the parts, up to eight, in the order in which they stand.
        rows: a label and the value of each part; none below zero.
        unit: of the values.
    """

    title: str
    description: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """A named course of values, one for each instant of its chart; None where nothing is known."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Values over time.

    Attributes:
        title: what it shows.
        description: what is to be seen in it.
        instants: of the values, rising; at least two.
        series: up to four, told apart by the dashes of their lines too.
        unit: of the values.
        limits: lines across, with what they mean.
    """

    title: str
    description: str
    instants: tuple[datetime, ...]
    series: tuple[Series, ...]
    unit: str = ""
    limits: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A grid of values, the darker the more.

    Attributes:
        title: what it shows.
        description: what is to be seen in it.
        columns: headings; those that are "" have no tick of their own.
        rows: a heading, and a value for each column; None where nothing is known.
        unit: of the values.
        most: the value that is darkest; None for the largest there is.
    """

    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    unit: str = ""
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a timeline: from ``start`` to ``end`` (shares of its length, 0 to 1), of the kind with that
    index."""

    start: float
    end: float
    kind: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """What each of several things was, over the same time.

    Attributes:
        title: what it shows.
        description: what is to be seen in it.
        kinds: what a stretch can be, up to eight; told apart by texture too.
        rows: a label, and its stretches in order; what lies between them is empty.
        ticks: places (0 to 1) on the axis and what stands there.
    """

    title: str
    description: str
    kinds: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Stretch, ...]], ...]
    ticks: tuple[tuple[float, str], ...] = ()


Block: TypeAlias = (
    Prose
    | Callout
    | KeyFigures
    | Definitions
    | Code
    | Details
    | Table
    | Matrix
    | BarChart
    | StackedBars
    | LineChart
    | HeatMap
    | Timeline
)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes:
        title: what it is about.
        subtitle: of what and over which time, in a sentence.
        made_at: when, aware of its zone.
        lead: what stands above the first section: key figures, a callout.
        sections: in reading order.
        command: what makes it anew; "" for none.
    """

    title: str
    subtitle: str
    made_at: datetime
    lead: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    command: str = ""
