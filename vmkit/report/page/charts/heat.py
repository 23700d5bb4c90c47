"""Rows of a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from vmkit.report.page.charts.svg import element, percent, picture

LEVELS = 7
"""How many steps of colour there are above nothing."""
_HEIGHT = 22


def level_of(value: float | None, most: float) -> int | None:
    """The step of colour: 0 for nothing, up to `LEVELS`; None where nothing is known."""
    if value is None or not math.isfinite(value):
        return None
    if value <= 0 or most <= 0:
        return 0
    return min(LEVELS, max(1, math.ceil(value / most * LEVELS)))


def draw_row(
    values: Sequence[float | None], most: float, *, title: str, tips: Sequence[str] = (), height: int = _HEIGHT
) -> Markup:
    """One row. With ``tips`` every cell says its value; else equal neighbours are drawn as one."""
    count = max(1, len(values))
    cells = []
    levels = [level_of(value, most) for value in values]
    if tips:
        for index, (level, tip) in enumerate(zip(levels, tips, strict=True)):
            cells.append(_cell(level, index, 1, count, [element("title", tip)]))
    else:
        index = 0
        for level, group in groupby(levels):
            length = len(list(group))
            cells.append(_cell(level, index, length, count, []))
            index += length
    return picture(cells, title=title, class_="heat", width="100%", height=height)


def _cell(level: int | None, start: int, length: int, count: int, inner: list[Markup]) -> Markup:
    kind = "hx" if level is None else f"h{level}"
    return element(
        "rect", inner, class_=kind, x=percent(start / count), width=percent(length / count), height="100%"
    )


def draw_scale() -> Markup:
    """The steps of colour from none to most, for the legend."""
    steps = LEVELS + 1
    cells = [
        element("rect", class_=f"h{level}", x=percent(level / steps), width=percent(1 / steps), height="100%")
        for level in range(steps)
    ]
    return element("svg", cells, class_="scale", width=128, height=12, aria_hidden="true")


def draw_unknown() -> Markup:
    """What stands where nothing is known, for the legend."""
    rect = element("rect", class_="hx", width="100%", height="100%")
    return element("svg", [rect], class_="swatch", width=14, height=12, aria_hidden="true")
