"""The speeds the design promises, in CPU time of this process, so that a busy machine changes little."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from vmkit.schedule import (
    Defaults,
    Policy,
    Scope,
    Source,
    StoredState,
    VmFacts,
    decide,
    parse_schedule,
    resolve_sources,
)
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

FRIDAY_EVENING = datetime(2026, 3, 27, 19, 30, tzinfo=UTC)
ORDINARY = (
    "Mon-Fri 08:00-18:00 Europe/Berlin",
    "Mon-Thu 08:00-12:00,13:00-18:00; Fri 08:00-15:00 America/New_York except 12-24..01-01",
    "start 0 8 * * 1-5; stop 0 18 * * 1-5 Asia/Tokyo",
    "Mon-Sun 00:00-24:00 Australia/Sydney",
)


def test_a_next_transition_takes_under_a_hundred_microseconds() -> None:
    """Asked afresh each time, at another instant: nothing is remembered from the question before."""
    instants = [
        int((FRIDAY_EVENING + timedelta(hours=7 * count)).timestamp()) * 1_000_000 for count in range(1000)
    ]
    for text in ORDINARY:
        schedule = parse_schedule(text)
        for instant in instants:  # the days of the zone are worked out once in a process
            schedule.compute_stretch(instant)
        begun = time.process_time()
        for instant in instants:
            schedule.compute_stretch(instant)
        assert (time.process_time() - begun) / len(instants) < 100e-6, text


def test_ten_thousand_vms_are_decided_in_a_second() -> None:
    """Every VM with annotations of its own, a fifth of the texts different, on Friday evening as windows close."""
    defaults, policy = Defaults(timezone="Europe/Berlin"), Policy()
    vms = []
    for number in range(10_000):
        text = f"Mon-Fri {6 + number % 4:02}:{number % 60:02}-{16 + number % 7:02}:{number // 60 % 60:02}"
        source = Source(Scope.VM, f"vm-{number}", {"vmkit.io/schedule": text, "vmkit.io/warn-before-stop": "10m"})
        space = Source(Scope.NAMESPACE, "shop", {"vmkit.io/schedule": "never"})
        facts = VmFacts(
            VmRef("shop", f"vm-{number}"),
            f"u{number}",
            PowerState.RUNNING,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        digest = resolve_sources([source], defaults).fingerprint
        vms.append(
            (facts, [source, space], StoredState(f"u{number}", FRIDAY_EVENING - timedelta(hours=11), digest))
        )
    begun = time.process_time()
    actions = [
        decide(facts, resolve_sources(sources, defaults), state, FRIDAY_EVENING, policy).action
        for facts, sources, state in vms
    ]
    assert time.process_time() - begun < 1.0
    assert set(actions) == {"none", "warn"}
