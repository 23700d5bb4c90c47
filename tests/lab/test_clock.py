from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.clock import Clock, format_time, parse_time

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(start=START, frozen=True)


def test_a_frozen_clock_stands_until_it_is_advanced(clock):
    assert clock.now() == START
    clock.advance(timedelta(hours=8))
    assert clock.now() == START + timedelta(hours=8)


def test_what_is_due_at_once_runs_while_time_stands(clock):
    ran = []
    clock.call_later(0, lambda: ran.append("now"))
    clock.call_later(1, lambda: ran.append("later"))
    clock.settle()
    assert ran == ["now"]


def test_each_callback_sees_the_instant_it_was_due_at(clock):
    seen = []
    for seconds in (30, 10, 20):
        clock.call_later(seconds, lambda: seen.append(clock.now() - START))
    clock.advance(timedelta(minutes=1))
    assert seen == [timedelta(seconds=each) for each in (10, 20, 30)]


def test_what_a_callback_schedules_within_the_stretch_runs_too(clock):
    seen = []

    def again():
        seen.append((clock.now() - START).total_seconds())
        if len(seen) < 4:
            clock.call_later(10, again)

    clock.call_later(10, again)
    clock.advance(timedelta(seconds=35))
    assert seen == [10, 20, 30]


def test_a_cancelled_timer_never_runs(clock):
    ran = []
    clock.call_later(1, lambda: ran.append(1)).cancel()
    assert clock.next_due is None
    clock.advance(timedelta(seconds=2))
    assert ran == []


def test_a_failing_callback_is_told_and_does_not_stop_the_others(clock):
    told, ran = [], []
    clock.on_error = told.append
    clock.call_later(1, lambda: 1 / 0)
    clock.call_later(2, lambda: ran.append(1))
    clock.advance(timedelta(seconds=3))
    assert ran == [1]
    assert isinstance(told[0], ZeroDivisionError)


def test_the_clock_refuses_to_go_back_or_to_run_backwards(clock):
    with pytest.raises(ValueError, match="forward"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="above zero"):
        clock.run(speed=0)
    with pytest.raises(ValueError, match="time zone"):
        Clock(start=datetime(2026, 1, 1))


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(0, 1200))
def test_advancing_in_any_steps_runs_the_same_in_the_same_order(delays, cut):
    orders = []
    for steps in ((1200,), (cut, 1200 - cut)):
        clock = Clock(start=START, frozen=True)
        ran: list[tuple[int, datetime]] = []
        for number, delay in enumerate(delays):
            clock.call_later(delay, lambda number=number, clock=clock, ran=ran: ran.append((number, clock.now())))
        for step in steps:
            clock.advance(timedelta(seconds=step))
        orders.append(ran)
    assert orders[0] == orders[1]
    assert [at for _, at in orders[0]] == sorted(at for _, at in orders[0])


def test_times_are_read_and_written_as_kubernetes_does():
    assert format_time(datetime(2026, 1, 1, 2, 30, 15, 999, tzinfo=UTC)) == "2026-01-01T02:30:15Z"
    assert parse_time("2026-01-01T03:00:00+01:00") == datetime(2026, 1, 1, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        parse_time("2026-01-01T03:00:00")
