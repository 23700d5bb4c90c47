"""What a DataVolume's status says: phase, progress and conditions, as pure functions of its claim and its
transfer.

Source: CDI pkg/controller/datavolume/{controller-base,conditions,import-controller,clone-controller-base}.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmkit.lab.cdi.capabilities import CloneStrategy
from vmkit.lab.cdi.transfers import TransferView

Object = dict[str, Any]
NOT_KNOWN = "N/A"
DONE = "100.0%"


@dataclass(frozen=True)
class Verdict:
    """A DataVolume's state at one instant.

    Attributes:
        phase: "" is CDI's unset phase: the claim could not be made.
        progress: as shown ("42.17%", "N/A").
        restarts: how often the transfer's pod was restarted.
        running: (status, reason, message) of the condition Running.
        event: (type, reason, message) to record when the phase is new; None for none.
        note: (reason, message) of the condition Bound while there is no claim.
        next_seconds: until there is something new; None when nothing is waited for on the clock.
        finished: the content is complete: the claim may be bound.
    """

    phase: str
    progress: str = NOT_KNOWN
    restarts: int = 0
    running: tuple[str, str, str] = ("False", "", "")
    event: tuple[str, str, str] | None = None
    note: tuple[str, str] = ("", "")
    next_seconds: float | None = None
    finished: bool = False


def judge_import(view: TransferView, claim_name: str) -> Verdict:
    """The verdict on an import (or a blank disk) whose transfer looks like this."""
    if view.stage == "scheduled":
        event = ("Normal", "ImportScheduled", f"Import into {claim_name} scheduled")
        return Verdict(
            "ImportScheduled",
            running=("False", "ContainerCreating", ""),
            event=event,
            next_seconds=view.next_seconds,
        )
    if view.stage == "succeeded":
        event = ("Normal", "ImportSucceeded", f"Successfully imported into PVC {claim_name}")
        return Verdict(
            "Succeeded", DONE, view.restarts, ("False", "Completed", "Import Complete"), event, finished=True
        )
    if view.stage == "failed":
        event = ("Warning", "ImportFailed", f"Failed to import into PVC {claim_name}")
        return Verdict("Failed", NOT_KNOWN, view.restarts, ("False", "Error", view.error), event)
    event = ("Normal", "ImportInProgress", f"Import into {claim_name} in progress")
    running = ("True", "Pod is running", "") if view.stage == "running" else ("False", "Error", view.error)
    return Verdict(
        "ImportInProgress", f"{view.progress:.2f}%", view.restarts, running, event, next_seconds=view.next_seconds
    )


def judge_upload(view_ready: bool, uploaded: bool, claim_name: str, *, next_seconds: float | None) -> Verdict:
    """The verdict on an upload: its pod starts, waits for the data, and is done when it has come."""
    if uploaded:
        event = ("Normal", "UploadSucceeded", f"Successfully uploaded into {claim_name}")
        return Verdict("Succeeded", DONE, 0, ("False", "Completed", "Upload Complete"), event, finished=True)
    if view_ready:
        event = ("Normal", "UploadReady", f"Upload into {claim_name} ready")
        return Verdict("UploadReady", running=("True", "Pod is running", ""), event=event)
    event = ("Normal", "UploadScheduled", f"Upload into {claim_name} scheduled")
    return Verdict(
        "UploadScheduled", running=("False", "ContainerCreating", ""), event=event, next_seconds=next_seconds
    )


@dataclass(frozen=True)
class CloneNames:
    """Whose clone it is, for the texts of its events."""

    kind: str
    source_namespace: str
    source_name: str
    namespace: str
    name: str


_CLONE_TEXTS: Mapping[str, str] = {
    "CloneScheduled": "Cloning from {source} into {target} scheduled",
    "CloneInProgress": "Cloning from {source} into {target} in progress",
    "CSICloneInProgress": "CSI Volume clone in progress (for pvc {source})",
    "SnapshotForSmartCloneInProgress": "Creating snapshot for smart-clone is in progress (for pvc {source})",
    "CloneFromSnapshotSourceInProgress": "Creating PVC from snapshot source is in progress (for {kind} {source})",
    "PrepClaimInProgress": "Prepping PersistentVolumeClaim for DataVolume {target}",
    "RebindInProgress": "Rebinding PersistentVolumeClaim for DataVolume {target}",
    "Succeeded": "Successfully cloned from {source} into {target}",
}

CLONE_PHASES: Mapping[str, str] = {
    "CloneScheduled": "Pending",
    "CloneInProgress": "HostClone",
    "CSICloneInProgress": "CSIClone",
    "SnapshotForSmartCloneInProgress": "Snapshot",
    "CloneFromSnapshotSourceInProgress": "SnapshotClone",
    "PrepClaimInProgress": "PrepClaim",
    "RebindInProgress": "Rebind",
    "Succeeded": "Succeeded",
}
"""A DataVolume's phase -> the claim's annotation ``cdi.kubevirt.io/clonePhase``."""


def clone_stages(strategy: CloneStrategy, kind: str, *, expands: bool) -> list[tuple[str, float]]:
    """The phases a clone by the storage itself passes through, each with its length in seconds."""
    stages: list[tuple[str, float]] = [("CloneScheduled", 1.0)]
    if strategy == "csi-clone":
        stages.append(("CSICloneInProgress", 3.0))
    else:
        if kind == "pvc":
            stages.append(("SnapshotForSmartCloneInProgress", 2.0))
        stages.append(("CloneFromSnapshotSourceInProgress", 2.0))
    if expands:
        stages.append(("PrepClaimInProgress", 2.0))
    stages.append(("RebindInProgress", 1.0))
    return stages


def judge_clone(stages: list[tuple[str, float]], elapsed_seconds: float, names: CloneNames) -> Verdict:
    """The verdict on a clone by the storage, so long after it began."""
    at = 0.0
    for phase, seconds in stages:
        at += seconds
        if elapsed_seconds < at:
            return Verdict(phase, event=_clone_event(phase, names), next_seconds=at - elapsed_seconds)
    return Verdict(
        "Succeeded",
        DONE,
        event=_clone_event("Succeeded", names),
        running=("False", "Completed", "Clone Complete"),
        finished=True,
    )


def judge_copy(view: TransferView, names: CloneNames) -> Verdict:
    """The verdict on a host-assisted clone."""
    if view.stage == "succeeded":
        running = ("False", "Completed", "Clone Complete")
        return Verdict("Succeeded", DONE, view.restarts, running, _clone_event("Succeeded", names), finished=True)
    if view.stage == "failed":
        text = (
            f"Cloning from {names.source_namespace}/{names.source_name} into {names.namespace}/{names.name} failed"
        )
        return Verdict(
            "Failed", NOT_KNOWN, view.restarts, ("False", "Error", view.error), ("Warning", "CloneFailed", text)
        )
    phase = "CloneScheduled" if view.stage == "scheduled" else "CloneInProgress"
    running = {
        "running": ("True", "Pod is running", ""),
        "scheduled": ("False", "ContainerCreating", ""),
    }.get(view.stage, ("False", "Error", view.error))
    progress = f"{view.progress:.2f}%" if phase == "CloneInProgress" else NOT_KNOWN
    return Verdict(
        phase, progress, view.restarts, running, _clone_event(phase, names), next_seconds=view.next_seconds
    )


def _clone_event(phase: str, names: CloneNames) -> tuple[str, str, str]:
    text = _CLONE_TEXTS[phase].format(
        kind=names.kind,
        source=f"{names.source_namespace}/{names.source_name}",
        target=f"{names.namespace}/{names.name}",
    )
    return ("Normal", "CloneSucceeded" if phase == "Succeeded" else phase, text)


# --- the status as it is written ------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimView:
    """A DataVolume's claim as far as its status tells of it."""

    name: str
    phase: str
    reason: str = field(default="")


