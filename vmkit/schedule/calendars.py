"""Holiday calendars: a file of dates, an iCalendar file, a country's public holidays.

Calendars are read before schedules are parsed, and handed over by name: ``except calendar(company)``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

from vmkit.errors import ScheduleError
from vmkit.schedule.days import AnyOf, Dates, Days, YearlyDays

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DAYS_OF_EVENT: Final = 366
FIRST_HOLIDAY_YEAR: Final = 2000
LAST_HOLIDAY_YEAR: Final = 2050
"""The years for which a country's holidays are worked out."""

_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_ICAL_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{6})Z?)?", re.ASCII)
_COUNTRY: Final = re.compile(r"([A-Za-z]{2})(?:-([A-Za-z0-9]{1,3}))?", re.ASCII)


def read_calendar(path: Path, *, name: str = "") -> Days:
    """Reads a calendar file: iCalendar if it begins like one, else one date or range a line.

    Args:
        path: the file.
        name: what it is called in explanations; the file's stem if empty.

    Raises:
        ScheduleError: there is no such file, it is too large, or not understood; with file and line.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScheduleError(
            f"the calendar cannot be read: {error.strerror or error}",
            hint="without it nobody knows which days are free; machines are left as they are",
            where=str(path),
        ) from error
    if len(content) > MAX_BYTES:
        raise ScheduleError(
            "the calendar is larger than 4 MiB", hint="keep only the days that count", where=str(path)
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScheduleError("the calendar is not UTF-8 text", hint="save it as UTF-8", where=str(path)) from error
    return parse_calendar(text, name=name or path.stem, where=str(path))


def parse_calendar(text: str, *, name: str = "", where: str = "") -> Days:
    """Reads a calendar's text, in either form `read_calendar` takes.

    Raises:
        ScheduleError: it is not understood; with the line.
    """
    if text.lstrip("\ufeff \t\r\n")[:15].upper() == "BEGIN:VCALENDAR":
        return _parse_ical(text, name=name, where=where)
    return _parse_dates(text, name=name, where=where)


def _parse_dates(text: str, *, name: str, where: str) -> Days:
    days: set[int] = set()
    yearly: list[Days] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        # What follows the date is its name, for people: "2026-12-24 Christmas Eve".
        word = words.split(maxsplit=1)[0].rstrip(",;")
        try:
            found = parse_day_range(word)
        except ScheduleError as error:
            raise ScheduleError(error.message, hint=error.hint, where=where, line=number, column=1) from error
        if isinstance(found, Dates):
            days |= found.days
        else:
            yearly.append(found)
    dates = Dates(frozenset(days), name)
    return AnyOf((dates, *yearly)) if yearly else dates


def parse_day_range(word: str, *, column: int = 1) -> Dates | YearlyDays:
    """Reads "2026-12-24", "2026-12-24..2027-01-01", "12-25" (every year) or "12-24..01-01".

    Raises:
        ScheduleError: no such day, a range that ends before it begins or is longer than ten years.
    """
    first_word, dots, final_word = word.partition("..")
    if _DATE.fullmatch(first_word):
        first = _date(first_word, column)
        final = _date(final_word, column + len(first_word) + 2) if dots else first
        if final < first:
            raise ScheduleError(f"{word!r} ends before it begins", hint=f'"{final}..{first}"?', column=column)
        if (final - first).days > 3660:
            raise ScheduleError(f"{word!r} is longer than ten years", hint="is the year right?", column=column)
        return Dates(frozenset(range(first.toordinal(), final.toordinal() + 1)))
    if re.fullmatch(r"[0-9]{2}-[0-9]{2}", first_word, re.ASCII):
        begin = _day_of_year(first_word, column)
        return YearlyDays(begin, _day_of_year(final_word, column + len(first_word) + 2) if dots else begin)
    raise ScheduleError(
        f"{word[:40]!r} is no day", hint='such as "2026-12-24", "12-24" or "2026-12-24..2027-01-01"', column=column
    )


def _date(word: str, column: int) -> date:
    match = _DATE.fullmatch(word)
    try:
        if match is None:
            raise ValueError
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise ScheduleError(f"{word[:40]!r} is no day", hint='such as "2026-12-24"', column=column) from None


def _day_of_year(word: str, column: int) -> tuple[int, int]:
    try:
        month, _, day = word.partition("-")
        on = date(2024, int(month), int(day))
    except ValueError:
        raise ScheduleError(
            f"{word[:40]!r} is no day of the year", hint='month and day, such as "12-24"', column=column
        ) from None
    return (on.month, on.day)


def _unfold(text: str) -> Iterator[tuple[int, str]]:
    # RFC 5545, section 3.1: a line that begins with a space continues the one before it.
    begin, held = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line[:1] in (" ", "\t") and held:
            held += line[1:]
            continue
        if held:
            yield begin, held
        begin, held = number, line
    if held:
        yield begin, held


def _parse_ical(text: str, *, name: str, where: str) -> Days:
    """The days of every event (RFC 5545): DTSTART, DTEND (exclusive), DURATION left out, and RRULE by year only.

    A yearly rule without further parts recurs on its day of the year. Any other recurrence is refused: guessing
    would put a machine off on a working day.
    """
    days: set[int] = set()
    yearly: list[Days] = []
    event: dict[str, tuple[int, str, str]] | None = None
    closed = False
    for number, line in _unfold(text):
        head, _, value = line.partition(":")
        key, _, parameters = head.partition(";")
        key, value = key.strip().upper(), value.strip()
        if key == "BEGIN" and value.upper() == "VEVENT":
            event = {}
        elif key == "END" and value.upper() == "VCALENDAR":
            closed = True
        elif key == "END" and value.upper() == "VEVENT" and event is not None:
            single, repeated = _ical_event(event, number, where)
            days |= single
            if repeated is not None:
                yearly.append(repeated)
            event = None
        elif event is not None:
            event[key] = (number, parameters.upper(), value)
    if not closed:
        raise ScheduleError(
            "the calendar breaks off: END:VCALENDAR is missing", hint="fetch it again", where=where
        )
    dates = Dates(frozenset(days), name)
    return AnyOf((dates, *yearly)) if yearly else dates


def _ical_event(
    event: dict[str, tuple[int, str, str]], number: int, where: str
) -> tuple[frozenset[int], YearlyDays | None]:
    if event.get("STATUS", (0, "", ""))[2].upper() == "CANCELLED":
        return frozenset(), None
    if "DTSTART" not in event:
        raise ScheduleError("an event without DTSTART", hint="give it a day", where=where, line=number)
    first, _ = _ical_day(event["DTSTART"], where)
    final = first
    if "DTEND" in event:
        end, at_midnight = _ical_day(event["DTEND"], where)
        final = max(first, end - timedelta(days=1) if at_midnight else end)
    elif "DURATION" in event:
        line, _, value = event["DURATION"]
        match = re.fullmatch(r"\+?P([0-9]{1,3})([DW])", value, re.ASCII)
        if match is None:
            raise ScheduleError(
                f"the duration {value[:40]!r} is not one of whole days",
                hint='such as "P1D"', where=where, line=line,
            )  # fmt: skip
        final = first + timedelta(days=max(1, int(match[1]) * (7 if match[2] == "W" else 1)) - 1)
    if (final - first).days > MAX_DAYS_OF_EVENT:
        raise ScheduleError("an event longer than a year", hint="is DTEND right?", where=where, line=number)
    if "RDATE" in event or "EXDATE" in event:
        raise ScheduleError(
            "RDATE and EXDATE are not understood", hint="write single events", where=where, line=number
        )
    if "RRULE" in event:
        line, _, rule = event["RRULE"]
        parts = {part.upper() for part in rule.split(";") if part}
        extra = {
            "INTERVAL=1",
            f"BYMONTH={first.month}",
            f"BYMONTHDAY={first.day}",
        }
        if "FREQ=YEARLY" not in parts or not parts - {"FREQ=YEARLY"} <= extra:
            raise ScheduleError(
                f"the recurrence {rule[:60]!r} is not understood",
                hint="export the calendar with single events, or use plain FREQ=YEARLY",
                where=where,
                line=line,
            )
        return frozenset(), YearlyDays((first.month, first.day), (final.month, final.day))
    return frozenset(range(first.toordinal(), final.toordinal() + 1)), None


def _ical_day(entry: tuple[int, str, str], where: str) -> tuple[date, bool]:
    """The day, and whether it is meant from its beginning."""
    line, _, value = entry
    match = _ICAL_DATE.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        on = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise ScheduleError(
            f"{value[:40]!r} is no day of iCalendar", hint='such as "20261224"', where=where, line=line
        ) from None
    return on, match[4] is None or match[4] == "000000"


@lru_cache(maxsize=64)
def country_holidays(code: str, *, column: int | None = None) -> Dates:
    """The public holidays of a country ("DE") or a part of one ("DE-BY"), from 2000 to 2050.

    Needs the `holidays` package, which vmkit's extra of that name brings.

    Raises:
        ScheduleError: no such country or part, or the package is not there.
    """
    match = _COUNTRY.fullmatch(code)
    if match is None:
        raise ScheduleError(
            f"{code[:20]!r} is no country",
            hint='its two letters, and a part after "-": "DE" or "DE-BY"',
            column=column,
        )
    try:
        package = importlib.import_module("holidays")
    except ImportError as error:
        raise ScheduleError(
            f"the holidays of {code} need a package that is not there",
            hint="install vmkit[holidays], or name a calendar file",
            column=column,
        ) from error
    try:
        found = package.country_holidays(
            match[1].upper(),
            subdiv=match[2].upper() if match[2] else None,
            years=range(FIRST_HOLIDAY_YEAR, LAST_HOLIDAY_YEAR + 1),
        )
    except NotImplementedError as error:
        raise ScheduleError(
            f"nobody has written down the holidays of {code}", hint="name a calendar file instead", column=column
        ) from error
    return Dates(
        frozenset(on.toordinal() for on in cast("Iterable[date | datetime]", found)), f"holidays({code.upper()})"
    )
