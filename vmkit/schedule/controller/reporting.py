"""What a controller tells people and monitoring: each thing once, for as long as it is so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Final

from vmkit.errors import VmkitError
from vmkit.plan import Outcome, Status
from vmkit.report.outcomes import describe_outcome
from vmkit.schedule.controller.clock import read_uptime
from vmkit.schedule.controller.lines import Line
from vmkit.schedule.controller.metrics import Metrics
from vmkit.schedule.decide import Decision
from vmkit.schedule.running.options import Seen
from vmkit.schedule.running.subjects import Subject
from vmkit.vm.reference import VmRef

_TELL_AGAIN_SECONDS: Final = 3000.0
"""Events are kept for an hour."""
_DEALT_WITH: Final = frozenset({
    "AlreadyRunning", "AlreadyStopped", "BadAnnotation", "BadObject", "Done", "FirstSight", "ForceEnded", "GaveUp",
    "Gone", "Missed", "NotAdopted", "OnceFinished", "ScheduleChanged", "Skipped", "StartedAfterwards",
    "StoppedByHand",
})  # fmt: skip
"""Codes after which nothing waits."""


class Reporter:
    """Remembers what has been said. Failures may come from any thread, the rest from the one that makes passes.

    Args:
        metrics: are counted up.
        on_line: is told.
    """

    def __init__(self, metrics: Metrics, on_line: Callable[[Line], None]) -> None:
        self._metrics, self._on_line = metrics, on_line
        self._lock = threading.Lock()
        self._failures: dict[str, str] = {}
        self._told: dict[VmRef, tuple[str, str, str, float]] = {}
        self._said: dict[str, tuple[object, ...]] = {}
        self._saying: dict[str, tuple[object, ...]] = {}
        self._waiting: Counter[str] = Counter()
        self._notices: frozenset[str] = frozenset()

    def say(
        self,
        event: str,
        text: str,
        *,
        problem: bool = False,
        outcome: Outcome | None = None,
        error: VmkitError | None = None,
    ) -> None:
        """Says one thing; see `Line`."""
        self._on_line(Line(datetime.now(UTC), event, text, problem, outcome, error))

    # --- what fails -------------------------------------------------------------------------------------------

    def fail(self, what: str, error: VmkitError) -> None:
        """Says what failed, once for as long as it fails for the same reason."""
        with self._lock:
            known = self._failures.get(what) == error.message
            self._failures[what] = error.message
        if not known:
            self.say("failed", f"{what}: {error.message}", problem=True, error=error)

    def recover(self, what: str) -> bool:
        """It fails no more; whether it did."""
        with self._lock:
            return self._failures.pop(what, None) is not None

    def failure(self, what: str) -> str:
        """Why it fails; empty where it does not."""
        with self._lock:
            return self._failures.get(what, "")

    # --- what a pass sees and does ----------------------------------------------------------------------------

    def begin_pass(self) -> None:
        """A pass begins."""
        self._saying, self._waiting = {}, Counter()

    def end_pass(self, known: Collection[VmRef]) -> None:
        """It has ended; ``known`` are the VMs there are."""
        self._said = self._saying
        self._told = {ref: told for ref, told in self._told.items() if ref in known}
        self._metrics.set_all("waiting_vms", self._waiting)

    def note(self, notices: Iterable[str]) -> None:
        """What people should know of a pass or of the settings, where the last one did not say it too."""
        notices = tuple(dict.fromkeys(notices))
        for notice in notices:
            if notice not in self._notices:
                self.say("notice", notice)
        self._notices = frozenset(notices)

    def see(self, seen: Seen) -> None:
        """What it saw."""
        for name, value in (
            ("vms", seen.vms),
            ("managed_vms", seen.scheduled),
            ("bad_annotations", seen.problems),
            ("next_transition_timestamp_seconds", 0 if seen.next_at is None else seen.next_at.timestamp()),
        ):
            self._metrics.set(name, float(value))
        self._metrics.set("wanted_vms", float(seen.wanted_on), "on")
        self._metrics.set("wanted_vms", float(seen.wanted_off), "off")

    def hear(self, outcome: Outcome) -> None:
        """What came of a VM: a line, unless the last pass said the same."""
        done = outcome.status in (Status.CHANGED, Status.UNCHANGED, Status.PLANNED)
        if outcome.verb in ("start", "stop", "warn") and outcome.status not in (Status.PLANNED, Status.SKIPPED):
            self._metrics.add("actions_total", outcome.verb, str(outcome.status))
        if not done and outcome.reason.code not in _DEALT_WITH:
            self._waiting[outcome.reason.code] += 1
        what = (outcome.status, outcome.verb, outcome.reason.code, outcome.detail.get("transition"))
        self._saying[outcome.target.path] = what
        if outcome.status is Status.CHANGED or self._said.get(outcome.target.path) != what:
            text = describe_outcome(outcome)
            self.say("outcome", text, problem=not outcome.ok, outcome=outcome, error=outcome.error)

    def is_told(self, subject: Subject, decision: Decision) -> bool:
        """Whether the VM's Events tell of this problem already; from now on they do."""
        now = read_uptime()
        what = (subject.view.uid, decision.reason.code, decision.reason.text)
        before = self._told.get(subject.ref)
        if before is not None and before[:3] == what and now - before[3] < _TELL_AGAIN_SECONDS:
            return True
        self._told[subject.ref] = (*what, now)
        return False
