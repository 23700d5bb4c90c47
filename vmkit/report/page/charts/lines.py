"""Lines over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from vmkit.report.page.blocks import LineChart
from vmkit.report.page.charts.svg import element, percent, picture
from vmkit.report.page.numbers import format_number, format_with_unit, nice_ceiling

_HEIGHT = 220
_FOOT = 22
_WIDE = 1000
_HIGH = 100
_TICKS = 4


def draw_lines(chart: LineChart) -> Markup:
    """The whole chart but its legend. Labels of the axis stand inside, above their lines: no width is lost."""
    known = [value for each in chart.series for value in each.values if value is not None and math.isfinite(value)]
    top = nice_ceiling(max([*known, *(value for _, value in chart.limits)], default=1.0))
    body = _HEIGHT - _FOOT
    children: list[Markup] = []
    for number in range(_TICKS + 1):
        y = body - (body - 16) * number / _TICKS
        text = format_number(top * number / _TICKS)
        children.append(element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        if number == _TICKS:
            text = format_with_unit(top, chart.unit)
        children.append(element("text", text, x=2, y=y - 4, class_="tick"))
    paths = [
        element("path", class_=f"l{number % 4 + 1}", d=d)
        for number, each in enumerate(chart.series)
        for d in [" ".join(_steps(each.values, top))]
        if d
    ]
    plot = element(
        "svg", paths, x=0, y=16, width="100%", height=body - 16, viewBox=f"0 0 {_WIDE} {_HIGH}",
        preserveAspectRatio="none", overflow="visible",
    )  # fmt: skip
    children.append(plot)
    for text, value in chart.limits:
        y = body - (body - 16) * value / top
        children.append(element("line", class_="limit", x1="0", x2="100%", y1=y, y2=y))
        children.append(element("text", text, x="100%", y=y - 4, class_="limit-text", text_anchor="end"))
    children += _days(chart.instants)
    return picture(
        children, title=chart.title, description=chart.description, class_="lines", width="100%", height=_HEIGHT
    )


def _steps(values: Sequence[float | None], top: float) -> Iterator[str]:
    last = max(1, len(values) - 1)
    down = False
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            down = False
            continue
        x, y = index / last * _WIDE, _HIGH - min(max(value, 0.0) / top, 1.0) * _HIGH
        yield f"{'L' if down else 'M'}{x:.4g} {y:.4g}"
        down = True


def _days(instants: Sequence[datetime]) -> Iterator[Markup]:
    first, last = instants[0].astimezone(UTC), instants[-1].astimezone(UTC)
    short = (last - first).total_seconds() <= 2 * 86400
    for number in range(3):
        at = first + (last - first) * number / 2
        text = f"{at:%H:%M}" if short else f"{at.day} {at:%b}"
        yield element(
            "text", text, class_="tick", x=percent(number / 2), y=_HEIGHT - 4,
            text_anchor=("start", "middle", "end")[number],
        )  # fmt: skip


def draw_spark(values: Sequence[float | None], *, title: str) -> Markup:
    """A line as high as a line of text, between the least and the most there is."""
    top = max((value for value in values if value is not None and math.isfinite(value)), default=0.0) or 1.0
    path = element("path", class_="l1", d=" ".join(_steps(values, top)) or None)
    return picture(
        [path], title=title, class_="spark", width=96, height=20, viewBox=f"0 -4 {_WIDE} {_HIGH + 8}",
        preserveAspectRatio="none",
    )  # fmt: skip


def line_swatch(number: int) -> Markup:
    """What a line looks like, for the legend."""
    line = element("line", class_=f"l{number % 4 + 1}", x1="0", x2="100%", y1="50%", y2="50%")
    return element("svg", [line], class_="swatch", width=26, height=10, aria_hidden="true")
