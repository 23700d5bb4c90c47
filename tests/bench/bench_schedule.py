"""What schedules cost, in CPU time of this process.

    python tests/bench/bench_schedule.py

A next transition, asked afresh at another instant each time, in microseconds (bound 100); and deciding for ten
thousand VMs, each with annotations of its own, on a Friday evening as windows close, in seconds (bound 1).
The best of several runs counts, so that a busy machine changes little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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

RUNS = 5
BOUND_MICROSECONDS = 100.0
BOUND_SECONDS = 1.0
VMS = 10_000
FRIDAY_EVENING = datetime(2026, 3, 27, 19, 30, tzinfo=UTC)
ORDINARY = (
    "Mon-Fri 08:00-18:00 Europe/Berlin",
    "Mon-Thu 08:00-12:00,13:00-18:00; Fri 08:00-15:00 America/New_York except 12-24..01-01",
    "start 0 8 * * 1-5; stop 0 18 * * 1-5 Asia/Tokyo",
    "Mon-Sun 00:00-24:00 Australia/Sydney",
    "Mon-Fri 20:00-08:00 Europe/London",
)


def _best(measured: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        measured()
        best = min(best, time.process_time() - begun)
    return best


def _next_transition(text: str) -> float:
    schedule = parse_schedule(text)
    first = int(FRIDAY_EVENING.timestamp()) * 1_000_000
    instants = [first + 7 * 3600 * 1_000_000 * count for count in range(1000)]
    return _best(lambda: [schedule.compute_stretch(instant) for instant in instants]) / len(instants) * 1e6


def _decisions() -> float:
    defaults, policy = Defaults(timezone="Europe/Berlin"), Policy()
    since, created_at = FRIDAY_EVENING - timedelta(hours=11), datetime(2026, 1, 1, tzinfo=UTC)
    vms = []
    for number in range(VMS):
        text = f"Mon-Fri {6 + number % 4:02}:{number % 60:02}-{16 + number % 7:02}:{number // 60 % 60:02}"
        source = Source(Scope.VM, f"vm-{number}", {"vmkit.io/schedule": text, "vmkit.io/warn-before-stop": "10m"})
        sources = [source, Source(Scope.NAMESPACE, "shop", {"vmkit.io/schedule": "never"})]
        facts = VmFacts(VmRef("shop", f"vm-{number}"), f"u{number}", PowerState.RUNNING, created_at=created_at)
        digest = resolve_sources(sources, defaults).fingerprint
        vms.append((facts, sources, StoredState(f"u{number}", since, digest)))

    def decide_all() -> None:
        acted = sum(
            decide(facts, resolve_sources(sources, defaults), state, FRIDAY_EVENING, policy).action != "none"
            for facts, sources, state in vms
        )
        assert 0 < acted < VMS, "some windows close this evening, and some have closed"

    return _best(decide_all)


def main() -> int:
    """Prints one line for each; 1 if one is beyond its bound."""
    good = True
    for text in ORDINARY:
        spent = _next_transition(text)
        good &= spent < BOUND_MICROSECONDS
        print(f"{spent:8.1f} µs  next transition (bound {BOUND_MICROSECONDS:g})  {text}")
    spent = _decisions()
    good &= spent < BOUND_SECONDS
    print(f"{spent:8.2f} s   deciding for {VMS} VMs (bound {BOUND_SECONDS:g})")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
