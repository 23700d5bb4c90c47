"""Five-field cron expressions, as CronJobs, DataImportCrons and sync windows are written; times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_HORIZON = timedelta(days=366 * 8)
"""The longest gap a valid expression can have: 29 February around a century that is no leap year."""


class CronError(ValueError):
    """The expression is not valid; the text says which field and why."""


@dataclass(frozen=True)
class CronSchedule:
    """A parsed expression: the values allowed in each field."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    day_starred: bool
    weekday_starred: bool

    def next_after(self, at: datetime) -> datetime | None:
        """The first time after ``at`` that matches, in UTC; None if there is none (30 February)."""
        moment = at.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = moment + _HORIZON
        while moment < end:
            if moment.month not in self.months:
                first = moment.replace(day=1, hour=0, minute=0)
                moment = (first + timedelta(days=32)).replace(day=1)
            elif not self._is_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _is_day(self, moment: datetime) -> bool:
        # Cron's rule: two restricted day fields are alternatives, one restricted field decides alone.
        day = moment.day in self.days
        weekday = (moment.weekday() + 1) % 7 in self.weekdays
        if self.day_starred or self.weekday_starred:
            return day and weekday
        return day or weekday


def parse_cron(text: str) -> CronSchedule:
    """Parses a five-field expression or one of the macros (``@daily``).

    Raises:
        CronError: it is not valid.
    """
    expression = _MACROS.get(text.strip(), text.strip())
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise CronError(f"expected exactly 5 fields, found {len(parts)}: {text!r}")
    values = [_parse_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    weekdays = frozenset(value % 7 for value in values[4])
    return CronSchedule(
        minutes=values[0],
        hours=values[1],
        days=values[2],
        months=values[3],
        weekdays=weekdays,
        day_starred=parts[2].startswith(("*", "?")),
        weekday_starred=parts[4].startswith(("*", "?")),
    )


def _parse_field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    allowed: set[int] = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        step = _number(step_text, name) if slash else 1
        if step == 0:
            raise CronError(f"step of range should be a positive number in {name}: {item!r}")
        if span in ("*", "?"):
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, name)
            last = _number(last_text, name) if dash else (high if slash else first)
        if first < low or last > high or first > last:
            raise CronError(f"{name} {item!r} is not within {low} to {high}")
        allowed.update(range(first, last + 1, step))
    return frozenset(allowed)


def _number(text: str, name: str) -> int:
    lower = text.lower()
    if name == "month" and lower in _MONTHS:
        return _MONTHS.index(lower) + 1
    if name == "day of week" and lower in _DAYS:
        return _DAYS.index(lower)
    if not (text.isascii() and text.isdigit()) or len(text) > 4:
        raise CronError(f"failed to parse {name} {text!r}")
    return int(text)
