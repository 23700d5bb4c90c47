"""vmkit's own grammar: what each text means, and what is said about the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkit.errors import ExitCode, InputError, ScheduleError
from vmkit.schedule import Wish, parse_calendar, parse_schedule

MONDAY = datetime(2026, 2, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def week(text: str, **options: object) -> str:
    """The transitions of the week from Monday 2 February 2026, such as "Mon 08:00 on"."""
    found = parse_schedule(text, **options).transitions(MONDAY, MONDAY + timedelta(days=7))
    return ", ".join(f"{at:%a %H:%M} {'on' if active else 'off'}" for at, active in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon 08:00-18:00 UTC", "Mon 08:00 on, Mon 18:00 off"),
        ("monday 8:00-18:00 utc", "Mon 08:00 on, Mon 18:00 off"),
        ("Mon - Tue 08:00 \u2013 18:00 UTC", "Mon 08:00 on, Mon 18:00 off, Tue 08:00 on, Tue 18:00 off"),
        ("Mon,Wed 08:00-18:00 UTC", "Mon 08:00 on, Mon 18:00 off, Wed 08:00 on, Wed 18:00 off"),
        ("Mon 08:00-12:00,13:00-18:00 UTC", "Mon 08:00 on, Mon 12:00 off, Mon 13:00 on, Mon 18:00 off"),
        ("Mon 08:00-12:00,12:00-18:00 UTC", "Mon 08:00 on, Mon 18:00 off"),
        ("Mon 08:00-18:00, Fri 08:00-15:00 UTC", "Mon 08:00 on, Mon 18:00 off, Fri 08:00 on, Fri 15:00 off"),
        ("Mon 08:00-18:00 UTC; Fri 08:00-15:00 UTC", "Mon 08:00 on, Mon 18:00 off, Fri 08:00 on, Fri 15:00 off"),
        ("Mon 08:00-18:00\nFri 08:00-15:00 UTC\n", "Mon 08:00 on, Mon 18:00 off, Fri 08:00 on, Fri 15:00 off"),
        ("Mon 20:00-06:00 UTC", "Mon 20:00 on, Tue 06:00 off"),
        ("Sun 20:00-06:00 UTC", "Mon 06:00 off, Sun 20:00 on"),
        ("Mon-Tue 20:00-20:00 UTC; Wed 01:00-02:00 UTC", "error"),
        ("Sat-Sun 00:00-24:00 UTC", "Mon 00:00 off, Sat 00:00 on"),
        ("weekends 00:00-24:00 UTC", "Mon 00:00 off, Sat 00:00 on"),
        ("Fri 22:00-24:30 UTC", "Fri 22:00 on, Sat 00:30 off"),
        ("daily 00:00-24:00 UTC", ""),
        ("2026-02-03 10:00-12:00 UTC", "Tue 10:00 on, Tue 12:00 off"),
        ("2026-02-03..2026-02-04 10:00-12:00 UTC", "Tue 10:00 on, Tue 12:00 off, Wed 10:00 on, Wed 12:00 off"),
        ("02-03 10:00-12:00 UTC", "Tue 10:00 on, Tue 12:00 off"),
        ("12-30..02-02 10:00-12:00 UTC", "Mon 10:00 on, Mon 12:00 off"),
        ("2026-02-03T10:00:00Z-2026-02-04T10:00:00+02:00", "Tue 10:00 on, Wed 08:00 off"),
        ("2026-02-03T10:00 to 2026-02-04T12:30 Europe/Berlin", "Tue 09:00 on, Wed 11:30 off"),
        ("from 2026-02-03 Europe/Berlin", "Mon 23:00 on"),
        ("until 2026-02-03T10:00:00Z", "Tue 10:00 off"),
        ("FROM 2026-02-03T10:00:00Z", "Tue 10:00 on"),
        ("always", ""),
        ("Never", ""),
        ("never, Mon 08:00-09:00 UTC", "Mon 08:00 on, Mon 09:00 off"),
        ("start Mon 08:00; stop Mon 18:00 UTC", "Mon 08:00 on, Mon 18:00 off"),
        ("start Mon 08:00, stop Mon 18:00,20:00 UTC", "Mon 08:00 on, Mon 18:00 off, Mon 20:00 off"),
        ("start cron(0 8 * * 1), stop cron(0 18 * * mon) UTC", "Mon 08:00 on, Mon 18:00 off"),
        ("start 0 8 * * 1; stop 0 18 * * 1 UTC", "Mon 08:00 on, Mon 18:00 off"),
        ("start 30 7 * * 1,3, stop 0 18 * * 1,3 UTC", "Mon 07:30 on, Mon 18:00 off, Wed 07:30 on, Wed 18:00 off"),
        ("stop Mon,Fri 20:00 UTC", "Mon 20:00 off, Fri 20:00 off"),
        ("start Mon 08:00 UTC", "Mon 08:00 on"),
        ("Mon-Tue 08:00-18:00 UTC except 2026-02-03", "Mon 08:00 on, Mon 18:00 off"),
        ("Mon-Tue 08:00-18:00 UTC; except 02-03..02-05, 2026-12-24", "Mon 08:00 on, Mon 18:00 off"),
        ("Mon 20:00-06:00, Tue 20:00-06:00 UTC except 2026-02-03", "Mon 20:00 on, Tue 06:00 off"),
        ("Tue 08:00-18:00, 2026-02-03 10:00-12:00 UTC except 2026-02-03", "Tue 10:00 on, Tue 12:00 off"),
        ("always UTC except 2026-02-03", "Tue 00:00 off, Wed 00:00 on"),
        (
            "start Mon-Tue 20:00; stop Tue-Wed 06:00 UTC except 2026-02-03",
            "Mon 20:00 on, Tue 06:00 off, Wed 06:00 off",
        ),
        ("stop Mon-Tue 20:00 UTC except 2026-02-03", "Mon 20:00 off"),
    ],
)
def test_a_text_means_these_transitions(text: str, expected: str) -> None:
    if expected == "error":
        with pytest.raises(ScheduleError):
            week(text)
    else:
        assert week(text) == expected


def test_a_zone_named_once_holds_for_all_rules() -> None:
    assert (
        week("Mon 10:00-11:00; Tue 10:00-11:00 Asia/Tokyo")
        == "Mon 01:00 on, Mon 02:00 off, Tue 01:00 on, Tue 02:00 off"
    )


def test_the_default_zone_is_for_schedules_that_name_none() -> None:
    assert week("Mon 10:00-11:00", timezone="Asia/Tokyo") == "Mon 01:00 on, Mon 02:00 off"
    assert week("Mon 10:00-11:00 UTC; Tue 10:00-11:00", timezone="Asia/Tokyo").endswith(
        "Tue 10:00 on, Tue 11:00 off"
    )


def test_default_weekdays_are_for_rules_that_name_none() -> None:
    assert (
        week("10:00-11:00 UTC", weekdays="Mon,Sat") == "Mon 10:00 on, Mon 11:00 off, Sat 10:00 on, Sat 11:00 off"
    )
    assert week("Tue 10:00-11:00 UTC", weekdays="Mon") == "Tue 10:00 on, Tue 11:00 off"


def test_calendars_are_named() -> None:
    calendars = {"company": parse_calendar("2026-02-03 founding day\n")}
    assert (
        week("Mon-Tue 08:00-09:00 UTC except calendar(company)", calendars=calendars)
        == "Mon 08:00 on, Mon 09:00 off"
    )
    assert week("calendar(company) 08:00-09:00 UTC", calendars=calendars) == "Tue 08:00 on, Tue 09:00 off"


def test_a_country_has_holidays() -> None:
    new_year = parse_schedule("daily 08:00-18:00 Europe/Berlin except holidays(DE-BY)")
    assert not new_year.is_active(datetime(2026, 1, 6, 11, tzinfo=UTC)), "Epiphany, in Bavaria"
    assert parse_schedule("daily 08:00-18:00 Europe/Berlin except holidays(DE)").is_active(
        datetime(2026, 1, 6, 11, tzinfo=UTC)
    )


def test_a_one_sided_schedule_wants_nothing_between_its_moments() -> None:
    stops, starts = parse_schedule("stop 20:00 UTC"), parse_schedule("start 08:00 UTC")
    assert stops.wants(MONDAY) is starts.wants(MONDAY) is Wish.ANY
    assert (stops.is_active(MONDAY), starts.is_active(MONDAY)) == (False, True)
    assert stops.next_change(MONDAY) == MONDAY + 20 * HOUR
    assert stops.is_one_sided


def test_moments_of_single_days_have_a_beginning_and_an_end() -> None:
    trade_fair = parse_schedule("start 2026-02-03 08:00; stop 2026-02-06 18:00 UTC")
    days = [trade_fair.is_active(MONDAY + timedelta(days=day, hours=12)) for day in range(7)]
    assert days == [False, True, True, True, True, False, False]
    assert trade_fair.next_change(MONDAY + timedelta(days=6)) is None


@pytest.mark.parametrize(
    ("text", "column", "said", "suggested"),
    [
        ("", 1, "empty", "always"),
        ("   ", 4, "empty", "always"),
        ("Mon-Fri 08:00-18:00", 20, "which time zone", "Europe/Berlin"),
        ("Mon-Fri 08:00-18:00 CET", 21, "abbreviation", "Europe/Berlin"),
        ("Mon-Fri 08:00-18:00 EST", 21, "abbreviation", "America/New_York"),
        ("Mon-Fri 08:00-18:00 GMT", 21, "abbreviation", "UTC"),
        ("Mon-Fri 08:00-18:00 CEST", 21, "no time zone", "Europe/Berlin"),
        ("Mon-Fri 08:00-18:00 Local", 21, "whatever machine", "Europe/Berlin"),
        ("Mon-Fri 08:00-18:00 Berlin", 21, "no time zone", '"Europe/Berlin"'),
        ("Mon-Fri 08:00-18:00 Europe/Berln", 21, "no time zone", '"Europe/Berlin"'),
        ("Mon-Fri 08:00-18:00 +01:00", 21, "offset", "Europe/Berlin"),
        ("Mon-Fri 08:00-18:00 Z", 21, "no time zone", "UTC"),
        ("Mon-Fri 8-18 UTC", 9, "no hours", '"08:00-18:00"'),
        ("Mon-Fri 0800-1800 UTC", 9, "no hours", '"08:00-18:00"'),
        ("Mon-Fri 8am-6:30pm UTC", 9, "no hours", '"08:00-18:30"'),
        ("Mon-Fri 08:00:00-18:00:00 UTC", 9, "no hours", '"08:00-18:00"'),
        ("Mon-Fri 08:60-18:00 UTC", 9, "no 08:60", "59"),
        ("Mon-Fri 08:00-25:00 UTC", 15, "no 25:00", "24"),
        ("Mon-Fri 24:00-06:00 UTC", 9, "24:00", '"00:00"'),
        ("Mon-Fri 12:00-12:00 UTC", 9, "empty", "00:00-24:00"),
        ("Mon-Fri 08:00 UTC", 15, "until when", "08:00-18:00"),
        ("Mon-Fri", 8, "missing", "00:00-24:00"),
        ("Mon-Fry 08:00-18:00 UTC", 5, "no weekday", '"Fri"'),
        ("Mon-Fri 08:00-18:00 UTC, Wendesday 08:00-09:00 UTC", 26, "neither", '"Wednesday"'),
        ("alway", 1, "neither", '"always"'),
        ("true", 1, "neither", '"always"'),
        ("Mon-Fri 08:00-18:00 UTC, garbage", 26, "neither", "Mon"),
        ("Mon-Fri 08:00-18:00 UTC,", 25, "comma", "take it away"),
        ("Mon-Fri 08:00-12:00-13:00 UTC", 20, "one start and one end", "08:00-12:00,13:00-17:00"),
        ("Mon-Fri 08:00-18:00 UTC Sat 10:00-12:00 UTC", 25, "not understood", "comma"),
        ("Mon-Fri 08:00-18:00 Sat 10:00-12:00 UTC", 21, "comma", "Sat"),
        ("Mon-Fri 08:00-12:00 UTC, 13:00-17:00 UTC", 26, "which days", "daily"),
        ("Mon 08:00-10:00 UTC; Tue 08:00-10:00 Asia/Tokyo; Wed 08:00-10:00", 65, "Several", "UTC"),
        ("0 8 * * 1-5 UTC", 1, "cron", "start cron"),
        ("cron(0 8 * * 1-5) UTC", 1, "cron", "start cron"),
        ("start 0 8 * * 8 UTC", 15, "day of week", "7"),
        ("start cron(0 8 * *) UTC", 12, "five fields", "0 8"),
        ("start * * * * * UTC", 7, "1440 times", "minute"),
        ("start 0 8 30 2 * UTC", 11, "no year", "month"),
        ("start 0 8 31 4,6 * UTC", 11, "no year", "month"),
        ("start @daily UTC", 7, "five cron fields", "0 8"),
        ("stop 20:00-22:00 UTC", 11, "moments", "stop"),
        ("Mon-Fri 08:00-18:00 UTC; stop 20:00", 1, "do not go together", "start and stop"),
        ("2026-02-05-2026-02-06 08:00-10:00 UTC", 1, "two dots", '"2026-02-05..2026-02-06"'),
        ("2026-02-30 08:00-10:00 UTC", 1, "no day", "2026"),
        ("02-30 08:00-10:00 UTC", 1, "no day", "12-24"),
        ("2026-02-06..2026-02-05 08:00-10:00 UTC", 1, "ends before", "2026-02-05..2026-02-06"),
        ("2026-01-02T00:00:00Z-2026-01-01T00:00:00Z", 1, "ends before", "swap"),
        ("2026-01-02T00:00:00Z-2026-01-02T00:00:00Z", 1, "when it begins", "end"),
        ("2026-01-02T00:00:00Z", 21, "alone", "from"),
        ("from 2026-10-25T02:30 Europe/Berlin", 6, "twice", "2026-10-25T02:30:00+02:00"),
        ("from 2026-02-01", 16, "which time zone", "UTC"),
        ("from yesterday UTC", 6, "no instant", "2026"),
        ("from 0001-01-01 UTC", 6, "beyond the calendar", "year"),
        ("from 2026-02-31T00:00:00Z", 6, "there is no", "day"),
        ("Mon-Fri 08:00-18:00 UTC except Mon", 32, "dates", "weekday"),
        ("Mon-Fri 08:00-18:00 UTC except", 31, "which days", "except"),
        ("Mon-Fri 08:00-18:00 UTC except 12-24 08:00-12:00", 38, "whole days", "rule"),
        ("Mon-Fri 08:00-18:00 UTC except 12-24; Sat 10:00-12:00", 37, "last", "end"),
        ("Mon-Fri 08:00-18:00 except 12-24 UTC", 34, "zone", "UTC except"),
        ("except 12-24", 1, "nothing", "rules"),
        ("Mon 08:00-09:00 UTC except calendar(firm)", 37, "no calendar", "none"),
        ("Mon 08:00-09:00 UTC except holidays(Germany)", 37, "no country", "DE"),
        ("Mon 08:00-09:00 UTC except holidays(XX)", 37, "holidays of XX", "calendar"),
    ],
)
def test_what_is_not_understood_is_named_with_its_column(
    text: str, column: int, said: str, suggested: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)
    assert said in caught.value.message
    assert suggested in caught.value.hint
    assert caught.value.column == column
    assert caught.value.hint


def test_an_error_is_an_input_error_with_a_place() -> None:
    with pytest.raises(InputError) as caught:
        parse_schedule("Mon-Fry 08:00-18:00 UTC")
    assert caught.value.to_dict() == {
        "code": "InvalidSchedule",
        "message": "'Fry' is no weekday",
        "hint": 'did you mean "Fri"?',
        "column": 5,
    }
    assert caught.value.exit_code is ExitCode.INPUT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timezone": "CET"}, "abbreviation"),
        ({"timezone": "Local"}, "whatever machine"),
        ({"weekdays": "Mon-Fry"}, "no weekday"),
        ({"weekdays": "2026-02-03"}, "no weekdays"),
        ({"weekdays": "Mon 08:00"}, "no weekdays"),
        ({"dialect": "perl"}, "no dialect"),
        ({"timezone": 7}, "no text"),
    ],
)
def test_bad_defaults_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        parse_schedule("Mon 08:00-09:00 UTC", **options)


def test_a_schedule_is_a_text_that_a_person_could_have_written() -> None:
    for text in (None, 7, b"always", ["always"]):
        with pytest.raises(ScheduleError, match="is a text"):
            parse_schedule(text)
    with pytest.raises(ScheduleError, match="at most 16384"):
        parse_schedule("Mon 08:00-09:00 UTC, " * 5000)
    with pytest.raises(ScheduleError, match="more than 128 rules"):
        parse_schedule("; ".join(["Mon 08:00-09:00 UTC"] * 200))


def test_parsing_the_same_text_again_gives_the_same_value() -> None:
    assert parse_schedule("Mon 08:00-09:00 UTC") is parse_schedule("Mon 08:00-09:00 UTC")
