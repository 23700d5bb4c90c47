"""vmkit's own grammar of schedules; docs/schedules.md tells it with examples.

    schedule   = rule { ("," | ";" | newline) rule } [ "except" day { "," day } ]
    rule       = "always" | "never"
               | [days] hours { "," hours } [zone]
               | instant "-" instant [zone] | ("from" | "until") instant [zone]
               | ("start" | "stop") ([days] time { "," time } | "cron(" fields ")" | fields) [zone]
    days       = day { "," day }
    day        = weekday ["-" weekday] | "daily" | "weekdays" | "weekends"
               | date [".." date] | month-day [".." month-day] | "holidays(" country ")" | "calendar(" name ")"
    hours      = time "-" time

Strict: whatever is not understood is an error with its column. Every rule has one reading; where people read a
text in two ways it is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final, NoReturn

from vmkit.errors import ScheduleError
from vmkit.schedule.calendars import country_holidays, parse_day_range
from vmkit.schedule.cron import MAX_EDGES_A_DAY, parse_cron
from vmkit.schedule.days import EVERY_DAY, AnyOf, Days, Weekdays, weekday_mask
from vmkit.schedule.drafts import Defaults, Draft, Moment, build_schedule
from vmkit.schedule.model import Schedule
from vmkit.schedule.rules import Written
from vmkit.schedule.scan import MAX_RULES, Scanner, find_weekday, suggest, suggest_weekday
from vmkit.schedule.zones import Zone, find_zone, get_zone, to_microseconds

_SEPARATOR: Final = re.compile(r"[ \t]*[,;\r\n][ \t\r\n]*")
_COMMA: Final = re.compile(r",[ \t]*")
_DASH: Final = re.compile(r"[ \t]*[-\u2013][ \t]*")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?![0-9:])")
_HOURLIKE: Final = re.compile(
    r"([0-9]{1,2})(?::?([0-9]{2})(?::[0-9]{2})?)?[ ]?(am|pm)?(?![0-9A-Za-z])", re.IGNORECASE
)
_WORD: Final = re.compile(r"[A-Za-z]+(?![A-Za-z0-9_/+])")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*")
_CALL: Final = re.compile(r"(holidays|calendar)\(([^()]{0,80})\)", re.IGNORECASE)
_DAY_RANGE: Final = re.compile(
    r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}(?:\.\.(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2})?(?![0-9T:])"
)
_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]{1,6})?)(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_INSTANT_AHEAD: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_CRON_CALL: Final = re.compile(r"cron\(([^()]{0,200})\)", re.IGNORECASE)
_CRON_FIELD: Final = r"[0-9A-Za-z*/-]+(?:,[0-9A-Za-z*/-]+)*"
_CRON: Final = re.compile(
    rf"(?=[0-9*])(?!\d{{1,2}}:){_CRON_FIELD}(?:[ \t]+(?=[0-9A-Za-z*]){_CRON_FIELD}){{4}}(?=[ \t]|[,;\r\n]|$)"
)
_CRONLIKE: Final = re.compile(r"[0-9*][0-9*/,]*[ \t]+[0-9*]|@[a-z]+", re.IGNORECASE)
_CRON_START: Final = re.compile(r"\*|@[a-z]+", re.IGNORECASE)
_EXCEPT: Final = re.compile(r"(?:[,;\r\n][ \t\r\n]*)?except(?![A-Za-z0-9_/])", re.IGNORECASE)

_DAY_WORDS: Final = {
    "daily": EVERY_DAY,
    "everyday": EVERY_DAY,
    "weekday": 0b0011111,
    "weekdays": 0b0011111,
    "weekend": 0b1100000,
    "weekends": 0b1100000,
}
_KEYWORDS: Final = ("always", "never", "from", "until", "start", "stop", "except")
_LAST_MINUTE: Final = 24 * 60 + 59
_EXAMPLE: Final = 'such as "Mon-Fri 08:00-18:00 Europe/Berlin"'


def parse_own(text: str, defaults: Defaults) -> Schedule:
    """Reads a schedule of vmkit's own grammar.

    Raises:
        ScheduleError: with the column of what is not understood, and what may have been meant.
    """
    return _Parser(text, defaults).parse()


class _Parser:
    def __init__(self, text: str, defaults: Defaults) -> None:
        self.scanner = Scanner(text)
        self.defaults = defaults
        self.drafts: list[Draft] = []

    def parse(self) -> Schedule:
        scanner, exceptions = self.scanner, None
        scanner.skip(re.compile(r"\s*"))
        if scanner.at_end:
            scanner.fail("the schedule is empty", hint=f'{_EXAMPLE}, or "always" or "never"')
        while True:
            self.drafts.append(self._rule())
            if len(self.drafts) > MAX_RULES:
                scanner.fail(f"more than {MAX_RULES} rules", hint="put long lists of days into a calendar file")
            if scanner.take(_EXCEPT):
                exceptions = self._exceptions()
                break
            if scanner.take(re.compile(r"\s*$")):
                break
            if not scanner.skip(_SEPARATOR):
                self._fail_after_rule()
            if scanner.at_end:
                if scanner.text.rstrip().endswith(","):
                    scanner.fail("the schedule ends in a comma", hint="take it away, or write another rule")
                break
        return build_schedule(scanner.text, self.drafts, exceptions, self.defaults)

    # --- rules ----------------------------------------------------------------------------------------------

    def _rule(self) -> Draft:
        scanner = self.scanner
        scanner.skip()
        begin = scanner.position
        draft = self._body()
        zone = self._zone()
        source = Written(scanner.text[begin : scanner.position].strip(), begin + 1)
        return replace(draft, source=source, zone=zone)

    def _body(self) -> Draft:
        scanner = self.scanner
        nowhere = Written("", scanner.column)
        word = scanner.peek(_WORD)
        keyword = word[0].lower() if word is not None else ""
        if keyword in ("always", "never"):
            scanner.take(_WORD)
            return Draft(nowhere, keyword)
        if keyword in ("from", "until"):
            scanner.take(_WORD)
            moment = self._moment()
            return Draft(nowhere, "fixed", instants=(moment, None) if keyword == "from" else (None, moment))
        if keyword in ("start", "stop"):
            scanner.take(_WORD)
            return self._edges(keyword)
        if keyword == "except":
            scanner.fail("there is nothing to make exceptions from", hint="write rules first, then except")
        if scanner.peek(_INSTANT_AHEAD):
            return self._between()
        if scanner.peek(_CRON) or scanner.peek(_CRON_CALL) or scanner.peek(_CRON_START):
            scanner.fail(
                "a cron expression says a moment; it has to be said what happens then",
                hint='such as "start cron(0 8 * * 1-5); stop cron(0 18 * * 1-5)"',
            )
        days, dated, column = self._days()
        spans = [self._hours(days_given=days is not None)]
        while self._another_time():
            spans.append(self._hours(days_given=True))
        self._check_same_days(days, column)
        return Draft(nowhere, "daily", days=days, dated=dated, spans=tuple(sorted(spans)))

    def _check_same_days(self, days: Days | None, column: int) -> None:
        # "Mon-Fri 08:00-12:00 UTC, 13:00-17:00": who writes this means the same days, who pastes it from elsewhere
        # means every day.
        last = self.drafts[-1] if self.drafts else None
        if (
            days is None
            and last is not None
            and last.days is not None
            and self.scanner.text[: column - 1].rstrip().endswith(",")
        ):
            raise ScheduleError(
                "on which days? The rule before names some, this one none",
                hint='say the days, or "daily"; hours of one rule stand before its zone',
                column=column,
            )

    def _edges(self, side: str) -> Draft:
        scanner = self.scanner
        nowhere = Written("", scanner.column)
        call = scanner.take(_CRON_CALL)
        if call is not None:
            cron_days, minutes = parse_cron(call[1], column=call.start(1) + 1)
            return Draft(nowhere, side, days=cron_days, minutes=minutes)
        fields = scanner.take(_CRON)
        if fields is not None:
            cron_days, minutes = parse_cron(fields[0], column=fields.start() + 1)
            return Draft(nowhere, side, days=cron_days, minutes=minutes)
        if scanner.peek(_CRONLIKE):
            parse_cron(re.split(r"[;\r\n]", scanner.text[scanner.position :])[0], column=scanner.column)
            scanner.fail(
                "this is no cron expression", hint='put it into cron( ), such as "start cron(0 8 * * 1-5)"'
            )
        days, dated, _ = self._days()
        times = [self._time(f"a time at which to {side}", days_given=days is not None)]
        while self._another_time():
            times.append(self._time(f"a time at which to {side}", days_given=True))
        if scanner.peek(_DASH):
            scanner.fail(
                f"{side} takes moments, not hours", hint=f'leave the word "{side}" away, or give one time'
            )
        if len(times) > MAX_EDGES_A_DAY:
            scanner.fail(f"at most {MAX_EDGES_A_DAY} times a day make sense for a machine")
        return Draft(nowhere, side, days=days, dated=dated, minutes=tuple(sorted(set(times))))

    def _between(self) -> Draft:
        scanner = self.scanner
        column = scanner.column
        first = self._moment()
        if not scanner.skip(_DASH) and not scanner.skip(re.compile(r"[ \t]*/[ \t]*|[ \t]+to[ \t]+")):
            scanner.fail(
                "an instant alone is no time to run",
                hint='write "from ...", "until ..." or a second instant after "-"',
            )
        return Draft(Written("", column), "fixed", instants=(first, self._moment()))

    def _moment(self) -> Moment:
        scanner = self.scanner
        match = scanner.take(_INSTANT)
        if match is None:
            scanner.fail(
                f"{scanner.word()!r} is no instant", hint='such as "2026-02-01T08:00:00Z" or "2026-02-01"'
            )
        column = match.start() + 1
        if scanner.text[scanner.position : scanner.position + 1].strip(",;-\u2013/ \t\r\n"):
            scanner.fail(
                "this instant is not understood", hint='such as "2026-02-01T08:00:00+01:00"', column=column
            )
        try:
            parsed = datetime.fromisoformat(match[0])
        except ValueError:
            scanner.fail(f"there is no {match[0]!r}", hint="is the day or the hour right?", column=column)
        if parsed.tzinfo is not None:
            return Moment(column, instant=to_microseconds(parsed))
        return Moment(column, local=parsed)

    # --- days -----------------------------------------------------------------------------------------------

    def _days(self) -> tuple[Days | None, bool, int]:
        """The days (None where none are named), whether all are dates, and the column where they begin."""
        scanner = self.scanner
        scanner.skip()
        column = scanner.column
        mask, parts = 0, list[Days]()
        while True:
            self._refuse_date_pair()
            found = self._day()
            if found is None:
                break
            if isinstance(found, Weekdays):
                mask |= found.mask
            else:
                parts.append(found)
            position = scanner.position
            if scanner.take(_COMMA) is None:
                break
            if not self._day_ahead():
                scanner.position = position
                break
        if mask:
            parts.append(Weekdays(mask))
        if not parts:
            return None, False, column
        dated = not mask
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts)), dated, column

    def _day_ahead(self) -> bool:
        scanner = self.scanner
        word = scanner.peek(_WORD)
        if word is not None and word[0].lower() in _KEYWORDS:
            return False
        return bool(scanner.peek(_CALL) or scanner.peek(_DAY_RANGE) or word)

    def _refuse_date_pair(self) -> None:
        pair = self.scanner.peek(
            re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ \t]*-[ \t]*([0-9]{4}-[0-9]{2}-[0-9]{2})")
        )
        if pair is not None:
            self.scanner.fail("a range of days is written with two dots", hint=f'"{pair[1]}..{pair[2]}"?')

    def _day(self) -> Days | None:
        scanner = self.scanner
        call = scanner.take(_CALL)
        if call is not None:
            return self._named_days(call[1].lower(), call[2].strip(), call.start(2) + 1)
        dates = scanner.take(_DAY_RANGE)
        if dates is not None:
            return parse_day_range(dates[0], column=dates.start() + 1)
        word = scanner.peek(_WORD)
        if word is None:
            return None
        low = word[0].lower()
        if low in _DAY_WORDS:
            scanner.take(_WORD)
            return Weekdays(_DAY_WORDS[low])
        first = find_weekday(low)
        if first is None:
            self._fail_word(word[0])
        scanner.take(_WORD)
        position = scanner.position
        if scanner.take(_DASH) is None:
            return Weekdays(1 << first)
        second = scanner.take(_WORD)
        final = find_weekday(second[0]) if second is not None else None
        if final is None:
            scanner.position = position
            scanner.take(_DASH)
            scanner.fail(
                f"{scanner.word()!r} is no weekday", hint=suggest_weekday(scanner.word().partition("-")[0])
            )
        return Weekdays(weekday_mask(first, final))

    def _named_days(self, kind: str, name: str, column: int) -> Days:
        if kind == "holidays":
            return country_holidays(name, column=column)
        found = self.defaults.calendars.get(name)
        if found is None:
            names = sorted(self.defaults.calendars)
            hint = suggest(name, names) or (f"there are {', '.join(names)}" if names else "none has been read")
            raise ScheduleError(f"there is no calendar {name!r}", hint=hint, column=column)
        return found

    def _exceptions(self) -> Days:
        scanner = self.scanner
        parts: list[Days] = []
        while True:
            scanner.skip()
            column = scanner.column
            found = self._day()
            if found is None:
                scanner.fail("which days?", hint='such as "except 2026-12-24, 12-25, holidays(DE)"')
            if isinstance(found, Weekdays):
                scanner.fail(
                    "exceptions are dates", hint="leave the weekday out of the rules instead", column=column
                )
            parts.append(found)
            if scanner.at_end:
                break
            if scanner.peek(_TIME):
                scanner.fail(
                    "exceptions are whole days",
                    hint="write the day with its hours as a rule as well: days named by date ignore except",
                )
            if not scanner.skip(_COMMA):
                if not scanner.text[scanner.position :].strip(" \t\r\n;"):
                    break
                zone = scanner.peek(_NAME)
                if zone is not None and find_zone(zone[0]) is not None:
                    scanner.fail("the time zone stands before except", hint=f'"... {zone[0]} except ..."')
                scanner.fail(
                    "the exceptions come last", hint="they hold for all rules; write them at the end, with commas"
                )
            if scanner.at_end:
                scanner.fail("the schedule ends in a comma", hint="take it away, or name another day")
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    # --- times ----------------------------------------------------------------------------------------------

    def _another_time(self) -> bool:
        scanner = self.scanner
        position = scanner.position
        if scanner.take(_COMMA) is not None and scanner.peek(_TIME):
            return True
        scanner.position = position
        return False

    def _hours(self, *, days_given: bool) -> tuple[int, int]:
        scanner = self.scanner
        scanner.skip()
        column = scanner.column
        start = self._time("hours", days_given=days_given)
        if not scanner.skip(_DASH):
            shown = f"{start // 60:02}:{start % 60:02}"
            scanner.fail(
                f"until when? {shown} alone is a moment",
                hint=f'write "{shown}-18:00", or "start {shown}" or "stop {shown}"',
            )
        end = self._time("the end of the hours", days_given=True)
        if start >= 1440:
            raise ScheduleError("no window starts at 24:00", hint='write "00:00" of the next day', column=column)
        if start == end:
            raise ScheduleError(
                "the window is empty, or a whole day: it ends when it starts",
                hint='write "00:00-24:00" for all day',
                column=column,
            )
        # Over midnight: the window belongs to the day it starts on.
        return start, end if end > start else end + 1440

    def _time(self, what: str, *, days_given: bool) -> int:
        scanner = self.scanner
        match = scanner.take(_TIME)
        if match is None:
            self._fail_time(what, days_given=days_given)
        hour, minute = int(match[1]), int(match[2])
        if minute > 59 or hour * 60 + minute > _LAST_MINUTE:
            scanner.fail(f"there is no {match[0]}", hint="hours go to 24, minutes to 59", column=match.start() + 1)
        return hour * 60 + minute

    # --- zones ----------------------------------------------------------------------------------------------

    def _zone(self) -> Zone | None:
        scanner = self.scanner
        word = scanner.peek(_WORD)
        if word is not None and word[0].lower() == "except":
            return None
        name = scanner.peek(_NAME)
        if name is None:
            return None
        if find_weekday(name[0].partition("-")[0]) is not None or (
            word and word[0].lower() in (*_KEYWORDS, *_DAY_WORDS)
        ):
            scanner.fail("a comma is missing before the next rule", hint=f'", {scanner.word()} ..."')
        zone = get_zone(scanner.word(), column=scanner.column)
        scanner.take(_NAME)
        return zone

    # --- what was meant? --------------------------------------------------------------------------------------

    def _fail_word(self, word: str) -> NoReturn:
        scanner = self.scanner
        hint = suggest(word, _KEYWORDS) or suggest_weekday(word)
        if word.lower() in ("true", "on", "yes"):
            hint = 'did you mean "always"?'
        elif word.lower() in ("false", "off", "no"):
            hint = 'did you mean "never"?'
        scanner.fail(f"{scanner.word()!r} is neither a day nor a rule", hint=hint)

    def _fail_time(self, what: str, *, days_given: bool) -> NoReturn:
        scanner = self.scanner
        if scanner.at_end or scanner.peek(_SEPARATOR):
            scanner.fail(f"{what} {'are' if what == 'hours' else 'is'} missing", hint='"00:00-24:00" is all day')
        pair = scanner.peek(
            re.compile(rf"{_HOURLIKE.pattern}[ \t]*[-\u2013][ \t]*{_HOURLIKE.pattern}", re.IGNORECASE)
        )
        if pair is not None:
            first, final = _clock(pair[1], pair[2], pair[3]), _clock(pair[4], pair[5], pair[6])
            if first and final:
                scanner.fail(f"{pair[0].strip()[:40]!r} are no hours", hint=f'did you mean "{first}-{final}"?')
        one = scanner.peek(_HOURLIKE)
        time = _clock(one[1], one[2], one[3]) if one is not None else ""
        if time:
            scanner.fail(f"{scanner.word()!r} is no time", hint=f'did you mean "{time}"?')
        if days_given:
            scanner.fail(f"{scanner.word()!r} is no time", hint='hours and minutes, such as "08:00-18:00"')
        scanner.fail(f"{scanner.word()!r} is not understood", hint=_EXAMPLE)

    def _fail_after_rule(self) -> NoReturn:
        scanner = self.scanner
        if scanner.peek(re.compile(r"(?<=[ \t])[+-][0-9]")):
            scanner.fail(
                f"{scanner.word()!r} is an offset, not a place: it does not say what happens in summer",
                hint='name the place, such as "Europe/Berlin"',
            )
        if scanner.peek(_DASH) and self.drafts[-1].kind == "daily":
            scanner.fail(
                "a window has one start and one end", hint="write several as a list: 08:00-12:00,13:00-17:00"
            )
        scanner.fail(
            f"{scanner.word()!r} is not understood here", hint="rules are separated by commas or semicolons"
        )


def _clock(hour: str, minute: str | None, half: str | None) -> str:
    """A time of day as vmkit writes it; empty where there is no such time."""
    number = int(hour)
    if half:
        if not 1 <= number <= 12:
            return ""
        number = number % 12 + (12 if half.lower() == "pm" else 0)
    return f"{number:02}:{minute or '00'}" if number <= 24 and int(minute or 0) < 60 else ""


def parse_weekdays(text: str) -> int:
    """Reads the default weekdays, "Mon-Fri" or "Mon,Wed,Fri", as a mask whose bit 0 is Monday.

    Raises:
        ScheduleError: anything else.
    """
    parser = _Parser(text, Defaults())
    days, dated, _ = parser._days()
    if days is None or dated or not isinstance(days, Weekdays) or not parser.scanner.at_end:
        raise ScheduleError(f"{text[:40]!r} are no weekdays", hint='such as "Mon-Fri" or "Mon,Wed"')
    return days.mask
