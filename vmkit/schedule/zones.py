"""Time zones: which names are taken, and when a wall-clock time happens.

The rules come from the `tzdata` package that vmkit depends on, never from the machine: an image with rules from
before a country changed its mind would switch machines at the wrong hour, and the same schedule has to mean the
same everywhere.

Instants are whole microseconds since 1970 UTC, days are proleptic Gregorian ordinals (`date.toordinal`), times of
day are minutes since local midnight (1440 is the midnight that ends the day, 2880 the one after).
"""

from __future__ import annotations

import difflib
import importlib.resources
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from vmkit.errors import ScheduleError

MICROSECONDS: Final = 1_000_000
MINUTE: Final = 60 * MICROSECONDS
DAY: Final = 1440 * MINUTE
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL: Final = EPOCH.toordinal()
FIRST_DAY: Final = 10
"""Days nearer to the ends of the calendar than this cannot be computed with: an offset would leave it."""
LAST_DAY: Final = date.max.toordinal() - 10

_TICK: Final = timedelta(microseconds=1)

# Names in the database that say an offset or a country's abbreviation rather than a place. Several are traps: CET
# keeps summer time there and EST does not, and people mean by either what the place does.
_ABBREVIATIONS: Final = {
    "GMT": "Europe/London (with summer time) or UTC (without)",
    "CET": "Europe/Berlin or another city",
    "MET": "Europe/Berlin or another city",
    "EET": "Europe/Helsinki or another city",
    "WET": "Europe/Lisbon or another city",
    "EST": "America/New_York (with daylight saving) or America/Panama (without)",
    "MST": "America/Denver (with daylight saving) or America/Phoenix (without)",
    "HST": "Pacific/Honolulu",
    "EST5EDT": "America/New_York",
    "CST6CDT": "America/Chicago",
    "MST7MDT": "America/Denver",
    "PST8PDT": "America/Los_Angeles",
    "GMT0": "UTC",
    "GMT+0": "UTC",
    "GMT-0": "UTC",
    "Greenwich": "Europe/London or UTC",
}
# What people write although no database has it.
_FOREIGN: Final = {
    "z": "UTC",
    "cest": "Europe/Berlin or another city",
    "bst": "Europe/London",
    "edt": "America/New_York",
    "cst": "America/Chicago or Asia/Shanghai",
    "cdt": "America/Chicago",
    "mdt": "America/Denver",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "ist": "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem",
    "jst": "Asia/Tokyo",
    "aest": "Australia/Sydney or Australia/Brisbane",
}
_MAX_NAME: Final = 64


def to_microseconds(at: datetime) -> int:
    """The instant as microseconds since 1970 UTC.

    Raises:
        ScheduleError: it names no zone or offset, so nobody can tell which instant it is.
    """
    if at.utcoffset() is None:
        raise ScheduleError(
            f"{at!r} is no instant: it has no time zone", hint="give an aware datetime, such as datetime.now(UTC)"
        )
    return (at - EPOCH) // _TICK


def from_microseconds(instant: int) -> datetime:
    """The instant as an aware datetime in UTC, which compares without the surprises of repeated hours."""
    return EPOCH + timedelta(microseconds=instant)


def utc_day(instant: int) -> int:
    """The ordinal of the UTC day that holds the instant."""
    return EPOCH_ORDINAL + instant // DAY


