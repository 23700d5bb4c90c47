"""systemd unit files and drop-ins: their syntax, and the values in it (systemd.syntax(7), systemd.time(7))."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Final

_MAX_LINES: Final = 20_000
_SPAN_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Zµ]*)\s*")
_SPANS: Final = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
    "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0,
    "days": 86400.0, "ms": 0.001, "msec": 0.001, "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_SIZES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}


@dataclass(slots=True)
class UnitFile:
    """The assignments of a unit file and of what was merged into it, in order: (section, key, value, line)."""

    assignments: list[tuple[str, str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def merge(self, other: UnitFile) -> None:
        """Adds a drop-in's assignments behind the present ones."""
        self.assignments += other.assignments
        self.problems += other.problems

    def last(self, section: str, key: str) -> str:
        """The value that counts of a setting that is set once; "" when it is unset."""
        values = [value for one, name, value, _ in self.assignments if one == section and name == key]
        return values[-1] if values else ""

    def all(self, section: str, key: str) -> list[str]:
        """The values of a setting that may be set many times; an empty assignment drops those before it."""
        found: list[str] = []
        for one, name, value, _ in self.assignments:
            if one == section and name == key:
                found = [*found, value] if value else []
        return found

    def words(self, section: str, key: str) -> list[str]:
        """All values' words, quotes undone."""
        return [word for value in self.all(section, key) for word in split_words(value)]

    def has_section(self, section: str) -> bool:
        return any(one == section for one, _, _, _ in self.assignments)


def parse_unit(text: str) -> UnitFile:
    """Reads a unit file. Lines that make no sense are named in ``problems`` and left out, as systemd does."""
    unit = UnitFile()
    section = ""
    pending, pending_line = "", 0
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        unit.problems.append(f"longer than {_MAX_LINES} lines: the rest was not read")
    for number, raw in enumerate(lines[:_MAX_LINES], 1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not pending):
            continue
        pending_line = pending_line or number
        if raw.rstrip().endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        line, start = pending + line, pending_line
        pending, pending_line = "", 0
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if not equals or not section:
            unit.problems.append(f"line {start}: neither a section nor an assignment")
            continue
        unit.assignments.append((section, key.strip(), value.strip(), start))
    return unit


def split_words(text: str) -> list[str]:
    """Splits as systemd does: at blanks, with quotes; text with unbalanced quotes is split at blanks alone."""
    try:
        return shlex.split(text, comments=False)
    except ValueError:
        return text.split()


def parse_span(text: str) -> float | None:
    """Seconds of a time span ("90", "5min 20s"); None for "infinity", nothing or nonsense."""
    rest, seconds = text.strip(), 0.0
    if not rest:
        return None
    while rest:
        match = _SPAN_PART.match(rest)
        if match is None or match[2] not in _SPANS or len(match[1]) > 12:
            return None
        seconds += float(match[1]) * _SPANS[match[2]]
        rest = rest[match.end() :]
    return seconds


def parse_size(text: str) -> int | None:
    """Bytes of a size ("512M", base 1024); None for "infinity", percentages and nonsense."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGTPE]?)", text.strip())
    return int(match[1]) * _SIZES[match[2]] if match else None


def parse_percent(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)%", text.strip())
    return float(match[1]) if match else None


def parse_assignment(word: str) -> tuple[str, str] | None:
    """ "NAME=value" of Environment= and of environment files; None when it is none."""
    name, equals, value = word.partition("=")
    name = name.strip()
    return (name, value) if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else None


def parse_environment_file(text: str) -> list[tuple[str, str, int]]:
    """The variables of an environment file: (name, value, line); comments and blank lines left out."""
    found: list[tuple[str, str, int]] = []
    for number, line in enumerate(text.splitlines()[:_MAX_LINES], 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith(("#", ";")):
            continue
        pair = parse_assignment(line)
        if pair is not None:
            value = pair[1].strip()
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found.append((pair[0], value, number))
    return found
