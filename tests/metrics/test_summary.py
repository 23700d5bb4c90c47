"""What a summary of a VM's use says, and what it refuses to say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import UsageError
from vmkit.metrics.summary import UNITS, Measure, Signal, Summary, Unknown, Usage
from vmkit.vm.reference import VmRef

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEAK = Measure(Signal.CPU)


def test_every_signal_has_a_unit() -> None:
    assert set(UNITS) == set(Signal)


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (PEAK, "cpu max of the 5m rate"),
        (Measure(Signal.RECEIVE, 95), "receive p95 of the 5m rate"),
        (Measure(Signal.CPU, 99.5), "cpu p99.5 of the 5m rate"),
        (Measure(Signal.GUEST_LOAD), "guest-load max"),
        (
            Measure(Signal.CPU, 95, peak_window=timedelta(minutes=30), span=timedelta(days=7)),
            "cpu p95 of 30m peaks of the 5m rate in the last 7d",
        ),
    ],
)
def test_a_measure_says_what_it_measures(measure: Measure, text: str) -> None:
    assert str(measure) == text


@pytest.mark.parametrize("percentile", [0, -1, 100.1, math.nan, math.inf])
def test_a_percentile_that_does_not_exist_is_refused(percentile: float) -> None:
    with pytest.raises(UsageError, match="no percentile"):
        Measure(Signal.CPU, percentile)


@pytest.mark.parametrize(
    ("stretches", "named"),
    [
        ({"rate_window": timedelta(0)}, "rate window of 0s"),
        ({"peak_window": timedelta(minutes=1)}, "peak window of 1m"),
        ({"span": timedelta(minutes=4)}, "span of 4m"),
        ({"peak_window": timedelta(hours=2), "span": timedelta(hours=1)}, "span of 1h"),
    ],
)
def test_a_stretch_that_does_not_hold_the_one_inside_it_is_refused(
    stretches: dict[str, timedelta], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        Measure(Signal.CPU, **stretches)  # type: ignore[arg-type]


@given(st.floats())
def test_a_usage_gives_a_number_only_if_a_rate_can_be_that(number: float) -> None:
    value = Usage({PEAK: number}, coverage=1.0, last_seen=AT).value(PEAK)
    if math.isfinite(number) and number >= 0:
        assert value == number
    else:
        assert isinstance(value, Unknown)
        assert value.code == "BadNumber"


def test_what_nobody_measured_is_unknown_and_not_zero() -> None:
    value = Usage({}, coverage=1.0, last_seen=AT).value(PEAK)
    assert value == Unknown("NotMeasured", "nobody measured cpu max of the 5m rate")
    summary = Summary(VmRef("shop", "web"), AT, timedelta(days=14))
    assert summary.signal(Signal.CPU) == Unknown("NotMeasured", "nobody measured cpu")
    for field in (summary.observed, summary.running, summary.sessions, summary.logins, summary.migrations):
        assert isinstance(field, Unknown)
