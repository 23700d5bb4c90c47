"""Questions asked of schedules, alone and put together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from vmkit.errors import ScheduleError
from vmkit.schedule import Wish, parse_schedule
from vmkit.schedule.compose import Periods, UpWithoutDown

MONDAY = datetime(2026, 2, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_instants_come_in_utc_and_go_in_any_zone() -> None:
    schedule = parse_schedule("Mon-Fri 08:00-18:00 Europe/Berlin")
    for zone in (UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")):
        assert schedule.next_change(MONDAY.astimezone(zone)) == datetime(2026, 2, 2, 7, tzinfo=UTC)
    assert schedule.next_change(MONDAY).tzinfo is UTC


@pytest.mark.parametrize("question", ["is_active", "wants", "next_change", "next_transition"])
def test_a_time_without_a_zone_is_refused(question: str) -> None:
    with pytest.raises(ScheduleError, match="no time zone"):
        getattr(parse_schedule("always"), question)(datetime(2026, 2, 2))


def test_a_range_of_transitions_includes_its_start_and_not_its_end() -> None:
    schedule = parse_schedule("Mon 08:00-18:00 UTC")
    start, end = MONDAY + 8 * HOUR, MONDAY + 18 * HOUR
    assert [one.at for one in schedule.transitions(start, end)] == [start]
    assert [one.at for one in schedule.transitions(start, end + timedelta(microseconds=1))] == [start, end]
    assert schedule.transitions(end, start) == ()


def test_the_state_at_a_transition_is_the_new_one() -> None:
    schedule = parse_schedule("Mon 08:00-18:00 UTC")
    assert schedule.is_active(MONDAY + 8 * HOUR)
    assert not schedule.is_active(MONDAY + 18 * HOUR)
    assert schedule.next_change(MONDAY + 8 * HOUR) == MONDAY + 18 * HOUR


@pytest.mark.parametrize(
    ("text", "active"),
    [
        ("always", True),
        ("never", False),
        ("Mon-Sun 00:00-24:00 Europe/Berlin", True),
        ("daily 00:00-12:00, daily 12:00-24:00 America/Havana", True),
        ("daily 06:00-18:00, daily 18:00-06:00 Asia/Gaza", True),
        ("2020-01-01 08:00-18:00 UTC", False),
        ("from 2020-01-01T00:00:00Z", True),
        ("until 2020-01-01T00:00:00Z", False),
        ("start 2020-01-01 08:00; stop 2020-01-02 08:00 UTC", False),
    ],
)
def test_what_never_changes_has_no_next_change(text: str, active: bool) -> None:
    schedule = parse_schedule(text)
    assert schedule.next_change(MONDAY) is None
    assert schedule.is_active(MONDAY) is active
    assert schedule.transitions(MONDAY, MONDAY + 1000 * DAY) == ()


def test_the_next_change_may_be_years_away() -> None:
    leap = parse_schedule("02-29 10:00-12:00 UTC")
    assert leap.next_change(MONDAY) == datetime(2028, 2, 29, 10, tzinfo=UTC)
    assert leap.next_change(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, 10, tzinfo=UTC)
    cron = parse_schedule("start 0 8 29 2 *; stop 0 18 29 2 * UTC")
    assert cron.next_change(MONDAY) == datetime(2028, 2, 29, 8, tzinfo=UTC)
    assert not cron.is_active(MONDAY)
    closed = parse_schedule("Mon 08:00-18:00 UTC except 2026-02-01..2026-12-31")
    assert closed.next_change(MONDAY) == datetime(2027, 1, 4, 8, tzinfo=UTC)


def test_windows_wholly_in_a_skipped_hour_are_reported() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    schedule = parse_schedule("daily 02:15-02:45 Europe/Berlin; Mon 08:00-18:00 UTC")
    ((at, rule),) = schedule.skipped_windows(start, end)
    assert at == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert rule.source.text == "daily 02:15-02:45 Europe/Berlin"
    assert len(schedule.transitions(at - HOUR, at + HOUR)) == 0


def test_a_day_that_a_zone_skips_has_no_windows() -> None:
    schedule = parse_schedule("Fri 08:00-18:00 Pacific/Apia")
    assert schedule.next_change(datetime(2011, 12, 25, tzinfo=UTC)) == datetime(2012, 1, 5, 18, tzinfo=UTC)


def test_the_ends_of_the_calendar_do_no_harm() -> None:
    for at in (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)):
        for text in (
            "Mon-Fri 08:00-18:00 Pacific/Kiritimati",
            "always",
            "start 08:00; stop 18:00 Pacific/Pago_Pago",
            "02-29 08:00-09:00 UTC",
        ):
            schedule = parse_schedule(text)
            schedule.is_active(at)
            schedule.next_change(at)


def test_cron_days_of_month_and_of_week_are_either() -> None:
    schedule = parse_schedule("start 0 8 13 * 5; stop 0 18 * * * UTC")
    starts = [one.at.day for one in schedule.transitions(MONDAY, MONDAY + 14 * DAY) if one.active]
    assert starts == [6, 13]


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("0 8 1-5/2 * *", [3, 5]),
        ("0 8 */5 2 *", [6, 11]),
        ("0 8 * feb tue,thu", [3, 5, 10, 12]),
        ("0 8 * * fri-sun", [6, 7, 8, 13, 14, 15]),
        ("0 8 * * 0", [8, 15]),
        ("0 8 * * 7", [8, 15]),
        ("0 8 10/3 * *", [10, 13]),
        ("0 8 * 3 *", []),
    ],
)
def test_cron_fields(fields: str, days: list[int]) -> None:
    schedule = parse_schedule(f"start cron({fields}) UTC")
    assert [one.at.day for one in schedule.transitions(MONDAY, MONDAY + 14 * DAY)] == days


def test_a_downtime_is_on_outside_its_windows() -> None:
    schedule = parse_schedule("Mon-Fri 20:00-06:00 UTC").as_downtime()
    assert not schedule.is_active(MONDAY + 22 * HOUR)
    assert schedule.is_active(MONDAY + 12 * HOUR)
    assert [one.active for one in schedule.transitions(MONDAY, MONDAY + 2 * DAY)] == [False, True, False]
    moments = parse_schedule("start Mon 20:00; stop Tue 06:00 UTC").as_downtime()
    assert [one.active for one in moments.transitions(MONDAY, MONDAY + 2 * DAY)] == [False, True]


def test_a_downtime_errs_to_on_in_a_repeated_hour() -> None:
    night = datetime(2026, 10, 25, tzinfo=UTC)
    off = parse_schedule("Sun 02:30-06:00 Europe/Berlin").as_downtime()
    assert off.transitions(night, night + 6 * HOUR)[0].at == night + timedelta(hours=1, minutes=30)
    assert parse_schedule("Sat 22:00-02:30 Europe/Berlin").as_downtime().next_change(night) == night + timedelta(
        minutes=30
    )


def test_uptime_without_downtime() -> None:
    both = UpWithoutDown(
        parse_schedule("Mon-Fri 08:00-18:00 UTC"), parse_schedule("Mon 12:00-13:00 UTC").as_downtime()
    )
    found = both.transitions(MONDAY, MONDAY + DAY)
    assert [(one.at.hour, one.active) for one in found] == [(8, True), (12, False), (13, True), (18, False)]
    assert both.next_change(datetime(2026, 2, 2, 13, tzinfo=UTC)) == MONDAY + 18 * HOUR


def test_periods_leave_the_time_between_alone() -> None:
    periods = Periods(
        parse_schedule("Mon 07:00-08:00 UTC"), parse_schedule("Mon 18:00-19:00, Mon 07:30-07:45 UTC")
    )
    found = periods.transitions(MONDAY, MONDAY + DAY)
    assert [(f"{one.at:%H:%M}", one.active) for one in found] == [
        ("07:00", True),
        ("07:45", True),
        ("18:00", False),
    ]
    assert periods.wants(MONDAY + 12 * HOUR) is Wish.ANY
    assert periods.wants(MONDAY + timedelta(hours=7, minutes=40)) is Wish.ANY
    assert periods.wants(MONDAY + timedelta(hours=18, minutes=30)) is Wish.OFF
    assert periods.next_change(MONDAY + 20 * HOUR) == MONDAY + 7 * DAY + 7 * HOUR


def test_the_latest_transition_is_looked_for_only_so_far_back() -> None:
    schedule = parse_schedule("Mon 08:00-18:00 UTC")
    at = MONDAY + 19 * HOUR
    assert schedule.latest_transition(at, 2 * HOUR).at == MONDAY + 18 * HOUR
    assert schedule.latest_transition(at, HOUR / 2) is None
    assert schedule.latest_transition(at, 12 * HOUR).active is False
