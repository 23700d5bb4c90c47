"""Where schedules are written, which of them holds, and what else was asked for.

Four scopes, nearest first: the VM's annotations, its namespace's, the config file, the default. What belongs
together is taken from one scope as a group: hours on the VM are never mixed with a time zone on its namespace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from vmkit.errors import InputError, ScheduleError
from vmkit.schedule.days import Days
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.timetable import Timetable
from vmkit.units import parse_duration

SCHEDULE: Final = "vmkit.io/schedule"
"""When the VM should run; "none" says that no schedule holds, whatever wider scopes say."""
DOWNTIME: Final = "vmkit.io/downtime"
"""When it should be off: the other way to say it."""
TIMEZONE: Final = "vmkit.io/timezone"
WEEKDAYS: Final = "vmkit.io/weekdays"
FORCE_UPTIME: Final = "vmkit.io/force-uptime"
FORCE_DOWNTIME: Final = "vmkit.io/force-downtime"
"""These two: "true", "false", or a schedule in which it is so."""
EXCLUDE: Final = "vmkit.io/exclude"
"""Schedules leave the VM alone: "true", "false", or a schedule in which it is so."""
EXCLUDE_UNTIL: Final = "vmkit.io/exclude-until"
KEEP_UP_UNTIL: Final = "vmkit.io/keep-up-until"
KEEP_DOWN_UNTIL: Final = "vmkit.io/keep-down-until"
SKIP_NEXT: Final = "vmkit.io/skip-next"
"""These four: an instant, such as "2026-02-05T18:00:00Z"; skip-next names the transition that is left out."""
START: Final = "vmkit.io/start"
""""stopped" (the default): a start transition starts what vmkit itself stopped; "always": whatever is stopped."""
RESTART_SAFE: Final = "vmkit.io/restart-safe"
WARN_BEFORE_STOP: Final = "vmkit.io/warn-before-stop"
GRACE_PERIOD: Final = "vmkit.io/grace-period"
"""These two: a duration, such as "15m"."""
LAST_ACTION: Final = "vmkit.io/last-action"
"""Annotation: what was last done to the VM, when and why, for people."""

_T = TypeVar("_T")

_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "schedule": (SCHEDULE, DOWNTIME, TIMEZONE, WEEKDAYS),
    "force": (FORCE_UPTIME, FORCE_DOWNTIME),
    "exclude": (EXCLUDE,),
    "start": (START,),
    "restart-safe": (RESTART_SAFE,),
    "warn": (WARN_BEFORE_STOP,),
    "grace": (GRACE_PERIOD,),
}
_ON_THE_VM_ONLY: Final = (KEEP_UP_UNTIL, KEEP_DOWN_UNTIL, SKIP_NEXT)
_LONGEST: Final = timedelta(days=7)


class Scope(StrEnum):
    """Where something is written, nearest first."""

    VM = "vm"
    NAMESPACE = "namespace"
    CONFIG = "config"
    DEFAULT = "default"


_DISTANCES: Final[Mapping[Scope, int]] = {scope: distance for distance, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Source:
    """The annotations of one scope, or the settings of a config file under the same names.

    Attributes:
        scope: which.
        where: the object or file, for people: "VirtualMachine shop/web-1".
        values: the annotations; those vmkit does not know are ignored.
    """

    scope: Scope
    where: str
    values: Mapping[str, str]

    def distance(self) -> int:
        """How far from the VM it is; what is nearer wins."""
        return _DISTANCES[self.scope]


@dataclass(frozen=True, slots=True)
class Origin:
    """What decided: the scope, the object or file, the annotations and the text."""

    scope: Scope
    where: str
    keys: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An annotation that is not understood. Where one bears on a VM, the VM is left alone."""

    origin: Origin
    error: InputError

    def __str__(self) -> str:
        return f"{self.origin.keys[0]} on {self.origin.where}: {self.error.message}"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where no scope says otherwise.

    Attributes:
        timezone: for schedules that name none, in any scope.
        weekdays: likewise.
        grace: for how long a new VM is left alone; kube-downscaler's 15 minutes.
        warn: how long before a stop people are told; zero is never.
        calendars: the calendars there are, by name.
        honour_downscaler: None, or the dialect in which downscaler annotations are obeyed.
    """

    timezone: str | None = None
    weekdays: str | None = None
    grace: timedelta = timedelta(minutes=15)
    warn: timedelta = timedelta()
    calendars: Mapping[str, Days] = field(default_factory=dict)
    honour_downscaler: str | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds for one VM.

    Attributes:
        timetable: when it should run; None where nothing is scheduled.
        origin: what decided that.
        force_up, force_down: when it is forced; None where nothing is said.
        force_origin, exclude_origin: what decided those.
        exclude: when schedules leave it alone.
        exclude_until, keep_up_until, keep_down_until, skip_next: instants, or None.
        start_always: whether start transitions start what a person stopped.
        restart_safe: whether the VM says that losing what is not on its disks is fine.
        warn, grace: see `Defaults`.
        problems: annotations that are not understood and bear on this VM.
        fingerprint: of the words that decide; where it changes, the history starts anew.
        disregarded: downscaler annotations that are there and not honoured.
    """

    timetable: Timetable | None = None
    origin: Origin | None = None
    force_up: Timetable | None = None
    force_down: Timetable | None = None
    force_origin: Origin | None = None
    exclude: Timetable | None = None
    exclude_origin: Origin | None = None
    exclude_until: datetime | None = None
    keep_up_until: datetime | None = None
    keep_down_until: datetime | None = None
    skip_next: datetime | None = None
    start_always: bool = False
    restart_safe: bool = False
    warn: timedelta = timedelta()
    grace: timedelta = timedelta()
    problems: tuple[Problem, ...] = ()
    fingerprint: str = ""
    disregarded: tuple[str, ...] = ()


