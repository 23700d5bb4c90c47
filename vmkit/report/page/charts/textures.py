"""Textures under the colours: parts of a picture are told apart in print, and by people who see few colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from vmkit.report.page.charts.svg import element

PARTS: Final = 8
"""How many parts can be told apart."""

# Lines over the colour, of a tile of eight by eight pixels; the first part is plain.
_STROKES: Final = (
    "",
    "M-2 2l4-4M0 8l8-8M6 10l4-4",
    "M2 2h.01M6 6h.01",
    "M0 4h8",
    "M-2 6l4 4M0 0l8 8M6-2l4 4",
    "M4 0v8",
    "M0 4h8M4 0v8",
    "M2 2h4v4h-4z",
)


def draw_textures() -> Markup:
    """The patterns that the page's style fills parts with, once a page."""
    return element(
        "svg",
        [element("defs", [*_patterns(), _unknown()])],
        class_="textures",
        width=0,
        height=0,
        aria_hidden="true",
    )


def _patterns() -> Iterator[Markup]:
    for number, strokes in enumerate(_STROKES, start=1):
        inner = [element("rect", class_=f"t{number}", width=8, height=8)]
        if strokes:
            inner.append(element("path", class_="stroke", d=strokes))
        yield element("pattern", inner, id=f"p{number}", width=8, height=8, patternUnits="userSpaceOnUse")


def _unknown() -> Markup:
    inner = [element("path", class_="unknown", d="M-1 1l2-2M0 6l6-6M5 7l2-2")]
    return element("pattern", inner, id="px", width=6, height=6, patternUnits="userSpaceOnUse")
