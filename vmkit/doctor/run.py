"""Runs checks side by side: each by itself, with a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from vmkit.cluster.resources import NODES
from vmkit.cluster.retry import RetryPolicy
from vmkit.cluster.session import Session
from vmkit.doctor.checks import CHECKS
from vmkit.doctor.checks.permissions import COMMANDS
from vmkit.doctor.look import Look, Sights
from vmkit.doctor.model import Check, Examination, Finding
from vmkit.errors import UsageError, VmkitError
from vmkit.metrics.prometheus.client import PrometheusClient

CHECK_SECONDS: Final = 60.0
"""A check that takes longer is given up: the others' findings are not held back."""
_PATIENCE: Final = RetryPolicy(attempts=3, first_contact_attempts=3, deadline_seconds=10.0)
_REQUEST_SECONDS: Final = 15.0


def examine(
    session: Session,
    prometheus: PrometheusClient | None = None,
    *,
    checks: Collection[str] = (),
    commands: Sequence[str] = (),
    check_seconds: float = CHECK_SECONDS,
) -> Examination:
    """Looks at the cluster. Changes nothing.

    Args:
        session: with the cluster.
        prometheus: a client; None looks for one in the cluster.
        checks: names of the checks to run; none for all.
        commands: which of vmkit's commands must be allowed; none asks about all, and complains about none.
        check_seconds: the time each check has.

    Raises:
        UsageError: there is no such check or command.
        ClusterError: the cluster does not answer at all.
    """
    chosen = choose_checks(checks)
    unknown = [name for name in commands if name not in COMMANDS]
    if unknown:
        raise UsageError(f"there are no permissions for {unknown[0]!r}", hint="one of " + ", ".join(COMMANDS))
    # Whoever is not let in at all is told once, and not by every check.
    session.can_i("list", NODES)
    patient = session.sibling(request_timeout_seconds=_REQUEST_SECONDS, retry=_PATIENCE, connections=8)
    with patient:
        sights = Sights(patient, prometheus)
        runs = [_Run(check, Look(sights, commands)) for check in chosen]
        for run in runs:
            run.start()
        deadline = time.monotonic() + check_seconds
        for run in runs:
            run.join(max(0.0, deadline - time.monotonic()))
        findings = [finding for run in runs for finding in run.conclude(check_seconds)]
    order = {check.name: index for index, check in enumerate(chosen)}
    findings.sort(key=lambda one: (-one.severity.rank, order[one.check]))
    return Examination(tuple(findings), session.server_time or datetime.now(UTC))


def choose_checks(names: Collection[str] = ()) -> tuple[Check, ...]:
    """The checks of these names, or all, in the order in which they are listed.

    Raises:
        UsageError: there is no such check.
    """
    known = {check.name for check in CHECKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no check {unknown[0]!r}", hint="one of " + ", ".join(sorted(known)))
    return tuple(check for check in CHECKS if not names or check.name in names)


class _Run(threading.Thread):
    """One check under way. A daemon: a check that never ends does not keep the process from ending."""

    def __init__(self, check: Check, look: Look) -> None:
        super().__init__(name=f"doctor-{check.name}", daemon=True)
        self._check, self._look = check, look
        self._findings: list[Finding] = []
        self._done = threading.Event()
        self._defect: BaseException | None = None

    def run(self) -> None:
        try:
            for finding in self._check.run(self._look):
                self._findings.append(finding)
        except VmkitError as error:
            self._look.miss(error.message)
        except BaseException as defect:  # noqa: BLE001 - raised again in the caller's thread
            self._defect = defect
        self._done.set()

    def conclude(self, seconds: float) -> list[Finding]:
        """What it found until now, and what it could not see."""
        done = self._done.is_set()
        if done and self._defect is not None:
            raise self._defect
        missed = list(self._look.unknowns)
        if not done:
            missed.append(f"it took longer than {seconds:g} seconds")
        unknown = self._check.unknown
        return [*self._findings, *(unknown.found(what) for what in missed)]
