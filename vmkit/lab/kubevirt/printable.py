"""status.printableStatus of a VM: the first of KubeVirt's statuses that holds (setPrintableStatus in vm.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vmkit.lab.kubevirt.admission.machine import WAIT_AS_RECEIVER, run_strategy
from vmkit.lab.kubevirt.power import condition, is_final, is_true, phase_of

Object = dict[str, Any]

_PROVISIONING: Final = frozenset({
    "", "Pending", "PVCBound", "ImportScheduled", "ImportInProgress", "CloneScheduled", "CloneInProgress",
    "SnapshotForSmartCloneInProgress", "CloneFromSnapshotSourceInProgress", "SmartClonePVCInProgress",
    "CSICloneInProgress", "ExpansionInProgress", "NamespaceTransferInProgress", "UploadScheduled", "UploadReady",
    "PrepClaimInProgress", "RebindInProgress", "Paused", "Unknown",
})  # fmt: skip
_WAITING: Final = ("WaitForFirstConsumer", "PendingPopulation", "Succeeded", "Failed")


def printable_status(
    vm: Object,
    vmi: Object | None,
    *,
    data_volumes: Iterable[Object] = (),
    claims_unbound: bool = False,
) -> str:
    """What ``kubectl get vm`` shows.

    Args:
        vm: the VM, its status already brought up to date.
        vmi: its instance, or None.
        data_volumes: the DataVolumes that its volumes refer to.
        claims_unbound: whether a claim of its volumes is not bound.
    """
    phase = phase_of(vmi)
    if "deletionTimestamp" in vm["metadata"]:
        return "Terminating"
    if vmi is not None:
        if not is_final(vmi) and "deletionTimestamp" in vmi["metadata"]:
            return "Stopping"
        if is_migrating(vmi):
            return "Migrating"
        if phase == "Running":
            return "Paused" if is_true(vmi, "Paused") else "Running"
        trouble = _synchronization(vmi)
        if trouble == "FailedPvcNotFound":
            return "ErrorPvcNotFound"
    else:
        trouble = ""
    volumes = [str((volume.get("status") or {}).get("phase", "")) for volume in data_volumes]
    if "Failed" in volumes:
        return "DataVolumeError"
    if vmi is not None:
        scheduled = condition(vmi, "PodScheduled")
        if (
            scheduled is not None
            and scheduled.get("status") == "False"
            and scheduled.get("reason") == "Unschedulable"
        ):
            return "ErrorUnschedulable"
    if any(volume in _PROVISIONING for volume in volumes):
        return "Provisioning"
    if claims_unbound and is_set_to_start(vm, vmi):
        return "WaitingForVolumeBinding"
    if trouble in ("ErrImagePull", "ImagePullBackOff"):
        return trouble
    if vmi is not None and phase in ("", "Pending", "Scheduling", "Scheduled"):
        return "Starting"
    if vmi is None or is_final(vmi):
        failure = (vm.get("status") or {}).get("startFailure") or {}
        if failure.get("consecutiveFailCount") and run_strategy(vm) in ("Always", "RerunOnFailure", "Once"):
            return "CrashLoopBackOff"
        if vmi is not None or run_strategy(vm) != WAIT_AS_RECEIVER:
            return "Stopped"
        return "WaitingForReceiver"
    if phase == "WaitingForSync" and run_strategy(vm) == WAIT_AS_RECEIVER:
        return "WaitingForReceiver"
    return "Unknown"


def is_migrating(vmi: Object) -> bool:
    """Whether a live migration of the instance is under way (pkg/util/migrations)."""
    state = (vmi.get("status") or {}).get("migrationState") or {}
    return bool(state.get("startTimestamp")) and not state.get("completed")


def _synchronization(vmi: Object) -> str:
    found = condition(vmi, "Synchronized")
    return str(found.get("reason", "")) if found is not None and found.get("status") == "False" else ""


def has_stop_request(vm: Object, vmi: Object) -> bool:
    """Whether the VM's first request is to stop this very instance."""
    waiting = (vm.get("status") or {}).get("stateChangeRequests") or []
    return bool(waiting) and waiting[0].get("action") == "Stop" and waiting[0].get("uid") == vmi["metadata"]["uid"]


def has_start_request(vm: Object) -> bool:
    """Whether the VM's first request is to start."""
    waiting = (vm.get("status") or {}).get("stateChangeRequests") or []
    return bool(waiting) and waiting[0].get("action") == "Start"


def is_set_to_start(vm: Object, vmi: Object | None) -> bool:
    """Whether the VM is meant to run (isSetToStart in vm.go)."""
    strategy = run_strategy(vm)
    if strategy == "Always":
        return True
    if strategy == "Manual":
        return not has_stop_request(vm, vmi) if vmi is not None else has_start_request(vm)
    if strategy == "RerunOnFailure":
        if vmi is not None:
            return phase_of(vmi) != "Succeeded"
        # A stopped one does not count as waiting for its volumes.
        return has_start_request(vm) or (vm.get("status") or {}).get("runStrategy") != strategy
    return strategy == "Once" and vmi is None
