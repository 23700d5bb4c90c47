"""The last look before a stop, and the brake: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.idle.world import AT, REF, quiet_facts, quiet_summary
from vmkit.errors import ServerFault
from vmkit.idle import PRESETS, find_preset, vmkit_policy
from vmkit.idle.policy import IdlePolicy
from vmkit.idle.running.brake import Share, object_to_growth
from vmkit.idle.running.evidence import LAST_LOOK, last_look_criteria, object_to_use, summarize
from vmkit.metrics.summary import Login, Measure, Sessions, Signal, Summary, Unknown, Usage

POLICY = vmkit_policy()


def last(level: float = 0.001, policy: IdlePolicy = POLICY, **changes: object) -> Summary:
    """What the last minutes were: every signal at this level."""
    measures = [each.measure for each in last_look_criteria(policy)]
    usage = {each.signal: Usage({each: level}, 1.0, AT - timedelta(minutes=1)) for each in measures}
    summary = replace(quiet_summary(policy), lookback=LAST_LOOK, usage=usage)
    return replace(summary, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_a_quiet_quarter_of_an_hour_speaks_against_nothing_and_a_busy_one_does(name: str) -> None:
    policy = find_preset(name)
    for each in last_look_criteria(policy):
        assert each.measure.percentile == 100
        assert each.measure.rate_window <= LAST_LOOK
        assert each.measure.span is None
    assert object_to_use(last(policy=policy), quiet_facts(), policy, AT) is None
    objection = object_to_use(last(10_000_000.0, policy), quiet_facts(), policy, AT)
    assert objection is not None
    assert objection.code == "InUse"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sessions": Sessions(1, None, AT)}, "SessionOpen"),
        ({"sessions": Sessions(0, AT - timedelta(minutes=5), AT)}, "SessionSeen"),
        ({"sessions": Unknown("Away", "nobody")}, "Away"),
        ({"logins": (Login("ada"),)}, "LoggedIn"),
        ({"usage": {}}, "NotMeasured"),
        ({"usage": {Signal.CPU: Unknown("Away", "nobody")}}, "Away"),
    ],
)
def test_people_and_what_nobody_knows_speak_against_a_stop(changes: dict[str, object], code: str) -> None:
    objection = object_to_use(last(**changes), quiet_facts(), POLICY, AT)  # type: ignore[arg-type]
    assert objection is not None
    assert objection.code == code


def test_an_old_sample_says_nothing_about_now() -> None:
    objection = object_to_use(last(), quiet_facts(), POLICY, AT + timedelta(hours=1))
    assert objection is not None
    assert objection.code == "Stale"


def test_a_source_that_fails_or_forgets_a_vm_leaves_it_unknown() -> None:
    class Failing:
        def summarize(self, *_: object, **__: object) -> dict[object, Summary]:
            raise ServerFault("Prometheus says 500")

    class Forgetful:
        def summarize(self, *_: object, **__: object) -> dict[object, Summary]:
            return {}

    for source, code in ((Failing(), "ServerFault"), (Forgetful(), "NotAnswered")):
        found = summarize(source, [REF], [Measure(Signal.CPU)], at=AT, lookback=timedelta(days=14))  # type: ignore[arg-type]
        usage = found[REF].signal(Signal.CPU)
        assert isinstance(usage, Unknown)
        assert usage.code == code


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        (None, Share(100, 100), False),
        (Share(10, 100), Share(20, 100), False),
        (Share(10, 100), Share(21, 100), True),
        (Share(0, 4), Share(2, 4), False),
        (Share(0, 4), Share(3, 4), True),
        (Share(90, 100), Share(10, 100), False),
        (Share(0, 0), Share(3, 3), True),
    ],
)
def test_a_run_ends_itself_above_ten_points_and_two_vms(before: Share | None, now: Share, refused: bool) -> None:
    assert (object_to_growth(before, now) is not None) is refused
