"""Bars, parts of bars, and stretches of time: one strip a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from vmkit.report.page.blocks import Stretch
from vmkit.report.page.charts.svg import element, percent, picture

_HEIGHT = 16
_BAND = 18


def draw_bar(value: float, longest: float, *, title: str) -> Markup:
    """A bar as long as its share of the longest; anything above nothing can be seen."""
    share = value / longest if longest > 0 and math.isfinite(value) else 0.0
    children = [element("rect", class_="track", width="100%", height="100%", rx=3)]
    if share > 0:
        children.append(element("rect", class_="k1", width=percent(max(share, 0.004)), height="100%", rx=3))
    return picture(children, title=title, class_="strip", width="100%", height=_HEIGHT)


def draw_parts(values: Sequence[float], longest: float, *, title: str) -> Markup:
    """A bar of parts, in their order."""
    children = []
    start = 0.0
    for number, value in enumerate(values):
        share = value / longest if longest > 0 and math.isfinite(value) and value > 0 else 0.0
        if share > 0:
            children.append(
                element("rect", class_=f"k{number % 8 + 1}", x=percent(start), width=percent(share), height="100%")
            )
        start += share
    return picture(children, title=title, class_="strip", width="100%", height=_BAND)


def draw_stretches(stretches: Sequence[Stretch], *, title: str) -> Markup:
    """One row of a timeline."""
    children = [element("rect", class_="track", width="100%", height="100%")]
    children += [
        element(
            "rect",
            class_=f"k{each.kind % 8 + 1}",
            x=percent(each.start),
            width=percent(each.end - each.start),
            height="100%",
        )
        for each in stretches
        if each.end > each.start
    ]
    return picture(children, title=title, class_="strip", width="100%", height=_BAND)


def draw_meter(share: float) -> Markup:
    """The short bar beside a number in a table; the number itself is read out."""
    children = [element("rect", class_="track", width="100%", height="100%", rx=2)]
    if share > 0:
        children.append(element("rect", class_="k1", width=percent(share), height="100%", rx=2))
    return element("svg", children, class_="meter", width=56, height=8, aria_hidden="true")


def swatch(number: int) -> Markup:
    """What a part looks like, for the legend."""
    rect = element("rect", class_=f"k{number % 8 + 1}", width="100%", height="100%", rx=2)
    return element("svg", [rect], class_="swatch", width=14, height=14, aria_hidden="true")
