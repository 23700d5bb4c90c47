"""What holds for every VM of a pass: a config file, calendars, defaults."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from vmkit.errors import ConfigError, InputError, VmkitError
from vmkit.schedule.calendars import read_calendar
from vmkit.schedule.days import Days
from vmkit.schedule.sources import (
    DOWNTIME,
    RESTART_SAFE,
    SCHEDULE,
    START,
    TIMEZONE,
    WARN_BEFORE_STOP,
    WEEKDAYS,
    Defaults,
    Scope,
    Source,
)
from vmkit.units import parse_duration

_KEYS: Final[Mapping[str, str]] = {
    "schedule": SCHEDULE,
    "downtime": DOWNTIME,
    "timezone": TIMEZONE,
    "weekdays": WEEKDAYS,
    "start": START,
    "restart-safe": RESTART_SAFE,
    "warn-before-stop": WARN_BEFORE_STOP,
}
"""What a rule of the config file may say, and the annotation that says the same on a VM."""
_TOP: Final = frozenset(
    {"timezone", "weekdays", "grace-period", "warn-before-stop", "calendars", "default", "rule"}
)


@dataclass(frozen=True, slots=True)
class NamespaceRule:
    """A rule of the config file: for the namespaces whose names match, these settings."""

    namespaces: tuple[str, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a pass.

    Attributes:
        defaults: see `Defaults`.
        rules: of the config file; the first that matches a namespace holds for it.
        default: what holds where nobody else says anything; None: nothing.
        notices: what people should know, such as a calendar that cannot be read.
        files: what it was read from.
    """

    defaults: Defaults = field(default_factory=Defaults)
    rules: tuple[NamespaceRule, ...] = ()
    default: Source | None = None
    notices: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def sources_of(self, namespace: str) -> list[Source]:
        """The wider scopes of the VMs of a namespace."""
        found = [
            rule.source
            for rule in self.rules
            if any(fnmatch.fnmatchcase(namespace, pattern) for pattern in rule.namespaces)
        ][:1]
        return [*found, self.default] if self.default is not None else found


def read_settings(
    path: str | Path | None = None,
    *,
    calendars: Mapping[str, str | Path] | None = None,
    honour_downscaler: str | None = None,
) -> Settings:
    """Reads the config file, if there is one, and the calendars.

    A calendar that cannot be read is a notice, not an error: the VMs whose schedules name it are left as they are,
    and the others are not concerned.

    Args:
        path: a TOML file; docs/schedules.md shows one.
        calendars: further calendar files by name.
        honour_downscaler: None, "python" or "go".

    Raises:
        ConfigError: the file cannot be read, or says what is not understood.
    """
    document: Mapping[str, Any] = {}
    folder = Path()
    if path is not None:
        folder = Path(path).parent
        document = _read(Path(path))
    where = str(path) if path is not None else ""
    unknown = sorted(set(document) - _TOP)
    if unknown:
        raise ConfigError(f"{unknown[0]} is no setting", hint="one of " + ", ".join(sorted(_TOP)), where=where)
    defaults = Defaults(
        timezone=_text(document, "timezone", where),
        weekdays=_text(document, "weekdays", where),
        honour_downscaler=honour_downscaler,
    )
    defaults = replace(
        defaults,
        grace=_duration(document, "grace-period", where, defaults.grace),
        warn=_duration(document, "warn-before-stop", where, defaults.warn),
    )
    files = {name: folder / str(file) for name, file in _table(document, "calendars", where).items()}
    files.update({name: Path(file) for name, file in (calendars or {}).items()})
    read, notices = _read_calendars(files)
    default = document.get("default")
    return Settings(
        replace(defaults, calendars=read),
        tuple(_read_rule(rule, where) for rule in _tables(document, "rule", where)),
        None
        if default is None
        else Source(Scope.DEFAULT, f"default of {where}", _values(_table(document, "default", where), where)),
        notices,
        (*([Path(path)] if path is not None else []), *files.values()),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror or error}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is no TOML: {error}", where=str(path)) from error


def _read_calendars(files: Mapping[str, Path]) -> tuple[dict[str, Days], tuple[str, ...]]:
    read: dict[str, Days] = {}
    notices = []
    for name, file in files.items():
        try:
            read[name] = read_calendar(file)
        except VmkitError as error:
            notices.append(f"calendar {name}: {error.message}; VMs whose schedules name it are left as they are")
    return read, tuple(notices)


def _read_rule(rule: Mapping[str, Any], where: str) -> NamespaceRule:
    patterns = rule.get("namespaces")
    if not isinstance(patterns, list) or not patterns or not all(isinstance(one, str) for one in patterns):
        raise ConfigError(
            "a rule has to say for which namespaces", hint='namespaces = ["team-*", "shop"]', where=where
        )
    given = {key: value for key, value in rule.items() if key != "namespaces"}
    source = Source(Scope.CONFIG, f"{where}, rule for {', '.join(patterns)}", _values(given, where))
    return NamespaceRule(tuple(patterns), source)


def _values(given: Mapping[str, Any], where: str) -> dict[str, str]:
    values = {}
    for key, value in given.items():
        if key not in _KEYS:
            raise ConfigError(f"{key} is no setting of a rule", hint="one of " + ", ".join(_KEYS), where=where)
        if not isinstance(value, str | bool):
            raise ConfigError(f"{key} is a text", hint=f'{key} = "..."', where=where)
        values[_KEYS[key]] = value if isinstance(value, str) else str(value).lower()
    return values


def _text(document: Mapping[str, Any], key: str, where: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{key} is a text", hint=f'{key} = "..."', where=where)
    return value


def _duration(document: Mapping[str, Any], key: str, where: str, default: timedelta) -> timedelta:
    text = _text(document, key, where)
    try:
        return default if text is None else parse_duration(text, where=where)
    except InputError as error:
        raise ConfigError(f"{key}: {error.message}", hint=error.hint, where=where) from error


def _table(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key} is a table", hint=f"[{key}]", where=where)
    return value


def _tables(document: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ConfigError(f"{key} is a list of tables", hint=f"[[{key}]]", where=where)
    return value
