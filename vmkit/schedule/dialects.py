"""The grammars of the two downscalers, for people who come from them.

Which texts each takes, which days an overnight window has and whether an absolute window includes its end are
theirs; what happens when the clock changes is vmkit's, as everywhere. Two things differ on purpose: a list is
read whole, so that a bad item is found at once and not on the day its turn comes, and ``Local`` is refused,
because it would mean whatever machine reads it. docs/schedules.md has the table.

Sources: the behaviour of py-kube-downscaler 26.4.0 and GoKubeDownscaler 1.3.4, observed on many texts.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, NoReturn

from vmkit.errors import ScheduleError
from vmkit.schedule.days import WEEKDAYS, Weekdays, weekday_mask
from vmkit.schedule.drafts import Defaults
from vmkit.schedule.model import Schedule
from vmkit.schedule.rules import DailyWindows, FixedWindow, Rule, Written
from vmkit.schedule.scan import MAX_RULES, suggest_weekday
from vmkit.schedule.zones import Zone, find_zone, get_zone, suggest_zone, to_microseconds

DIALECTS: Final = ("python", "go")

_PY_DAILY: Final = re.compile(
    r"([A-Za-z]{3})-([A-Za-z]{3}) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}) ([A-Za-z/_]+)"
)
_PY_DAYS: Final = re.compile(r"[A-Za-z]{3}-[A-Za-z]{3} ")
_PY_INSTANT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{2}:[0-9]{2}"
_PY_FIXED: Final = re.compile(rf"({_PY_INSTANT})-({_PY_INSTANT})")

_GO_DAILY: Final = re.compile(
    r"(?:([A-Za-z]{3})-([A-Za-z]{3})\s+)?([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})(?:\s+([A-Za-z0-9/_+-]+))?",
    re.ASCII,
)
_GO_INSTANT: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_GO_FIXED: Final = re.compile(rf"({_GO_INSTANT})\s*-\s*({_GO_INSTANT})", re.ASCII)
_GO_OPEN: Final = re.compile(rf"(from|until)\s+({_GO_INSTANT})", re.ASCII)
_GO_WORDS: Final = {"always": True, "true": True, "never": False, "false": False}


def parse_dialect(text: str, dialect: str, defaults: Defaults) -> Schedule:
    """Reads a schedule of the grammar called "python" or "go".

    Raises:
        ScheduleError: with the column of the item that is not understood.
    """
    rules: list[Rule] = []
    if dialect == "python" and text.lower() in ("always", "never"):
        if text.lower() == "always":
            rules.append(FixedWindow(Written(text, 1), None, None))
        return Schedule(text, dialect, tuple(rules), zone=defaults.zone)
    items = text.split(",")
    if len(items) > MAX_RULES:
        raise ScheduleError(f"more than {MAX_RULES} items", hint="are these schedules?", column=1)
    position = 0
    for item in items:
        source = Written(item.strip(), position + len(item) - len(item.lstrip()) + 1)
        if not source.text:
            raise ScheduleError(
                "the schedule is empty" if len(items) == 1 else "an item of the list is empty",
                hint='such as "Mon-Fri 08:00-18:00 Europe/Berlin"',
                column=source.column if len(items) == 1 else position + 1,
            )
        rules.extend(_python_item(source, defaults) if dialect == "python" else _go_item(source, defaults))
        position += len(item) + 1
    zone = next((rule.zone for rule in rules if isinstance(rule, DailyWindows)), defaults.zone)
    return Schedule(text, dialect, tuple(rules), zone=zone)


def _python_item(source: Written, defaults: Defaults) -> list[Rule]:
    fixed = _PY_FIXED.fullmatch(source.text)
    if fixed is not None:
        # This one includes its end; nothing vmkit does is finer than a microsecond.
        return _fixed(source, fixed[1], fixed[2], after_end=1)
    item = source.text
    first_mask: int | None = None
    if not _PY_DAYS.match(item):
        first_mask = defaults.weekdays
        if first_mask is not None:
            item = f"Mon-Sun {item}"
    zone: Zone | None = None
    if re.search(r"[0-9]{2}$", item) and defaults.zone is not None:
        zone, item = defaults.zone, f"{item} UTC"
    match = _PY_DAILY.fullmatch(item)
    if match is None:
        _fail(source, "python", zone_missing=bool(re.fullmatch(r"(?:.* )?[0-9:]{5}-[0-9:]{5}", source.text)))
    mask = first_mask if first_mask is not None else _weekdays(match[1], match[2], source)
    start = int(match[3]) * 60 + int(match[4])
    end = min(int(match[5]) * 60 + int(match[6]), 1440)
    if zone is None:
        zone = _zone(match[7], source, ignore_case=True)
    # Over midnight it is never true; neither is what begins after the day.
    return _daily(source, mask, [(start, end)], zone)


def _go_item(source: Written, defaults: Defaults) -> list[Rule]:
    word = _GO_WORDS.get(source.text.lower())
    if word is not None:
        return [FixedWindow(source, None, None)] if word else []
    fixed = _GO_FIXED.fullmatch(source.text)
    if fixed is not None:
        return _fixed(source, fixed[1], fixed[2])
    half = _GO_OPEN.fullmatch(source.text)
    if half is not None:
        instant = _instant(half[2], source)
        return [FixedWindow(source, instant, None) if half[1] == "from" else FixedWindow(source, None, instant)]
    match = _GO_DAILY.fullmatch(source.text)
    if match is None:
        _fail(source, "go")
    if match[1] is None and defaults.weekdays is None:
        raise ScheduleError(
            "on which days? The item names none, and there is no default",
            hint=f'"Mon-Sun {source.text}"',
            column=source.column,
        )
    mask = _weekdays(match[1], match[2], source) if match[1] is not None else defaults.weekdays or 0
    times = [int(match[index]) for index in range(3, 7)]
    if times[0] > 24 or times[2] > 24 or times[1] > 59 or times[3] > 59:
        raise ScheduleError("there is no such time", hint="hours go to 24, minutes to 59", column=source.column)
    if match[7] is None and defaults.zone is None:
        raise ScheduleError(
            "which time zone? The item names none, and there is no default",
            hint=f'"{source.text} UTC"',
            column=source.column,
        )
    zone = _zone(match[7], source, ignore_case=False) if match[7] is not None else defaults.zone
    assert zone is not None
    start, end = times[0] * 60 + times[1], times[2] * 60 + times[3]
    # Over midnight, each of its days has both of its own parts: the morning and the evening.
    spans = [(start, min(end, 1440))] if start <= end else [(0, min(end, 1440)), (start, 1440)]
    return _daily(source, mask, spans, zone)


def _daily(source: Written, mask: int, spans: list[tuple[int, int]], zone: Zone) -> list[Rule]:
    possible = tuple((start, end) for start, end in spans if start < end)
    return [DailyWindows(source, Weekdays(mask), possible, zone)] if possible else []


def _fixed(source: Written, first: str, final: str, *, after_end: int = 0) -> list[Rule]:
    start, end = _instant(first, source), _instant(final, source) + after_end
    return [FixedWindow(source, start, end)] if start < end else []


def _instant(text: str, source: Written) -> int:
    # Nanoseconds, which only one of the two takes, are cut to microseconds.
    shortened = re.sub(r"([.][0-9]{1,6})[0-9]*", r"\1", text)
    try:
        return to_microseconds(datetime.fromisoformat(shortened))
    except (ValueError, OverflowError):
        raise ScheduleError(
            f"there is no {text!r}", hint="is the day or the hour right?", column=source.column
        ) from None


def _weekdays(first: str, final: str, source: Written) -> int:
    for word in (first, final):
        if word.lower() not in WEEKDAYS:
            raise ScheduleError(f"{word!r} is no weekday", hint=suggest_weekday(word), column=source.column)
    return weekday_mask(WEEKDAYS.index(first.lower()), WEEKDAYS.index(final.lower()))


def _zone(name: str, source: Written, *, ignore_case: bool) -> Zone:
    column = source.column + source.text.rindex(name)
    if name.lower() in ("local", "localtime"):
        return get_zone(name, column=column)
    zone = find_zone(name, ignore_case=ignore_case)
    if zone is None:
        raise ScheduleError(f"there is no time zone {name[:64]!r}", hint=suggest_zone(name), column=column)
    return zone


def _fail(source: Written, dialect: str, *, zone_missing: bool = False) -> NoReturn:
    shown = source.text if len(source.text) <= 40 else source.text[:40] + "…"
    hint = (
        "name weekdays and a time zone, or give defaults"
        if zone_missing
        else 'such as "Mon-Fri 08:00-18:00 Europe/Berlin"'
    )
    raise ScheduleError(f"{shown!r} is no item of the {dialect} dialect", hint=hint, column=source.column)
