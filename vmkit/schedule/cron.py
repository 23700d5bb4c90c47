"""The five fields of cron: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from typing import Final

from vmkit.errors import ScheduleError
from vmkit.schedule.days import CronDays

MAX_EDGES_A_DAY: Final = 24
"""A machine that is started or stopped more often than hourly is a mistake in the minute field."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SUNDAY_FIRST: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART: Final = re.compile(r"(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of week", 0, 7, _SUNDAY_FIRST, 0),
)


def parse_cron(text: str, *, column: int = 1) -> tuple[CronDays, tuple[int, ...]]:
    """Reads "0 8 * * 1-5" as days and minutes since their midnight.

    Names of days and months, ranges, lists and steps, as in crontab(5); Sunday is 0 or 7.

    Args:
        text: five fields.
        column: where the text begins, for errors.

    Raises:
        ScheduleError: not five fields, a field out of range, a day that no year has, or over 24 times a day.
    """
    fields = [(match[0].lower(), column + match.start()) for match in re.finditer(r"\S+", text)]
    if text.lstrip().startswith("@"):
        raise ScheduleError(
            f"{text.strip()[:40]!r} is not five cron fields",
            hint='write it out, such as "0 8 * * *"',
            column=column,
        )
    if len(fields) != 5:
        raise ScheduleError(
            f"a cron expression has five fields, this has {len(fields)}",
            hint='minute, hour, day of month, month, day of week: "0 8 * * 1-5"',
            column=column,
        )
    minutes, hours, month_days, months, weekdays = (
        _parse_field(word, field, at) for (word, at), field in zip(fields, _FIELDS, strict=True)
    )
    # "*/2" restricts the days, although cron calls it a star; only a bare "*" leaves them open.
    by_date = None if fields[2][0] == "*" else sum(1 << day for day in month_days)
    by_weekday = (
        None if fields[4][0] == "*" else sum(1 << weekday for weekday in {(day + 6) % 7 for day in weekdays})
    )
    if by_date is not None and by_weekday is None:
        longest = max(calendar.monthrange(2024, month)[1] for month in months)
        if min(month_days) > longest:
            raise ScheduleError(
                "no year has such a day", hint="look at day of month and month", column=fields[2][1]
            )
    times = tuple(sorted(hour * 60 + minute for hour in hours for minute in minutes))
    if len(times) > MAX_EDGES_A_DAY:
        raise ScheduleError(
            f"this asks for {len(times)} times a day; at most {MAX_EDGES_A_DAY} make sense for a machine",
            hint='give the minute and the hour, such as "0 8 * * 1-5"',
            column=fields[0][1],
        )
    return CronDays(sum(1 << month for month in months), by_date, by_weekday), times


def _parse_field(word: str, field: _Field, column: int) -> frozenset[int]:
    found: set[int] = set()
    offset = column
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ScheduleError(
                f"{part[:20]!r} is no {field.name} of cron",
                hint='such as "5", "1-5", "1,3" or "*/2"',
                column=offset,
            )
        star, first_word, final_word, step_word = match.groups()
        if star:
            first, final = field.low, min(field.high, 6) if field.name == "day of week" else field.high
        else:
            first = _number(first_word, field, offset)
            final = _number(final_word, field, offset) if final_word else field.high if step_word else first
        step = int(step_word) if step_word else 1
        if field.name == "day of week" and final < first and final == 0:
            final = 7  # "fri-sun"
        if step == 0 or final < first:
            raise ScheduleError(
                f"{part[:20]!r} is no {field.name} of cron",
                hint="a step is at least 1" if step == 0 else "a range goes upwards",
                column=offset,
            )
        found.update(range(first, final + 1, step))
        offset += len(part) + 1
    return frozenset(found)


def _number(word: str, field: _Field, column: int) -> int:
    if word in field.words:
        return field.words.index(word) + field.first_word
    if word.isdecimal() and field.low <= int(word) <= field.high:
        return int(word)
    raise ScheduleError(
        f"{word!r} is no {field.name}", hint=f"it goes from {field.low} to {field.high}", column=column
    )
