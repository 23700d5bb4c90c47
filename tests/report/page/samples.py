"""A page with every kind of block, and text that wants to be more than text."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from vmkit.report.page import (
    Badge,
    Bar,
    BarChart,
    Block,
    Callout,
    Code,
    Definitions,
    Details,
    Figure,
    HeatMap,
    KeyFigures,
    LineChart,
    Matrix,
    Meter,
    Mono,
    Page,
    Prose,
    Section,
    Series,
    Sparkline,
    StackedBars,
    Stretch,
    Strong,
    Table,
    TableColumn,
    Timeline,
    Tone,
)

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOSTILE = (
    '"><img src=x onerror=alert(1)>\u202e\x1b]0;x\x07<script>alert(1)</script>\n# [x](https://evil.example) @all |'
)


def every_block(text: str = "web") -> tuple[Block, ...]:
    """One of each, with ``text`` wherever text may stand."""
    hours = tuple(AT + timedelta(hours=hour) for hour in range(72))
    course = tuple(None if 20 < hour < 26 else 50 + 40 * math.sin(hour / 4) for hour in range(72))
    return (
        KeyFigures(tuple(Figure(f"{text} {tone}", "37", text, f"{text} since a week ago", tone) for tone in Tone)),
        *(Callout(tone, text, (text, ("Run ", Mono(text), "."))) for tone in Tone),
        Prose((text, (text, " and ", Strong(text), Badge(text, Tone.GOOD)))),
        Definitions(((text, text), (text, (text, Mono(text))))),
        Code(
            f"{text}\n{text} --with-an-option-that-is-long --and-another /a/rather/long/path/to/a/file", "sh", text
        ),
        Details(text, (Prose((text,)), Code("true"))),
        Table(
            text,
            (
                TableColumn("VM"),
                TableColumn("State"),
                TableColumn("CPU", numeric=True),
                TableColumn("Course"),
                TableColumn("Why", sentences=True),
            ),
            tuple(
                (
                    Mono(f"{text}-{number}"),
                    Badge(tone, tone),
                    Meter(0.2 * number, f"{20 * number} %"),
                    Sparkline(course, text),
                    text,
                )
                for number, tone in enumerate(Tone)
            ),
            note=text,
            total=1234,
        ),
        Matrix(text, text, (text, "wasm"), ((text, (Badge("Good", Tone.GOOD), "")), ("api", (text, Mono(text))))),
        BarChart(text, text, (Bar(text, 220), Bar("search", 0.01), Bar("nobody", 0)), "GiB"),
        StackedBars(
            text, text, ("base", "variable", text), ((text, (3, 1, 0)), ("search", (1.5, 0, 2))), unit="GiB"
        ),
        LineChart(
            text,
            text,
            hours,
            (Series(text, course), Series("before", tuple(reversed(course)))),
            "VMs",
            ((text, 80),),
        ),
        HeatMap(
            text,
            text,
            tuple(f"{hour:02}" if hour % 3 == 0 else "" for hour in range(24)),
            ((text, course[:24]), ("Tuesday", course[24:48]), ("Wednesday", (None,) * 24)),
            "%",
        ),
        Timeline(
            text,
            text,
            ("in use", "quiet", text),
            ((text, (Stretch(0, 0.4, 0), Stretch(0.4, 0.7, 1), Stretch(0.7, 1, 2))), ("other", ())),
            ((0, "1 Feb"), (0.5, text)),
        ),
    )


def sample_page(text: str = "web") -> Page:
    """Every kind of block, in two sections."""
    blocks = every_block(text)
    return Page(
        title=text,
        subtitle=f"What is said of {text}.",
        made_at=AT,
        lead=blocks[:2],
        sections=(Section(text, blocks[2:]), Section(text, (Prose(("The end.",)),))),
        command=f"vmkit report {text}",
    )
