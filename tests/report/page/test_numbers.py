from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.report.page.numbers import (
    count_days,
    format_hours,
    format_instant,
    format_number,
    format_share,
    nice_ceiling,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (1.0, "1"), (0.0123, "0.0123"), (0.5, "0.5"), (4.567, "4.57"), (12.34, "12.3"),
        (99.96, "100"), (123.4, "123"), (1234.5, "1,234"), (12345678, "12,345,678"), (-4.5, "-4.5"),
        (float("nan"), "–"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_three_digits_count(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (0.0004, "< 0.1 %"), (0.004, "0.4 %"), (0.37, "37 %"), (0.999, "> 99 %"), (1, "100 %"),
        (0.0996, "10 %"), (0.995, "> 99 %"), (0.994, "99 %"),
    ],
)  # fmt: skip
def test_only_all_is_all_and_only_nothing_is_nothing(share: float, text: str) -> None:
    assert format_share(share) == text


def test_hours_instants_and_days_read_well() -> None:
    assert [format_hours(hours) for hours in (0, 0.2, 3.5, 1240)] == ["0 h", "12 min", "3.5 h", "1,240 h"]
    assert format_instant(datetime(2026, 3, 2, 9, 5, tzinfo=UTC)) == "2 March 2026, 09:05 UTC"
    assert [count_days(timedelta(hours=hours)) for hours in (24, 36, 336)] == ["1 day", "1.5 days", "14 days"]


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_an_axis_ends_a_little_above_what_it_shows(value: float) -> None:
    top = nice_ceiling(value)
    assert value <= top * (1 + 1e-9)
    assert top <= value * 2.5
