"""A page as one self-contained HTML file.

Escaping does not rest on anybody remembering it: Jinja2 escapes whatever a template prints, after characters that
would reorder or hide text were made visible; and a content security policy in the page itself forbids scripts and
every request, should both fail.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import vmkit
from vmkit.report.page import numbers, wording
from vmkit.report.page.blocks import (
    Bar,
    BarChart,
    Block,
    HeatMap,
    LineChart,
    Page,
    Section,
    StackedBars,
    Table,
    Timeline,
)
from vmkit.report.page.charts import bars, heat, lines, svg, textures
from vmkit.report.text import escape_lines, escape_text

_SHORT: Final = 24
_MOST_TIPS: Final = 400
"""Cells of a heat map up to which each says its value when pointed at."""


def render_html(page: Page) -> str:
    """The page: one file with its style and pictures inside. It needs no scripts and loads nothing."""
    template = _environment().get_template("page.html.j2")
    return template.render(page=page, sections=list(_anchors(page.sections)), version=vmkit.__version__)


def _anchors(sections: tuple[Section, ...]) -> Iterator[tuple[Section, str]]:
    taken = {"content"}
    for number, section in enumerate(sections, start=1):
        slug = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:60] or f"section-{number}"
        if slug in taken or f"{slug}-title" in taken:
            slug = f"{slug}-{number}"
        taken |= {slug, f"{slug}-title"}
        yield section, slug


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vmkit.report.page"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(instant=numbers.format_instant, lines=_lines)
    environment.globals.update(
        block=_render_block,
        render=_render_block,
        kind_of=_kind_of,
        count=numbers.format_number,
        percent=svg.percent,
        tone_word=wording.tone_word,
        textures=textures.draw_textures(),
        draw_meter=bars.draw_meter,
        draw_spark=lines.draw_spark,
        draw_lines=lines.draw_lines,
        draw_scale=heat.draw_scale,
        draw_unknown=heat.draw_unknown,
        swatch=bars.swatch,
        line_swatch=lines.line_swatch,
        series_names=_series_names,
        short_columns=_short_columns,
        bars=_bars,
        stacks=_stacks,
        numbers=wording.parts_table,
        bands=_bands,
        heat_rows=_heat_rows,
        heat_ticks=_heat_ticks,
        heat_most=_heat_most,
        heat_unknown=_heat_unknown,
    )
    return environment


def _finalize(value: Any) -> Any:
    """What Jinja2 does with every value before it escapes it: what would act upon the text becomes visible."""
    return escape_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    return escape(escape_lines(text.replace("\r\n", "\n")))


def _kind_of(value: object) -> str:
    """A class as templates name it: "KeyFigures" -> "key_figures"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(value).__name__).lower()


def _render_block(block: Block) -> Markup:
    macros = _environment().get_template("blocks.html.j2").module
    return Markup(getattr(macros, _kind_of(block))(block).strip())  # noqa: S704 - made by an escaping template


def _short_columns(table: Table) -> list[bool]:
    """The columns whose every cell fits on a line: they are not broken, however narrow the page."""
    return [
        all(isinstance(cell, str) and len(cell) <= _SHORT for cell in cells)
        for cells in zip(*table.shown, strict=True)
    ] or [False] * len(table.columns)


# --- what templates need of pictures -------------------------------------------------------------------


def _bars(chart: BarChart) -> Iterator[tuple[Bar, str, Markup]]:
    longest = max((bar.value for bar in chart.bars), default=0.0)
    for bar in chart.bars:
        text = wording.bar_text(bar, chart)
        yield bar, text, bars.draw_bar(bar.value, longest, title=f"{bar.label}: {text}")


def _stacks(chart: StackedBars) -> Iterator[tuple[str, str, Markup]]:
    longest = max((sum(values) for _, values in chart.rows), default=0.0)
    for label, values in chart.rows:
        title = f"{label}: {wording.describe_parts(chart, values)}"
        total = numbers.format_with_unit(sum(values), chart.unit)
        yield label, total, bars.draw_parts(values, longest, title=title)


def _bands(chart: Timeline) -> Iterator[tuple[str, Markup]]:
    for label, stretches in chart.rows:
        title = f"{label}: {wording.describe_stretches(stretches, chart.kinds)}"
        yield label, bars.draw_stretches(stretches, title=title)


def _series_names(chart: LineChart) -> list[str]:
    return [each.name for each in chart.series]


def _heat_rows(chart: HeatMap) -> Iterator[tuple[str, Markup]]:
    most = wording.most_of(chart)
    tips_fit = len(chart.rows) * len(chart.columns) <= _MOST_TIPS
    for label, values in chart.rows:
        tips = [wording.heat_tip(chart, label, index, value) for index, value in enumerate(values)]
        title = f"{label}: {wording.describe_heat(chart, values)}"
        yield label, heat.draw_row(values, most, title=title, tips=tips if tips_fit else ())


def _heat_ticks(chart: HeatMap) -> list[tuple[float, str]]:
    count = max(1, len(chart.columns))
    named = [(index / count, text) for index, text in enumerate(chart.columns) if text]
    # On a phone there is room for about eight.
    step = max(1, -(-len(named) // 8))
    return named[::step]


def _heat_most(chart: HeatMap) -> str:
    return numbers.format_with_unit(wording.most_of(chart), chart.unit)


def _heat_unknown(chart: HeatMap) -> bool:
    return any(heat.level_of(value, 1.0) is None for _, values in chart.rows for value in values)
