"""A transfer into a claim as a pure function of the time since its pod was scheduled.

An import copies an image; how long it takes follows from the disk's size. It may fail on demand, as real imports
do: the
importer pod ends, is restarted with a growing pause, and the count of restarts shows in the DataVolume's status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["scheduled", "running", "waiting", "succeeded", "failed"]

POD_START_SECONDS = 4.0
"""From the claim to a running importer pod: scheduling, attaching the volume, an image that is on the node
already."""

BYTES_PER_SECOND = 100 * 1024**2
_IMAGE_BYTES = 2 * 1024**3
_STEPS = 20
_MIN_STEP_SECONDS = 2.0
"""CDI reads an importer's progress every two seconds (reconcileProgressUpdate); long transfers are shown in
twenty steps."""

_FIRST_BACKOFF_SECONDS = 10.0
_MAX_BACKOFF_SECONDS = 300.0
"""The kubelet's pauses between restarts of a container: 10 s, doubled, at most 5 minutes."""

SECONDS_ANNOTATION = "lab.vmkit.io/transfer-seconds"
"""On a DataVolume: how long its transfer takes, in seconds, whatever its size."""

FAILURES_ANNOTATION = "lab.vmkit.io/transfer-failures"
"""On a DataVolume: how often its transfer fails before it succeeds; "always" for ever, "give-up" until phase
Failed."""

ALWAYS = -1
_GIVE_UP_AFTER = 3


@dataclass(frozen=True)
class TransferPlan:
    """What is going to happen.

    Attributes:
        start_seconds: until the pod runs.
        seconds: how long a complete transfer takes, from the pod's start.
        failures: how many attempts fail before one succeeds; `ALWAYS` if none ever does.
        attempt_seconds: how long an attempt lasts that fails.
        gives_up: after three failed attempts it is over (DataVolume phase Failed).
        error: what a failed attempt says.
    """

    start_seconds: float
    seconds: float
    failures: int = 0
    attempt_seconds: float = 5.0
    gives_up: bool = False
    error: str = ""


@dataclass(frozen=True)
class TransferView:
    """A transfer at one instant.

    Attributes:
        stage: "scheduled" before the pod runs, "waiting" between a failed attempt and the next one.
        progress: percent, 0 to 100.
        restarts: how often the pod was restarted.
        error: what the last attempt said; "" where none failed or one succeeded.
        next_seconds: until there is something new to show; None when it is over.
    """

    stage: Stage
    progress: float
    restarts: int
    error: str
    next_seconds: float | None


def plan_import(spec: Mapping[str, Any], annotations: Mapping[str, str], claim_bytes: int) -> TransferPlan:
    """The plan of an import, from a DataVolume's source and its annotations.

    ``lab-fail`` in a source's address makes it fail until it gives up, ``lab-fail-N`` makes N attempts fail; a
    ``404`` or ``403`` as part of a path fails for ever as the web server of that name would.
    """
    source = spec.get("source") or {}
    url = next((str(value.get("url") or "") for value in source.values() if isinstance(value, Mapping)), "")
    if "blank" in source:
        return _adjusted(TransferPlan(POD_START_SECONDS, 1.0), annotations)
    plan = TransferPlan(POD_START_SECONDS, min(claim_bytes, _IMAGE_BYTES + claim_bytes // 10) / BYTES_PER_SECOND)
    if match := re.search(r"lab-fail(?:-(\d+))?", url):
        failures = int(match[1]) if match[1] else ALWAYS
        plan = _failing(
            plan, failures, f"Unable to process data: unexpected EOF while reading {url}", gives_up=not match[1]
        )
    elif match := re.search(r"/(404|403)(?:/|$)", url):
        text = {"404": "404 Not Found", "403": "403 Forbidden"}[match[1]]
        error = f"Unable to connect to http data source: expected status code 200, got {match[1]}. Status: {text}"
        plan = _failing(plan, ALWAYS, error)
    return _adjusted(plan, annotations)


def plan_copy(annotations: Mapping[str, str], claim_bytes: int) -> TransferPlan:
    """The plan of a host-assisted clone: every byte of the source goes through two pods."""
    return _adjusted(TransferPlan(POD_START_SECONDS, max(1.0, claim_bytes / BYTES_PER_SECOND)), annotations)


def _failing(plan: TransferPlan, failures: int, error: str, *, gives_up: bool = False) -> TransferPlan:
    return TransferPlan(plan.start_seconds, plan.seconds, failures, 5.0, gives_up, error)


def _adjusted(plan: TransferPlan, annotations: Mapping[str, str]) -> TransferPlan:
    seconds, failures, gives_up, error = plan.seconds, plan.failures, plan.gives_up, plan.error
    written = annotations.get(SECONDS_ANNOTATION, "")
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", written):
        seconds = float(written)
    wanted = annotations.get(FAILURES_ANNOTATION, "")
    if wanted in ("always", "give-up"):
        failures, gives_up = ALWAYS, wanted == "give-up"
    elif re.fullmatch(r"[0-9]{1,3}", wanted):
        failures, gives_up = int(wanted), False
    if failures and not error:
        error = "Unable to process data: connection reset by peer"
    return TransferPlan(plan.start_seconds, seconds, failures, plan.attempt_seconds, gives_up, error)


def view_transfer(plan: TransferPlan, elapsed_seconds: float) -> TransferView:
    """The state of a transfer ``elapsed_seconds`` after its pod was scheduled."""
    if elapsed_seconds < plan.start_seconds:
        return TransferView("scheduled", 0.0, 0, "", plan.start_seconds - elapsed_seconds)
    at, attempt = plan.start_seconds, 0
    while plan.failures == ALWAYS or attempt < plan.failures:
        fails_at = at + plan.attempt_seconds
        error = plan.error if attempt else ""
        if elapsed_seconds < fails_at:
            return TransferView("running", 0.0, attempt, error, fails_at - elapsed_seconds)
        attempt += 1
        if plan.gives_up and attempt >= _GIVE_UP_AFTER:
            return TransferView("failed", 0.0, attempt, plan.error, None)
        at = fails_at + min(_FIRST_BACKOFF_SECONDS * 2 ** min(attempt - 1, 10), _MAX_BACKOFF_SECONDS)
        if elapsed_seconds < at:
            return TransferView("waiting", 0.0, attempt - 1, plan.error, at - elapsed_seconds)
    done = elapsed_seconds - at
    if done >= plan.seconds:
        return TransferView("succeeded", 100.0, attempt, "", None)
    step = max(_MIN_STEP_SECONDS, plan.seconds / _STEPS)
    shown = done // step * step
    return TransferView(
        "running", 100.0 * shown / plan.seconds, attempt, "", min(shown + step, plan.seconds) - done
    )
