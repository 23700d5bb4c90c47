"""From a schedule's text to its value. Parsing the same text again costs a look into a table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from vmkit.errors import ScheduleError
from vmkit.schedule.days import Days
from vmkit.schedule.dialects import DIALECTS, parse_dialect
from vmkit.schedule.drafts import Defaults
from vmkit.schedule.grammar import parse_own, parse_weekdays
from vmkit.schedule.model import Schedule
from vmkit.schedule.scan import check_size
from vmkit.schedule.zones import find_zone, get_zone


def parse_schedule(
    text: str,
    timezone: str | None = None,
    weekdays: str | None = None,
    dialect: str | None = None,
    *,
    calendars: Mapping[str, Days] | None = None,
) -> Schedule:
    """Reads when a machine should run; docs/schedules.md tells the grammar.

    Args:
        text: such as "Mon-Fri 08:00-18:00 Europe/Berlin".
        timezone: the IANA name of the zone for schedules that name none. Without it those are errors.
        weekdays: the days of rules that name none, such as "Mon-Fri". Without it: every day in vmkit's own
            grammar, an error in the dialects.
        dialect: None for vmkit's own grammar; "python" or "go" for that of the downscaler written in it.
        calendars: for ``calendar(NAME)``, from `read_calendar`.

    Raises:
        ScheduleError: with the column (from 1) of what is not understood, and what may have been meant.
    """
    key = tuple(sorted(calendars.items())) if calendars else ()
    for option in (timezone, weekdays, dialect):
        if option is not None and not isinstance(option, str):
            raise ScheduleError(f"{option!r} is no text")
    return _parse(check_size(text), timezone, weekdays, dialect, key)


@lru_cache(maxsize=16_384)
def _parse(
    text: str,
    timezone: str | None,
    weekdays: str | None,
    dialect: str | None,
    calendars: tuple[tuple[str, Days], ...],
) -> Schedule:
    if dialect is not None and dialect not in DIALECTS:
        raise ScheduleError(f"there is no dialect {dialect[:40]!r}", hint='"python" or "go"; none is vmkit\'s own')
    zone = None
    if timezone is not None:
        # The downscalers take abbreviations as a default too; what they would do is what the dialect does.
        zone = find_zone(timezone) if dialect is not None else None
        zone = zone or get_zone(timezone)
    defaults = Defaults(zone, None if weekdays is None else parse_weekdays(weekdays), dict(calendars))
    if dialect is None:
        return parse_own(text, defaults)
    return parse_dialect(text, dialect, defaults)
