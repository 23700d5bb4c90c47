"""The annotations of the two kube-downscalers, with the meaning each gives them.

Nothing here counts until somebody asks for it by dialect: namespaces annotated for a downscaler are full of VMs
that it never touched. Where vmkit's own annotations say something on the VM or its namespace, they win.

The Python tool takes each value from the nearest scope that has it, so uptime on a namespace and downtime on the
VM count together; the Go tool takes all four from the nearest scope that has any. A value that is not understood
makes vmkit leave the VM alone in either, also where the tool itself would have gone on.

Sources: the behaviour of py-kube-downscaler 26.4.0 and GoKubeDownscaler 1.3.4, and their documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from vmkit.errors import InputError, ScheduleError
from vmkit.schedule.compose import Periods, UpWithoutDown
from vmkit.schedule.model import Schedule
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.sources import (
    Defaults,
    Effective,
    Origin,
    Problem,
    Scope,
    Source,
    fingerprint,
    parse_instant,
    resolve_own,
)
from vmkit.schedule.timetable import Timetable
from vmkit.units import parse_duration

PREFIX: Final = "downscaler/"
_HOURS: Final = ("uptime", "downtime")
_PERIODS: Final = ("upscale-period", "downscale-period")
_REPLICAS: Final = {"python": "downtime-replicas", "go": "downscale-replicas"}
_PY_UNTIL: Final = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_T = TypeVar("_T")


def resolve_sources(sources: Iterable[Source], defaults: Defaults) -> Effective:
    """What holds for a VM: vmkit's own annotations and, where honoured, a downscaler's.

    Never raises: what is not understood is among the problems, and then the VM is to be left alone.

    Args:
        sources: the VM's annotations, its namespace's, the config file, the default; any may be missing.
        defaults: what holds where none says otherwise.
    """
    given = list(sources)
    own = resolve_own(given, defaults)
    theirs = [source for source in given if source.scope in (Scope.VM, Scope.NAMESPACE)]
    if defaults.honour_downscaler is None:
        found = sorted({key for source in theirs for key in source.values if key.startswith(PREFIX)})
        return replace(own, disregarded=tuple(found)) if found else own
    other = _Reader(theirs, defaults, defaults.honour_downscaler).resolve()
    near = own.origin is not None and own.origin.scope in (Scope.VM, Scope.NAMESPACE)
    by_downscaler = other.origin is not None and not near
    untils = [at for at in (own.exclude_until, other.exclude_until) if at is not None]
    force, exclude = (own if own.force_origin else other), (own if own.exclude_origin else other)
    return replace(
        own,
        timetable=other.timetable if by_downscaler else own.timetable,
        origin=other.origin if by_downscaler else own.origin,
        fingerprint=other.fingerprint if by_downscaler else own.fingerprint,
        force_up=force.force_up,
        force_down=force.force_down,
        force_origin=force.force_origin,
        exclude=exclude.exclude,
        exclude_origin=exclude.exclude_origin,
        exclude_until=max(untils, default=None),
        grace=other.grace if other.grace != defaults.grace and own.grace == defaults.grace else own.grace,
        problems=own.problems + other.problems,
    )


class _Reader:
    def __init__(self, sources: Iterable[Source], defaults: Defaults, dialect: str) -> None:
        self.sources = sorted(sources, key=Source.distance)
        self.defaults = defaults
        self.dialect = dialect
        self.problems: list[Problem] = []

    def resolve(self) -> Effective:
        timetable, origin = self._python_hours() if self.dialect == "python" else self._go_hours()
        force = self._force()
        exclude = self._exclude()
        until = [
            at
            for source in self.sources
            if (text := source.values.get(PREFIX + "exclude-until")) is not None
            and (at := self._read(self._origin(source, "exclude-until"), self._until, text)) is not None
        ]
        return Effective(
            timetable=timetable,
            origin=origin,
            force_up=force[0],
            force_down=force[1],
            force_origin=force[2],
            exclude=exclude[0],
            exclude_origin=exclude[1],
            exclude_until=max(until, default=None),
            grace=self._grace(),
            problems=tuple(self.problems),
            fingerprint="" if origin is None else fingerprint(
                self.dialect, self.defaults.timezone, self.defaults.weekdays,
                *(f"{key}={source.values[key]}" for source in self.sources for key in sorted(source.values)
                  if key.removeprefix(PREFIX) in _HOURS + _PERIODS),
            ),
        )  # fmt: skip

    # --- hours and periods ------------------------------------------------------------------------------------

    def _python_hours(self) -> tuple[Timetable | None, Origin | None]:
        found = {key: source for key in _HOURS + _PERIODS if (source := self._nearest(key)) is not None}
        if not found:
            return None, None
        periods: dict[str, Source] = {
            key: found[key]
            for key in _PERIODS
            if key in found and found[key].values[PREFIX + key].lower() != "never"
        }
        hours: dict[str, Source] = {key: found[key] for key in _HOURS if key in found}
        return self._build(periods or hours)

    def _go_hours(self) -> tuple[Timetable | None, Origin | None]:
        for source in self.sources:
            keys = [key for key in _HOURS + _PERIODS if PREFIX + key in source.values]
            if not keys:
                continue
            if (set(keys) & set(_PERIODS) and set(keys) & set(_HOURS)) or set(keys) == set(_HOURS):
                origin = self._origin(source, *keys)
                text = f"{' and '.join(keys)} do not go together"
                error = ScheduleError(text, hint="keep uptime, or downtime, or the two periods")
                self.problems.append(Problem(origin, error))
                return None, origin
            return self._build({str(key): source for key in keys})
        return None, None

    def _build(self, found: dict[str, Source]) -> tuple[Timetable | None, Origin | None]:
        if not found:
            return None, None
        nearest = next(source for source in self.sources if source in found.values())
        keys = tuple(PREFIX + key for key in found)
        text = "; ".join(f"{key} {source.values[PREFIX + key]}" for key, source in found.items())
        origin = Origin(nearest.scope, nearest.where, keys, text)
        read = {
            key: self._read(self._origin(source, key), self._schedule, source.values[PREFIX + key])
            for key, source in found.items()
        }
        if any(schedule is None for schedule in read.values()):
            return None, origin
        always, never = parse_schedule("always"), parse_schedule("never")
        if set(found) & set(_PERIODS):
            up, down = read.get("upscale-period") or never, read.get("downscale-period") or never
            return Periods(up, down), origin
        uptime, downtime = read.get("uptime") or always, read.get("downtime") or never
        if downtime is never:
            return uptime, origin
        return UpWithoutDown(uptime, self._schedule(downtime.text).as_downtime()), origin

    # --- the rest -----------------------------------------------------------------------------------------------

    def _force(self) -> tuple[Timetable | None, Timetable | None, Origin | None]:
        for source in self.sources:
            if self.dialect == "python" and source.scope is not Scope.NAMESPACE:
                continue
            keys = [key for key in ("force-uptime", "force-downtime") if PREFIX + key in source.values]
            if not keys:
                continue
            read = {
                key: self._read(self._origin(source, key), self._switch, source.values[PREFIX + key])
                for key in keys
            }
            return read.get("force-uptime"), read.get("force-downtime"), self._origin(source, *keys)
        return None, None, None

    def _exclude(self) -> tuple[Timetable | None, Origin | None]:
        always = parse_schedule("always")
        for source in self.sources:
            replicas = source.values.get(PREFIX + _REPLICAS[self.dialect])
            if replicas is not None and replicas.strip() not in ("0", "0%"):
                # A VM is one replica: whoever asks for more than none to stay keeps it.
                return always, self._origin(source, _REPLICAS[self.dialect])
        for source in self.sources:
            text = source.values.get(PREFIX + "exclude")
            if text is None:
                continue
            origin = self._origin(source, "exclude")
            if self.dialect == "go":
                return self._read(origin, self._switch, text), origin
            if text.lower() != "false":
                return always, origin
        return None, None

    def _grace(self) -> timedelta:
        source = self._nearest("grace-period")
        if source is None:
            return self.defaults.grace
        text = source.values[PREFIX + "grace-period"].strip()
        parse = (
            (lambda text: timedelta(seconds=int(text))) if re.fullmatch(r"[0-9]{1,7}", text) else parse_duration
        )
        grace = self._read(self._origin(source, "grace-period"), parse, text)
        if grace is None:
            return self.defaults.grace
        return min(grace, self.defaults.grace) if self.dialect == "python" else grace

    def _until(self, text: str) -> datetime:
        if self.dialect == "go":
            return parse_instant(text)
        for form in _PY_UNTIL:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
        raise ScheduleError(f"{text[:40]!r} is no instant", hint='such as "2026-02-05T18:00:00Z"')

    def _schedule(self, text: str) -> Schedule:
        return parse_schedule(text, self.defaults.timezone, self.defaults.weekdays, self.dialect)

    def _switch(self, text: str) -> Timetable:
        return self._schedule({"true": "always", "false": "never"}.get(text.strip().lower(), text))

    def _nearest(self, key: str) -> Source | None:
        return next((source for source in self.sources if PREFIX + key in source.values), None)

    def _origin(self, source: Source, *keys: str) -> Origin:
        return Origin(
            source.scope, source.where, tuple(PREFIX + key for key in keys), source.values[PREFIX + keys[0]]
        )

    def _read(self, origin: Origin, parse: Callable[[str], _T], text: str) -> _T | None:
        try:
            return parse(text)
        except InputError as error:
            self.problems.append(Problem(origin, error))
            return None
