"""What the dialects take, and where they differ from each other and from vmkit's own grammar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkit.errors import ScheduleError
from vmkit.schedule import parse_schedule

MONDAY = datetime(2026, 2, 2, tzinfo=UTC)


def at(day: str, time: str) -> datetime:
    hour, minute = time.split(":")
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].index(day)
    return MONDAY + timedelta(days=days, hours=int(hour), minutes=int(minute))


@pytest.mark.parametrize(
    ("day", "time", "own", "go", "python"),
    [
        ("Mon", "07:00", False, True, False),
        ("Mon", "21:00", True, True, False),
        ("Sat", "07:00", True, False, False),
        ("Sat", "21:00", False, False, False),
        ("Wed", "08:00", False, False, False),
        ("Wed", "07:59", True, True, False),
    ],
)
def test_an_overnight_window_belongs_to_its_start_day_its_own_days_or_never(
    day: str, time: str, own: bool, go: bool, python: bool
) -> None:
    text = "Mon-Fri 20:00-08:00 UTC"
    answers = [
        parse_schedule(text, dialect=dialect).is_active(at(day, time)) for dialect in (None, "go", "python")
    ]
    assert answers == [own, go, python]


def test_only_the_python_dialect_includes_the_end_of_an_absolute_window() -> None:
    text = "2026-02-02T00:00:00+00:00-2026-02-03T00:00:00+00:00"
    end = datetime(2026, 2, 3, tzinfo=UTC)
    python, go, own = (parse_schedule(text, dialect=dialect) for dialect in ("python", "go", None))
    assert [one.is_active(end) for one in (python, go, own)] == [True, False, False]
    assert not python.is_active(end + timedelta(microseconds=1))
    assert go.next_change(MONDAY) == own.next_change(MONDAY) == end


@pytest.mark.parametrize(
    ("text", "python", "go"),
    [
        ("Mon-Fri  08:00-18:00 UTC", False, True),
        ("Mon-Fri\t08:00-18:00 UTC", False, True),
        ("Mon-Fri 08:00-18:00 europe/berlin", True, False),
        ("Mon-Fri 08:00-18:00 Etc/GMT+5", False, True),
        ("Mon-Fri 08:00-18:00 America/Port-au-Prince", False, True),
        ("Mon-Fri 25:00-26:00 UTC", True, False),
        ("Mon-Fri 08:60-18:00 UTC", True, False),
        ("Mon-Fri 08:00-18:00 Local", False, False),
        ("Mon-Fri 08:00-18:00 CET", True, True),
        ("2026-02-02T00:00:00Z-2026-02-03T00:00:00Z", False, True),
        ("2026-02-02T00:00:00+00:00 - 2026-02-03T00:00:00+00:00", False, True),
        ("2026-02-02T00:00:00.123456789Z-2026-02-03T00:00:00Z", False, True),
        ("from 2026-02-02T00:00:00Z", False, True),
        ("until 2026-02-02T00:00:00Z", False, True),
        ("FROM 2026-02-02T00:00:00Z", False, False),
        ("true", False, True),
        ("False", False, True),
        (" always ", False, True),
        ("ALWAYS", True, True),
        ("always,never", False, True),
        ("never, Mon-Fri 08:00-18:00 UTC", False, True),
        ("Mon-Fri 08:00-18:00 UTC,", False, False),
        ("Mon-Fri 08:00-18:00", False, False),
        ("Mon 08:00-18:00 UTC", False, False),
        ("Mon-Fri 24:30-24:45 UTC", True, True),
        ("Mon-Fri 24:60-24:61 UTC", True, False),
        ("2026-02-30T00:00:00+00:00-2026-03-03T00:00:00+00:00", False, False),
    ],
)
def test_what_each_dialect_takes(text: str, python: bool, go: bool) -> None:
    for dialect, taken in (("python", python), ("go", go)):
        if taken:
            parse_schedule(text, dialect=dialect)
        else:
            with pytest.raises(ScheduleError) as caught:
                parse_schedule(text, dialect=dialect)
            assert caught.value.column is not None


def test_a_minute_of_sixty_is_the_next_hour_in_the_python_dialect() -> None:
    schedule = parse_schedule("Mon-Fri 08:60-18:00 UTC", dialect="python")
    assert schedule.transitions(MONDAY, MONDAY + timedelta(days=1))[0].at == at("Mon", "09:00")


def test_defaults_fill_what_an_item_leaves_out() -> None:
    for dialect in ("python", "go"):
        schedule = parse_schedule("08:00-18:00", "Etc/GMT+5", "Sat-Sun", dialect)
        assert schedule.is_active(at("Sat", "13:00"))
        assert not schedule.is_active(at("Mon", "13:00"))
        assert not schedule.is_active(at("Sat", "12:59"))


def test_a_list_is_read_whole() -> None:
    for dialect in ("python", "go"):
        with pytest.raises(ScheduleError) as caught:
            parse_schedule("Mon-Fri 08:00-18:00 UTC, garbage", dialect=dialect)
        assert caught.value.column == 26


def test_the_clock_rules_are_the_same_in_every_dialect() -> None:
    night = datetime(2026, 10, 25, tzinfo=UTC)
    reach = (night - timedelta(days=1), night + timedelta(days=1))
    text = "Sun-Sun 02:30-06:00 Europe/Berlin"
    assert (
        parse_schedule(text).transitions(*reach)
        == parse_schedule(text, dialect="go").transitions(*reach)
        == parse_schedule(text, dialect="python").transitions(*reach)
    )
    assert [transition.at.hour for transition in parse_schedule(text).transitions(*reach)] == [0, 5]