def build_status(old: Mapping[str, Any], verdict: Verdict, claim: ClaimView | None, *, at: str) -> Object:
    """The status of a DataVolume.

    Args:
        old: the status before; conditions that have not changed keep their times.
        verdict: its state now.
        claim: its claim, None while there is none.
        at: the present instant as Kubernetes writes it.
    """
    status: Object = {}
    if claim is not None:
        status["claimName"] = claim.name
    status["conditions"] = _conditions(list(old.get("conditions") or ()), verdict, claim, at)
    if verdict.phase:
        status["phase"] = verdict.phase
    if claim is not None or verdict.progress != NOT_KNOWN:
        status["progress"] = verdict.progress
    if verdict.restarts:
        status["restartCount"] = verdict.restarts
    return status


def _conditions(old: list[Object], verdict: Verdict, claim: ClaimView | None, at: str) -> list[Object]:
    if claim is None:
        reason, message = verdict.note if verdict.note[0] else ("NotFound", "No PVC found")
        bound = ("False", reason, message)
    elif claim.phase == "Bound":
        bound = ("True", "Bound", f"PVC {claim.name} Bound")
    elif claim.phase == "Lost":
        bound = ("False", "ClaimLost", "Claim Lost")
    else:
        bound = ("False", "Pending", f"PVC {claim.name} Pending")
    if verdict.phase == "Succeeded":
        ready = ("True", "", "")
    else:
        ready = ("False", "TransferRunning" if verdict.running[0] == "True" else verdict.note[0], verdict.note[1])
    known = {condition["type"]: condition for condition in old}
    return [
        _condition(known.get(type_), type_, values, at)
        for type_, values in (("Bound", bound), ("Ready", ready), ("Running", verdict.running))
    ]


def _condition(old: Object | None, type_: str, values: tuple[str, str, str], at: str) -> Object:
    status, reason, message = values
    built: Object = {"type": type_, "status": status}
    if reason:
        built["reason"] = reason
    if message:
        built["message"] = message
    transition, heartbeat = (old or {}).get("lastTransitionTime", at), (old or {}).get("lastHeartbeatTime", at)
    if old is None or old["status"] != status:
        transition = heartbeat = at
    elif (old.get("reason", ""), old.get("message", "")) != (reason, message):
        heartbeat = at
    return built | {"lastTransitionTime": transition, "lastHeartbeatTime": heartbeat}
