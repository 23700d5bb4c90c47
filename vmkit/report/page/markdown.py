"""A page as GitHub-flavoured Markdown, from the same blocks as the HTML.

What comes from guests and clusters stays text: no heading, link, mention, image or markup can come out of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from vmkit.report.page.blocks import (
    Badge,
    BarChart,
    Block,
    Callout,
    Cell,
    Code,
    Definitions,
    Details,
    HeatMap,
    KeyFigures,
    LineChart,
    Matrix,
    Meter,
    Mono,
    Page,
    Paragraph,
    Prose,
    Sparkline,
    StackedBars,
    Strong,
    Table,
    Timeline,
    Tone,
)
from vmkit.report.page.numbers import MISSING, format_instant, format_number, format_with_unit
from vmkit.report.page.wording import (
    bar_text,
    describe_heat,
    describe_stretches,
    heat_cell,
    parts_table,
    tone_word,
)
from vmkit.report.text import escape_lines, escape_text

# Whatever begins a construct within a line. A colon and an at sign would make links and mentions of bare text.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|~@#&$])|((?<=[A-Za-z]):(?=//))|((?<=[Ww]{3})\.)")
_AT_START: Final = re.compile(r"^(\d{0,9})([-+=!.)])")
_WIDTH: Final = 20
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_ALERTS: Final[Mapping[Tone, str]] = {
    Tone.NEUTRAL: "NOTE",
    Tone.GOOD: "TIP",
    Tone.NOTE: "NOTE",
    Tone.WARNING: "WARNING",
    Tone.BAD: "CAUTION",
}


def render_markdown(page: Page) -> str:
    """The page as a document that GitHub, GitLab and plain readers show well."""
    parts = [
        f"# {_line(page.title)}",
        _line(page.subtitle),
        *_blocks(page.lead),
    ]
    for section in page.sections:
        parts += [f"## {_line(section.title)}", *_blocks(section.blocks)]
    made = f"Made {format_instant(page.made_at)} by vmkit"
    parts.append(f"---\n\n{made}, anew with {_mono(page.command)}" if page.command else f"---\n\n{made}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        yield _RENDERERS[type(block)](block).strip("\n")


# --- within a line -------------------------------------------------------------------------------------


def _line(text: str) -> str:
    """Text at the start of a line."""
    return _shield(_inner(text.strip()))


def _shield(line: str) -> str:
    return _AT_START.sub(r"\1\\\2", line)


def _inner(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", escape_text(text))


def _mono(text: str) -> str:
    safe = escape_text(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", safe)), default=0))
    # Spaces keep ticks at either end apart from the fence, and Markdown takes them away again.
    edge = " " if safe[:1] in ("`", " ") or safe[-1:] in ("`", " ") or not safe else ""
    return f"{ticks}{edge}{safe}{edge}{ticks}"


def _text(value: Paragraph | Cell) -> str:
    match value:
        case tuple():
            return "".join(_text(each) for each in value)
        case Mono():
            return _mono(value.text)
        case Strong() | Badge():
            return f"**{_inner(value.text.strip())}**" if value.text.strip() else ""
        case Meter():
            return _inner(value.text)
        case Sparkline():
            return f"{_spark(value.values)} {_inner(value.text)}".strip()
        case _:
            return _inner(value)


def _paragraph(value: Paragraph) -> str:
    return _shield(_text(value).strip())


def _spark(values: Sequence[float | None]) -> str:
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(_block_of(value, most) for value in values) if values and len(values) <= 60 else ""


def _block_of(value: float | None, most: float) -> str:
    if value is None:
        return "?"
    return _LEVELS[0 if most <= 0 or value <= 0 else max(1, min(8, round(value / most * 8)))]


# --- tables --------------------------------------------------------------------------------------------


def _cell(value: Cell) -> str:
    # Within a code span of a table a bar still ends the cell, unless a backslash stands before it.
    return _mono(value.text).replace("|", "\\|") if isinstance(value, Mono) else _cell_text(value)


def _cell_text(value: Cell) -> str:
    if isinstance(value, tuple):
        return "".join(_cell(each) for each in value)
    return _text(value).strip()


def _grid(heads: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(_inner(head) or " " for head in heads) + " |",
        "|" + "|".join(" ---: " if flush else " --- " for flush in numeric) + "|",
    ]
    lines += ["| " + " | ".join(cell or " " for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _table(block: Table) -> str:
    parts = [f"**{_inner(block.caption)}**"]
    parts.append(
        _grid(
            [each.title for each in block.columns],
            [each.numeric for each in block.columns],
            [[_cell(value) for value in row] for row in block.shown],
        )
    )
    note = [f"{format_number(block.left_out)} more {block.rest}."] if block.left_out else []
    note += [block.note] if block.note else []
    return "\n\n".join([*parts, *([_line(" ".join(note))] if note else [])])


def _matrix(block: Matrix) -> str:
    heads = [block.corner, *block.columns]
    rows = [[_inner(name), *(_cell(value) for value in cells)] for name, cells in block.rows]
    note = [_line(block.note)] if block.note else []
    return "\n\n".join([f"**{_inner(block.caption)}**", _grid(heads, [False] * len(heads), rows), *note])


# --- pictures ------------------------------------------------------------------------------------------


def _titled(title: str, description: str, body: str) -> str:
    return "\n\n".join(part for part in (f"**{_inner(title)}**", _line(description), body) if part)


def _bar_chart(block: BarChart) -> str:
    longest = max((bar.value for bar in block.bars), default=0.0)
    rows = [
        [_inner(bar.label), _inner(bar_text(bar, block)), "█" * _length(bar.value, longest)] for bar in block.bars
    ]
    return _titled(block.title, block.description, _grid(["", block.unit, ""], [False, True, False], rows))


def _length(value: float, longest: float) -> int:
    return max(1, round(value / longest * _WIDTH)) if longest > 0 and value > 0 else 0


def _stacked_bars(block: StackedBars) -> str:
    table = parts_table(block)
    return _titled(block.title, block.description, _table(table).split("\n\n", 1)[1])


def _line_chart(block: LineChart) -> str:
    heads = ["", "least", "median", "most"]
    rows = []
    for each in block.series:
        known = sorted(value for value in each.values if value is not None)
        said = (
            [format_with_unit(known[index], block.unit) for index in (0, len(known) // 2, -1)]
            if known
            else [MISSING] * 3
        )
        rows.append([_inner(each.name), *map(_inner, said)])
    rows += [[_inner(text), "", "", _inner(format_with_unit(value, block.unit))] for text, value in block.limits]
    return _titled(block.title, block.description, _grid(heads, [False, True, True, True], rows))


def _heat_map(block: HeatMap) -> str:
    if len(block.columns) <= 24:
        heads = ["", *(column or " " for column in block.columns)]
        rows = [[_inner(label), *(heat_cell(value) for value in values)] for label, values in block.rows]
        body = _grid(heads, [False] + [True] * len(block.columns), rows)
    else:
        body = _grid(
            ["", block.unit], [False, False],
            [[_inner(label), _inner(describe_heat(block, values))] for label, values in block.rows],
        )  # fmt: skip
    return _titled(block.title, block.description, body)


def _timeline(block: Timeline) -> str:
    rows = [[_inner(label), _inner(describe_stretches(stretches, block.kinds))] for label, stretches in block.rows]
    return _titled(block.title, block.description, _grid(["", ""], [False, False], rows))


# --- text ----------------------------------------------------------------------------------------------


def _prose(block: Prose) -> str:
    return "\n\n".join(_paragraph(each) for each in block.paragraphs)


def _callout(block: Callout) -> str:
    lines = [f"> [!{_ALERTS[block.tone]}]", f"> **{tone_word(block.tone)}: {_inner(block.title)}**"]
    for each in block.paragraphs:
        lines += [">", f"> {_paragraph(each)}"]
    return "\n".join(lines)


def _key_figures(block: KeyFigures) -> str:
    rows = [
        [_inner(each.label), f"**{_inner(f'{each.value} {each.unit}'.strip())}**", _inner(each.note)]
        for each in block.figures
    ]
    return _grid(["", "", ""], [False, True, False], rows)


def _definitions(block: Definitions) -> str:
    return "\n".join(f"- **{_inner(term)}**: {_text(meaning)}" for term, meaning in block.items)


def _code(block: Code) -> str:
    text = escape_lines(block.text.replace("\r\n", "\n")).rstrip("\n")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    caption = f"**{_inner(block.caption)}**\n\n" if block.caption else ""
    return f"{caption}{fence}{block.language}\n{text}\n{fence}"


def _details(block: Details) -> str:
    return "\n\n".join([f"**{_inner(block.summary)}**", *_blocks(block.blocks)])


_RENDERERS: Final[Mapping[type, Callable[[Any], str]]] = {
    Prose: _prose,
    Callout: _callout,
    KeyFigures: _key_figures,
    Definitions: _definitions,
    Code: _code,
    Details: _details,
    Table: _table,
    Matrix: _matrix,
    BarChart: _bar_chart,
    StackedBars: _stacked_bars,
    LineChart: _line_chart,
    HeatMap: _heat_map,
    Timeline: _timeline,
}
