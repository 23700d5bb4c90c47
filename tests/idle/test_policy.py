"""Definitions of idle: what the presets say, what they cannot see, and which settings are refused."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import UsageError
from vmkit.idle.policy import PRESETS, Criterion, IdlePolicy, find_preset, vmkit_policy
from vmkit.metrics.summary import Measure, Signal

DAY = timedelta(days=1)
CPU = Measure(Signal.CPU)

DEFINITIONS = {
    "vmkit": [
        "cpu max of the 5m rate below 0.15 cores",
        "cpu max of the 5m rate below 3 % of its CPUs",
        "receive max of the 5m rate below 32000 B/s",
        "transmit max of the 5m rate below 32000 B/s",
        "disk-read max of the 5m rate below 500000 B/s",
        "disk-write max of the 5m rate below 500000 B/s",
    ],
    "aws": [
        "cpu max of the 5m rate below 5 % of its CPUs",
        "network max of the 1d rate below 57.8704 B/s",
    ],
    "gcp": [
        "cpu p97 of the 5m rate below 0.03 cores",
        "receive p95 of the 5m rate below 2000 B/s",
        "transmit p95 of the 5m rate below 1000 B/s",
    ],
    "azure": [
        "cpu p95 of 30m peaks of the 5m rate below 3 % of its CPUs",
        "cpu max of the 30m rate in the last 3d at most 2 % of its CPUs",
        "transmit max of the 5m rate below 2.5e+06 B/s",
    ],
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_criteria_of_its_definition(name: str) -> None:
    assert [str(each) for each in find_preset(name).criteria] == DEFINITIONS[name]


@pytest.mark.parametrize(("name", "days"), [("vmkit", 14), ("aws", 14), ("gcp", 14), ("azure", 7)])
def test_a_preset_looks_back_as_far_as_its_definition(name: str, days: int) -> None:
    assert find_preset(name).lookback == days * DAY


def test_only_vmkits_own_preset_weighs_people() -> None:
    assert [name for name in PRESETS if find_preset(name).weighs_people] == ["vmkit"]


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as failure:
        find_preset("oracle")
    assert failure.value.hint == "one of vmkit, aws, gcp, azure"


# --- the longest job that a setting cannot see -------------------------------------------------------------------


def test_a_maximum_hides_a_job_of_seconds_only() -> None:
    assert vmkit_policy().longest_unseen_job(2) == timedelta(minutes=5) * 0.06


def test_a_percentile_hides_its_share_of_the_lookback() -> None:
    unseen = vmkit_policy(percentile=99.5).longest_unseen_job(2)
    assert abs(unseen - 14 * DAY * 0.005) < timedelta(minutes=1)


def test_the_cloud_presets_hide_hours() -> None:
    assert find_preset("gcp").longest_unseen_job(2) > timedelta(hours=10)
    # By Azure's, a job has to hide from the percentile of the week: the three days alone are the weaker limit.
    assert timedelta(hours=8) < find_preset("azure").longest_unseen_job(2) < timedelta(hours=9)


def test_on_a_large_vm_a_share_of_its_cpus_hides_a_whole_core_for_good() -> None:
    assert find_preset("aws").longest_unseen_job(20) == 14 * DAY
    assert vmkit_policy().longest_unseen_job(200) == timedelta(minutes=5) * 0.15


@given(st.floats(min_value=99.5, max_value=100), st.integers(min_value=1, max_value=512))
def test_a_higher_percentile_never_hides_more(percentile: float, vcpus: int) -> None:
    unseen = vmkit_policy(percentile=percentile).longest_unseen_job(vcpus)
    assert vmkit_policy().longest_unseen_job(vcpus) <= unseen <= 14 * DAY


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [99.4, 95, 50, 0, -1, math.nan, 101])
def test_vmkits_own_preset_refuses_a_percentile_that_cannot_see_nightly_jobs(percentile: float) -> None:
    with pytest.raises(UsageError):
        vmkit_policy(percentile=percentile)


def test_the_refusal_of_p95_says_which_job_it_would_miss() -> None:
    with pytest.raises(UsageError, match=r"p95 over 14d cannot see a job of 1h1[12]m every night"):
        vmkit_policy(percentile=95)


@pytest.mark.parametrize("limit", [0, -0.1, math.nan, math.inf])
def test_a_limit_that_is_no_positive_number_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        Criterion(CPU, limit)


def test_a_share_above_a_half_and_a_share_of_traffic_are_refused() -> None:
    with pytest.raises(UsageError, match="uses 80% of its CPUs is in use"):
        Criterion(CPU, 0.8, of_vcpus=True)
    with pytest.raises(UsageError, match="no share of a VM's CPUs"):
        Criterion(Measure(Signal.RECEIVE), 0.1, of_vcpus=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criteria": ()}, "says nothing about CPU"),
        ({"criteria": (Criterion(Measure(Signal.RECEIVE), 1),)}, "says nothing about CPU"),
        ({"lookback": timedelta(hours=1)}, "sees no whole day"),
        ({"coverage": 0.2}, "coverage of 0.2"),
        ({"coverage": 1.2}, "coverage of 1.2"),
        ({"coverage": math.nan}, "coverage of nan"),
        ({"noise_floor": -1.0}, "noise floor"),
        ({"noise_floor": math.nan}, "noise floor"),
        ({"minimum_age": -DAY}, "minimum age"),
        ({"minimum_running": 15 * DAY}, "minimum running time of 15d"),
        ({"settle": -DAY}, "time to settle"),
        ({"freshness": 20 * DAY}, "freshness"),
        ({"criteria": (Criterion(Measure(Signal.CPU, span=20 * DAY), 1),)}, "reaches further back than 14d"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(settings: dict[str, object], said: str) -> None:
    whole: dict[str, object] = {"name": "mine", "criteria": (Criterion(CPU, 0.1),), **settings}
    with pytest.raises(UsageError, match=said):
        IdlePolicy(**whole)  # type: ignore[arg-type]


def test_a_policy_asks_for_each_measure_once_and_for_what_shows_visitors() -> None:
    measures = vmkit_policy().measures
    assert len(set(measures)) == len(measures)
    for name in PRESETS:
        signals = {each.signal for each in find_preset(name).measures}
        assert {Signal.CPU, Signal.RECEIVE, Signal.NETWORK} <= signals