class Zone:
    """One time zone, by its IANA name; made by `get_zone`.

    Attributes:
        key: the name, as the database spells it.
        tzinfo: for rendering instants as local times.
    """

    __slots__ = ("_days", "_resolved", "key", "tzinfo")

    def __init__(self, key: str, tzinfo: ZoneInfo) -> None:
        self.key = key
        self.tzinfo = tzinfo
        self._days: dict[int, int | None] = {}
        self._resolved: dict[tuple[int, int, bool], int] = {}

    def __repr__(self) -> str:
        return f"Zone({self.key!r})"

    def resolve(self, day: int, minute: int, *, last: bool) -> int:
        """When the wall clock shows this time of this day.

        A time that the clock skips happens at the first instant after the gap. A time that it shows twice is the
        first showing, or the second where ``last``.

        Args:
            day: ordinal of the local day.
            minute: minutes since its midnight, 0 to 2880.
            last: which showing of a repeated time.
        """
        midnight = self._days.get(day, -1)
        if midnight == -1:
            midnight = self._read_day(day)
        if midnight is not None:
            return midnight + minute * MINUTE
        key = (day, minute, last)
        instant = self._resolved.get(key)
        if instant is None:
            if len(self._resolved) > 50_000:
                self._resolved.clear()
            instant = self._resolved[key] = self.resolve_local(
                datetime.fromordinal(day) + timedelta(minutes=minute), last=last
            )
        return instant

    def resolve_local(self, local: datetime, *, last: bool) -> int:
        """As `resolve`, for a naive local datetime."""
        naive = local.replace(tzinfo=UTC)
        before = _offset(local.replace(tzinfo=self.tzinfo, fold=0))
        after = _offset(local.replace(tzinfo=self.tzinfo, fold=1))
        if before == after:
            return to_microseconds(naive) - before
        if before > after:
            return to_microseconds(naive) - (after if last else before)
        return self._end_of_gap(to_microseconds(naive) - after, to_microseconds(naive) - before)

    def is_repeated(self, local: datetime) -> bool:
        """Whether the wall clock shows this naive local time twice."""
        return _offset(local.replace(tzinfo=self.tzinfo, fold=0)) > _offset(
            local.replace(tzinfo=self.tzinfo, fold=1)
        )

    def is_regular(self, day: int) -> bool:
        """Whether the clock runs on without a change from this day's midnight until the one after the next."""
        if day not in self._days:
            self._read_day(day)
        return self._days[day] is not None

    def local(self, instant: int) -> datetime:
        """The instant as this zone's wall clock shows it."""
        return from_microseconds(instant).astimezone(self.tzinfo)

    def _read_day(self, day: int) -> int | None:
        # A regular day is one whose clock runs on without a change until the midnight after the next, as far as
        # the windows of that day can reach. Its times need one addition; None marks the others.
        start = datetime.fromordinal(day)
        offsets = {
            _offset((start + timedelta(days=count)).replace(tzinfo=self.tzinfo, fold=fold))
            for count in (0, 1, 2)
            for fold in (0, 1)
        }
        midnight = to_microseconds(start.replace(tzinfo=UTC)) - offsets.pop() if len(offsets) == 1 else None
        if len(self._days) > 50_000:
            self._days.clear()
        self._days[day] = midnight
        return midnight

    def _end_of_gap(self, inside: int, beyond: int) -> int:
        # The clock changes once in (inside, beyond]: halve until the second in which it does.
        old = _offset(self.local(inside))
        low, high = inside // MICROSECONDS, -(-beyond // MICROSECONDS)
        while high - low > 1:
            middle = (low + high) // 2
            if _offset(self.local(middle * MICROSECONDS)) == old:
                low = middle
            else:
                high = middle
        return high * MICROSECONDS


def _offset(at: datetime) -> int:
    offset = at.utcoffset()
    assert offset is not None
    return offset // _TICK


@cache
def zone_names() -> frozenset[str]:
    """Every name in the shipped database, `Factory` left out: it stands for "nobody has set this up"."""
    text = importlib.resources.files("tzdata").joinpath("zones").read_text(encoding="ascii")
    return frozenset(text.split()) - {"Factory"}


@cache
def _names_by_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in zone_names()}


@cache
def _load(name: str) -> Zone:
    file = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with file.open("rb") as stream:
        return Zone(name, ZoneInfo.from_file(stream, key=name))


@lru_cache(maxsize=1024)
def find_zone(name: str, *, ignore_case: bool = True) -> Zone | None:
    """The zone of this name, abbreviations included; None where the database has none."""
    if len(name) > _MAX_NAME:
        return None
    known = name if name in zone_names() else None
    if known is None and ignore_case and name.isascii():
        known = _names_by_lower_case().get(name.lower())
    return _load(known) if known is not None else None


def get_zone(name: str, *, column: int | None = None) -> Zone:
    """The zone of this IANA name, in any case.

    Raises:
        ScheduleError: an abbreviation or offset instead of a place, `Local`, or a name nobody knows.
    """
    shown = name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "…"
    if name.lower() in ("local", "localtime"):
        raise ScheduleError(
            f"the time zone {shown!r} would mean whatever machine reads it",
            hint='name the place, such as "Europe/Berlin"',
            column=column,
        )
    zone = find_zone(name)
    if zone is not None and zone.key not in _ABBREVIATIONS:
        return zone
    if zone is not None:
        raise ScheduleError(
            f"{shown!r} is an abbreviation, not a place: it does not say what happens in summer",
            hint=f"write {_ABBREVIATIONS[zone.key]}",
            column=column,
        )
    raise ScheduleError(f"there is no time zone {shown!r}", hint=suggest_zone(name), column=column)


def suggest_zone(name: str) -> str:
    """A hint for a name that is no zone."""
    low = name.lower()[:_MAX_NAME]
    if low in _FOREIGN:
        return f"write {_FOREIGN[low]}"
    places = _names_by_lower_case()
    # People write the city alone more often than they misspell it.
    by_city = sorted(place for lower, place in places.items() if lower.rpartition("/")[2] == low.replace(" ", "_"))
    if by_city:
        return f'did you mean "{by_city[0]}"?'
    close = difflib.get_close_matches(low, places, n=1, cutoff=0.75)
    if close:
        return f'did you mean "{places[close[0]]}"?'
    return 'name a place of the IANA database, such as "Europe/Berlin", or "UTC"'
