"""Holiday calendars: files of dates, iCalendar, countries."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from vmkit.errors import ScheduleError
from vmkit.schedule.calendars import country_holidays, parse_calendar, read_calendar

ICAL = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:a long name that is folded over
  two lines
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260501
END:VEVENT
BEGIN:VEVENT
DTSTART:20260601T080000Z
DTEND:20260601T120000Z
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260701
DURATION:P1W
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20201003
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260801
STATUS:CANCELLED
END:VEVENT
END:VCALENDAR
"""


def on(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def test_a_file_has_a_date_or_range_a_line() -> None:
    days = parse_calendar(
        "# closed\n2026-12-24 Christmas Eve\n\n2026-12-28..2026-12-30\n05-01  # Labour Day\n12-31..01-02\n"
    )
    closed = ["2026-12-24", "2026-12-29", "2026-05-01", "2031-05-01", "2026-12-31", "2027-01-02"]
    assert all(on(day) in days for day in closed)
    assert not any(on(day) in days for day in ("2026-12-25", "2027-12-24", "2026-05-02", "2026-01-03"))


def test_events_cover_whole_days_and_end_before_dtend() -> None:
    days = parse_calendar(ICAL)
    closed = [
        "2026-12-24",
        "2026-12-26",
        "2026-05-01",
        "2026-06-01",
        "2026-07-01",
        "2026-07-07",
        "2026-10-03",
        "2035-10-03",
    ]
    assert all(on(day) in days for day in closed)
    assert not any(
        on(day) in days for day in ("2026-12-27", "2026-05-02", "2026-06-02", "2026-07-08", "2026-08-01")
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RRULE:FREQ=WEEKLY", "recurrence"),
        ("RRULE:FREQ=YEARLY;BYDAY=1MO;BYMONTH=9", "recurrence"),
        ("RRULE:FREQ=YEARLY;UNTIL=20300101", "recurrence"),
        ("RDATE:20260101", "RDATE"),
        ("EXDATE:20260101", "RDATE"),
        ("DTEND:tomorrow", "no day"),
        ("DTEND;VALUE=DATE:20990101", "longer than a year"),
        ("DURATION:PT1H", "whole days"),
    ],
)
def test_what_is_not_understood_in_an_icalendar_is_refused(line: str, said: str) -> None:
    text = f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260501\n{line}\nEND:VEVENT\nEND:VCALENDAR\n"
    with pytest.raises(ScheduleError, match=said) as caught:
        parse_calendar(text, where="free.ics")
    assert caught.value.where == "free.ics"
    assert caught.value.line in (4, 5)


def test_a_calendar_that_breaks_off_is_refused() -> None:
    with pytest.raises(ScheduleError, match="breaks off"):
        parse_calendar(ICAL[:200])


@pytest.mark.parametrize(
    "line", ["2026-02-30", "Christmas", "2026-12-24..2026-12-20", "02-30", "2026-01-01..2099-01-01"]
)
def test_a_bad_line_is_named(line: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_calendar(f"2026-01-01\n{line}\n", where="free.txt")
    assert (caught.value.line, caught.value.where) == (2, "free.txt")


def test_a_file_that_is_not_there_is_an_error_not_an_empty_calendar(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="cannot be read") as caught:
        read_calendar(tmp_path / "gone.txt")
    assert caught.value.where.endswith("gone.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScheduleError, match="UTF-8"):
        read_calendar(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ScheduleError, match="larger"):
        read_calendar(tmp_path / "huge")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "free.txt").write_bytes("\ufeff2026-05-01\r\n".encode())
    assert on("2026-05-01") in read_calendar(tmp_path / "free.txt")
    (tmp_path / "free.ics").write_text(ICAL.replace("\n", "\r\n"), encoding="utf-8")
    assert on("2026-05-01") in read_calendar(tmp_path / "free.ics")


def test_countries_and_their_parts() -> None:
    assert on("2026-10-03") in country_holidays("DE")
    assert on("2026-08-15") in country_holidays("de-by") or on("2026-01-06") in country_holidays("de-by")
    assert on("2026-01-06") not in country_holidays("DE")