def resolve_own(sources: Iterable[Source], defaults: Defaults) -> Effective:
    """What vmkit's own annotations say, by the precedence of this module's first lines.

    Never raises: what is not understood is among the problems.
    """
    resolver = _Resolver(sorted(sources, key=Source.distance), defaults)
    return resolver.resolve()


def fingerprint(*words: str | None) -> str:
    """A short digest by which a change of words is noticed."""
    joined = "\x00".join("" if word is None else word for word in words)
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def parse_instant(text: str) -> datetime:
    """Reads "2026-02-05T18:00:00Z" or with an offset.

    Raises:
        ScheduleError: anything else, also a time that names no zone.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise ScheduleError(f"{text[:40]!r} is no instant", hint='such as "2026-02-05T18:00:00Z"')
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ScheduleError(f"{text[:40]!r} is beyond the calendar", hint="is the year right?") from None


def parse_switch(text: str, defaults: Defaults) -> Timetable:
    """Reads "true", "false", or a schedule in which it is so.

    Raises:
        ScheduleError: none of these.
    """
    word = {"true": "always", "false": "never"}.get(text.strip().lower(), text)
    return parse_schedule(word, defaults.timezone, defaults.weekdays, calendars=defaults.calendars)


class _Resolver:
    def __init__(self, sources: list[Source], defaults: Defaults) -> None:
        self.sources = sources
        self.defaults = defaults
        self.problems: list[Problem] = []

    def resolve(self) -> Effective:
        timetable, origin, digest = self._schedule()
        up, down, force_origin = self._force()
        exclude, exclude_origin = None, None
        if (excluding := self._group("exclude")) is not None:
            exclude_origin = excluding[1]
            exclude = self._read(
                exclude_origin, lambda text: parse_switch(text, self.defaults), excluding[0].values[EXCLUDE]
            )
        start, safe = (
            self._word("start", START, ("stopped", "always")),
            self._word("restart-safe", RESTART_SAFE, ("false", "true")),
        )
        own = {key: self._instant(key) for key in _ON_THE_VM_ONLY}
        return Effective(
            timetable=timetable,
            origin=origin,
            force_up=up,
            force_down=down,
            force_origin=force_origin,
            exclude=exclude,
            exclude_origin=exclude_origin,
            exclude_until=self._latest_exclusion(),
            keep_up_until=own[KEEP_UP_UNTIL],
            keep_down_until=own[KEEP_DOWN_UNTIL],
            skip_next=own[SKIP_NEXT],
            start_always=start == "always",
            restart_safe=safe == "true",
            warn=self._duration("warn", WARN_BEFORE_STOP, self.defaults.warn),
            grace=self._duration("grace", GRACE_PERIOD, self.defaults.grace),
            problems=tuple(self.problems),
            fingerprint=digest,
        )

    def _group(self, name: str) -> tuple[Source, Origin] | None:
        keys = _GROUPS[name]
        for source in self.sources:
            found = tuple(key for key in keys if key in source.values)
            if found:
                return source, Origin(source.scope, source.where, found, source.values[found[0]])
        return None

    def _schedule(self) -> tuple[Timetable | None, Origin | None, str]:
        found = self._group("schedule")
        if found is None:
            return None, None, ""
        values, origin = found[0].values, found[1]
        text, downtime = values.get(SCHEDULE), values.get(DOWNTIME)
        timezone, weekdays = (
            values.get(TIMEZONE, self.defaults.timezone),
            values.get(WEEKDAYS, self.defaults.weekdays),
        )
        if (text is None) == (downtime is None):
            twice = f"{SCHEDULE} and {DOWNTIME} say it twice"
            error = ScheduleError(
                twice if text is not None else f"there is no {SCHEDULE} beside it",
                hint=f"keep one of {SCHEDULE} and {DOWNTIME}",
            )
            self.problems.append(Problem(origin, error))
            return None, origin, ""
        if text is not None and text.strip().lower() == "none":
            return None, origin, fingerprint("none")
        words = text if text is not None else downtime or ""

        def read(words: str) -> Timetable:
            schedule = parse_schedule(words, timezone, weekdays, calendars=self.defaults.calendars)
            return schedule if text is not None else schedule.as_downtime()

        digest = fingerprint("up" if text is not None else "down", words, timezone, weekdays)
        return self._read(origin, read, words), origin, digest

    def _force(self) -> tuple[Timetable | None, Timetable | None, Origin | None]:
        found = self._group("force")
        if found is None:
            return None, None, None
        source, origin = found
        read = [
            self._read(origin, lambda text: parse_switch(text, self.defaults), source.values[key])
            if key in source.values
            else None
            for key in _GROUPS["force"]
        ]
        return read[0], read[1], origin

    def _latest_exclusion(self) -> datetime | None:
        # Any scope's counts: each of them was somebody asking for peace until then.
        found = [
            self._read(Origin(source.scope, source.where, (EXCLUDE_UNTIL,), text), parse_instant, text)
            for source in self.sources
            if (text := source.values.get(EXCLUDE_UNTIL)) is not None
        ]
        return max((at for at in found if at is not None), default=None)

    def _instant(self, key: str) -> datetime | None:
        for source in self.sources:
            if source.scope is Scope.VM and key in source.values:
                text = source.values[key]
                return self._read(Origin(source.scope, source.where, (key,), text), parse_instant, text)
        return None

    def _word(self, group: str, key: str, words: tuple[str, ...]) -> str:
        found = self._group(group)
        if found is None:
            return words[0]
        text = found[0].values[key].strip().lower()
        if text in words:
            return text
        hint = " or ".join(f'"{word}"' for word in words)
        self.problems.append(
            Problem(found[1], ScheduleError(f"{text[:40]!r} is not understood", hint=f"write {hint}"))
        )
        return words[0]

    def _duration(self, group: str, key: str, default: timedelta) -> timedelta:
        found = self._group(group)
        if found is None:
            return default
        duration = self._read(found[1], parse_duration, found[0].values[key])
        if duration is not None and duration > _LONGEST:
            self.problems.append(Problem(found[1], ScheduleError("longer than a week", hint="give at most 7d")))
        return duration if duration is not None else default

    def _read(self, origin: Origin, parse: Callable[[str], _T], text: str) -> _T | None:
        try:
            return parse(text)
        except InputError as error:
            self.problems.append(Problem(origin, error))
            return None
