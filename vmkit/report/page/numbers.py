"""How numbers look in reports."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

MISSING = "–"
"""What stands where nobody knows."""


def format_number(value: float) -> str:
    """Three digits that count, thousands apart: 0.0123, 4.5, 1,230, 12,345,678; "–" for what is no number."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    places = max(0, 2 - math.floor(math.log10(size)))
    text = f"{value:.{min(places, 12)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def format_with_unit(value: float, unit: str) -> str:
    """The number with its unit behind it: "12 kWh", "45 %", "7"."""
    return f"{format_number(value)} {unit}" if unit else format_number(value)


def format_share(share: float) -> str:
    """A share of 0 to 1 in percent: "0.4 %", "37 %"; 0 and 100 only for what is exactly that."""
    percent = share * 100
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 0 < percent < 9.95:
        return f"{percent:.1f} %"
    if 99.5 <= percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %"


def format_instant(at: datetime) -> str:
    """A moment for people, to the minute, with its zone: "23 November 2026, 18:05 UTC"."""
    return f"{at.day} {at:%B %Y, %H:%M} {at.tzname() or ''}".rstrip()


def format_hours(hours: float) -> str:
    """Hours as people say them: "12 min", "3.5 h", "1,240 h"."""
    if 0 < hours < 1:
        return f"{format_number(round(hours * 60))} min"
    return f"{format_number(hours)} h"


def nice_ceiling(value: float) -> float:
    """The next value from 1, 2, 2.5, 5 times a power of ten: where an axis ends."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    base = 10.0 ** math.floor(math.log10(value))
    for step in (1, 2, 2.5, 5, 10):
        if value <= step * base * (1 + 1e-9):
            return step * base
    return 10 * base


def count_days(span: timedelta) -> str:
    """A lookback in days: "14 days", "1 day", "1.5 days"."""
    days = span / timedelta(days=1)
    return f"{format_number(days)} {'day' if days == 1 else 'days'}"
