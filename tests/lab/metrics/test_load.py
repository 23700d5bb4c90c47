from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmkit.lab.metrics.load import DAY, HOUR, SHAPES, SLOT, Activity, choose_shape, is_weekend, wave

MONDAY = 20_780 * DAY  # 2026-11-23
SHAPE_NAMES = sorted(SHAPES)


def test_the_first_day_of_the_tests_is_a_monday():
    assert [is_weekend(20_780 + day) for day in range(7)] == [False] * 5 + [True] * 2


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPE_NAMES),
    seed=st.integers(0, 10**6),
    times=st.lists(st.floats(0, 60 * DAY), min_size=2, max_size=40),
)
def test_work_never_falls_and_is_never_more_than_the_time(shape, seed, times):
    activity = Activity(seed, "a/b", "cpu", SHAPES[shape], MONDAY)
    done = [(at, activity.done(MONDAY + at)) for at in sorted(times)]
    for (earlier, before), (later, after) in pairwise(done):
        assert after >= before - 1e-6
        assert after - before <= (later - earlier) * 1.5 + 1e-6


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    split=st.floats(0, 5 * DAY),
    span=st.floats(1, 5 * DAY),
    shape=st.sampled_from(SHAPE_NAMES),
)
def test_the_increase_over_a_stretch_does_not_depend_on_how_it_is_read(seed, split, span, shape):
    one = Activity(seed, "a/b", "cpu", SHAPES[shape], MONDAY)
    other = Activity(seed, "a/b", "cpu", SHAPES[shape], MONDAY)
    for at in range(0, 5 * DAY, 7 * HOUR):
        other.done(MONDAY + at)
    whole = one.done(MONDAY + split + span) - one.done(MONDAY + split)
    assert other.done(MONDAY + split + span) - other.done(MONDAY + split) == pytest.approx(whole, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.integers(1, 40), shape=st.sampled_from(SHAPE_NAMES))
def test_a_counter_that_began_earlier_grows_by_the_same(seed, offset, shape):
    early = Activity(seed, "a/b", "cpu", SHAPES[shape], MONDAY - offset * DAY)
    late = Activity(seed, "a/b", "cpu", SHAPES[shape], MONDAY)
    at = MONDAY + 3.3 * DAY
    assert early.done(at) - early.done(MONDAY) == pytest.approx(late.done(at), abs=1e-5)


def hourly(name, hour, *, day=0):
    activity = Activity(1, "a/b", "cpu", SHAPES[name], MONDAY)
    start = MONDAY + day * DAY + hour * HOUR
    return (activity.done(start + HOUR) - activity.done(start)) / HOUR


def test_office_work_is_done_by_day_on_weekdays():
    assert hourly("office-hours", 10) > 5 * hourly("office-hours", 3)
    assert hourly("office-hours", 10) > 5 * hourly("office-hours", 10, day=5)


def test_night_work_is_done_at_night():
    assert hourly("nightly", 2) > 10 * hourly("nightly", 12)


def test_idle_guests_only_make_noise():
    assert hourly("agent-noise", 12) < 0.02
    assert hourly("dead", 12) < 0.005
    assert hourly("always-busy", 3) > 0.4


def test_bursts_differ_from_slot_to_slot():
    activity = Activity(1, "a/b", "cpu", SHAPES["bursty"], MONDAY)
    values = [activity.intensity(MONDAY + slot * SLOT) for slot in range(288)]
    assert max(values) > 8 * (min(values) + 1e-9)


def test_a_shape_is_taken_by_name_or_drawn_in_fixed_shares():
    assert choose_shape(1, "a/b", "nightly").name == "nightly"
    drawn = [choose_shape(1, f"a/{number}").name for number in range(2000)]
    assert set(drawn) == set(SHAPES)
    assert 0.2 < sum(name in ("agent-noise", "dead") for name in drawn) / 2000 < 0.3


@given(st.floats(0, 10**10), st.integers(0, 1000))
def test_a_level_drifts_without_jumps(at, seed):
    here, soon = wave(seed, "a/b", "memory", at), wave(seed, "a/b", "memory", at + 1)
    assert 0 <= here <= 1
    assert abs(here - soon) < 0.001
