"""What pictures say to those who do not see them, and in Markdown: the same numbers in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vmkit.report.page.blocks import Bar, BarChart, HeatMap, StackedBars, Stretch, Table, TableColumn, Tone
from vmkit.report.page.numbers import MISSING, format_number, format_share, format_with_unit

_TONES = {
    Tone.NEUTRAL: "Note",
    Tone.GOOD: "Good",
    Tone.NOTE: "Note",
    Tone.WARNING: "Warning",
    Tone.BAD: "Problem",
}


def tone_word(tone: Tone) -> str:
    """What a tone says in a word."""
    return _TONES[tone]


def bar_text(bar: Bar, chart: BarChart) -> str:
    """The number of a bar."""
    return bar.text or format_with_unit(bar.value, chart.unit)


def describe_parts(chart: StackedBars, values: Sequence[float]) -> str:
    """The parts of one bar: "web: used 3 GB, spare 1 GB"."""
    return ", ".join(
        f"{part} {format_with_unit(value, chart.unit)}" for part, value in zip(chart.parts, values, strict=True)
    )


def parts_table(chart: StackedBars) -> Table:
    """The numbers of stacked bars."""
    heads = [TableColumn(f"{part} ({chart.unit})" if chart.unit else part, numeric=True) for part in chart.parts]
    rows = tuple((label, *(format_number(value) for value in values)) for label, values in chart.rows)
    return Table(chart.title, (TableColumn(""), *heads), rows)


def describe_stretches(stretches: Sequence[Stretch], kinds: Sequence[str]) -> str:
    """How much of a row is of each kind: "in use 40 %, stopped 60 %"."""
    shares = [0.0] * len(kinds)
    for each in stretches:
        shares[each.kind] += max(0.0, each.end - each.start)
    said = [f"{kind} {format_share(share)}" for kind, share in zip(kinds, shares, strict=True) if share > 0]
    return ", ".join(said) or "nothing"


def most_of(chart: HeatMap) -> float:
    """The value that is darkest."""
    if chart.most is not None:
        return chart.most
    known = [value for _, values in chart.rows for value in values if value is not None and math.isfinite(value)]
    return max(known, default=0.0)


def describe_heat(chart: HeatMap, values: Sequence[float | None]) -> str:
    """A row of a heat map: where it is most, and where least."""
    known = [(value, index) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
    if not known:
        return "not known"
    most, least = max(known, key=lambda each: (each[0], -each[1])), min(known)
    if most[0] == least[0]:
        return f"always {format_with_unit(most[0], chart.unit)}"
    return (
        f"most at {_named(chart, most[1])} ({format_with_unit(most[0], chart.unit)}), "
        f"least at {_named(chart, least[1])} ({format_with_unit(least[0], chart.unit)})"
    )


def heat_tip(chart: HeatMap, label: str, index: int, value: float | None) -> str:
    """One cell of a heat map."""
    known = value is not None and math.isfinite(value)
    number = format_with_unit(value, chart.unit) if known and value is not None else "not known"
    return f"{label} {_named(chart, index)}: {number}"


def heat_cell(value: float | None) -> str:
    """One cell of a heat map in a table."""
    return MISSING if value is None else format_number(value)


def _named(chart: HeatMap, index: int) -> str:
    for back in range(index, -1, -1):
        if chart.columns[back]:
            steps = index - back
            return chart.columns[back] if not steps else f"{chart.columns[back]} + {steps}"
    return str(index + 1)
