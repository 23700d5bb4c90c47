"""The cluster's clock between its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkit.schedule.controller.clock import ClusterClock

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


class Uptime:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_between_answers_time_goes_on_by_a_clock_that_nobody_sets() -> None:
    uptime = Uptime()
    clock = ClusterClock(uptime)
    assert clock.now() is None
    assert clock.tell(NOON) is None
    uptime.seconds += 40
    assert clock.now() == NOON + timedelta(seconds=40)


@pytest.mark.parametrize(
    ("told", "step"),
    [
        (timedelta(seconds=60), None),
        (timedelta(seconds=58), None),  # answers tell whole seconds, and take a moment
        (timedelta(hours=1, seconds=60), timedelta(hours=1)),
        (timedelta(hours=-2, seconds=60), timedelta(hours=-2)),
        (timedelta(seconds=0), timedelta(seconds=-60)),
    ],
)
def test_a_clock_that_was_set_is_noticed(told: timedelta, step: timedelta | None) -> None:
    uptime = Uptime()
    clock = ClusterClock(uptime)
    clock.tell(NOON)
    uptime.seconds += 60
    assert clock.tell(NOON + told) == step
    assert clock.now() == NOON + told


def test_a_cluster_that_does_not_say_has_this_machine_s_clock() -> None:
    clock = ClusterClock()
    assert clock.tell(None) is None
    now = clock.now()
    assert now is not None
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
