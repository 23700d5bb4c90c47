"""What start, stop and restart do to a VM: one decision each, from the VM, its instance and the request.

After pkg/virt-api/rest/lifecycle.go, in its order of checks. Everything here is pure; a refusal is an `ApiError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.kubevirt.admission.machine import run_strategy
from vmkit.lab.status import ApiError, bad_request, conflict, internal_error

Object = dict[str, Any]

GROUP: Final = "kubevirt.io"
VM: Final = "virtualmachine"
VMI: Final = "virtualmachineinstance"
FINAL_PHASES: Final = ("Succeeded", "Failed")
RECOVERY_REQUIRED: Final = (
    "VM recovery required: Volume migration failed, leaving some volumes pointing to non-consistent targets; "
    "manual intervention is needed to reassign them to their original volumes"
)


@dataclass(frozen=True, slots=True)
class PowerEffect:
    """What virt-api writes.

    Attributes:
        grace_seconds: written to the instance's terminationGracePeriodSeconds first.
        strategy: written to the VM's spec (as runStrategy, or as running where that is what it uses).
        requests: written to the VM's status.stateChangeRequests.
        pod_grace_seconds: the launcher pod is deleted with this grace (a forced restart).
    """

    grace_seconds: int | None = None
    strategy: str | None = None
    requests: tuple[Object, ...] | None = None
    pod_grace_seconds: int | None = None


def is_final(vmi: Object | None) -> bool:
    """Whether an instance has ended for good."""
    return vmi is not None and (vmi.get("status") or {}).get("phase") in FINAL_PHASES


def phase_of(vmi: Object | None) -> str:
    """An instance's phase; "" for none."""
    return "" if vmi is None else str((vmi.get("status") or {}).get("phase", ""))


def condition(obj: Object | None, kind: str) -> Object | None:
    """A condition of a VM or an instance by type, or None."""
    for each in ((obj or {}).get("status") or {}).get("conditions") or ():
        if each.get("type") == kind:
            found: Object = each
            return found
    return None


def is_true(obj: Object | None, kind: str) -> bool:
    """Whether a condition is there and True."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def vm_conflict(name: str, why: str) -> ApiError:
    """409 about a VM, in KubeVirt's words."""
    return conflict(GROUP, VM, name, why)


def vmi_conflict(name: str, why: str) -> ApiError:
    """409 about an instance, in KubeVirt's words."""
    return conflict(GROUP, VMI, name, why)


def check_startable(vm: Object, vmi: Object | None) -> None:
    """The checks of start that come before its body is read.

    Raises:
        ApiError: 409.
    """
    name = vm["metadata"]["name"]
    if vmi is not None and not is_final(vmi) and phase_of(vmi) not in ("", "Unknown"):
        raise vm_conflict(name, "VM is already running")
    if is_true(vm, "ManualRecoveryRequired"):
        raise vm_conflict(name, RECOVERY_REQUIRED)


def decide_start(vm: Object, vmi: Object | None, *, paused: bool) -> PowerEffect:
    """What start does.

    Raises:
        ApiError: 409, or 500 when another request is under way.
    """
    check_startable(vm, vmi)
    name, strategy = vm["metadata"]["name"], run_strategy(vm)
    start: Object = {"action": "Start"}
    if paused:
        start["data"] = {"paused": "true"}
    if strategy == "Halted":
        if paused:
            return PowerEffect(requests=_requests(vm, start))
        return PowerEffect(strategy="Always")
    if strategy in ("RerunOnFailure", "Manual"):
        phase = phase_of(vmi)
        if strategy == "RerunOnFailure" and phase == "Failed":
            raise vm_conflict(name, f"{strategy} does not support starting VM from failed state")
        if vmi is not None and (phase == "Succeeded" or (strategy == "Manual" and is_final(vmi))):
            return PowerEffect(requests=_requests(vm, _stop(vmi), start))
        return PowerEffect(requests=_requests(vm, start))
    if strategy in ("Always", "Once"):
        raise vm_conflict(name, f"{strategy} does not support manual start requests")
    return PowerEffect()  # WaitAsReceiver: accepted, and nothing happens


def decide_stop(vm: Object, vmi: Object | None, *, grace_seconds: int | None) -> PowerEffect:
    """What stop does.

    Raises:
        ApiError: 409.
    """
    name, strategy = vm["metadata"]["name"], run_strategy(vm)
    alive = vmi is not None and not is_final(vmi)
    grace = grace_seconds if alive else None
    if strategy in ("Always", "Once"):
        return PowerEffect(grace_seconds=grace, strategy="Halted")
    if strategy in ("Halted", "RerunOnFailure", "Manual"):
        if vmi is None or not alive:
            raise vm_conflict(name, "VM is not running")
        if strategy == "Halted":
            before = vmi["spec"].get("terminationGracePeriodSeconds")
            if grace_seconds is None or (before is not None and grace_seconds >= before):
                raise vm_conflict(
                    name, f"{strategy} only supports manual stop requests with a shorter graceperiod"
                )
        return PowerEffect(grace_seconds=grace, requests=_requests(vm, _stop(vmi)))
    return PowerEffect(grace_seconds=grace)


def check_restart_grace(grace_seconds: int | None) -> None:
    """The check of restart that comes before the VM is looked up.

    Raises:
        ApiError: 400.
    """
    if grace_seconds is not None and grace_seconds > 0:
        raise bad_request("For force restart, only gracePeriod=0 is supported for now")
    if grace_seconds is not None and grace_seconds < 0:
        raise bad_request("gracePeriod has to be greater or equal to 0")


def decide_restart(vm: Object, vmi: Object | None, *, grace_seconds: int | None) -> PowerEffect:
    """What restart does; ``grace_seconds`` is None or 0.

    Raises:
        ApiError: 409, or 500 when another request is under way.
    """
    name, strategy = vm["metadata"]["name"], run_strategy(vm)
    if is_true(vm, "VolumesChange"):
        raise vm_conflict(name, RECOVERY_REQUIRED)
    if strategy in ("Halted", "Once"):
        raise vm_conflict(name, f"RunStategy {strategy} does not support manual restart requests")
    if vmi is None:
        raise vm_conflict(name, "VM is not running: Halted")
    return PowerEffect(
        requests=_requests(vm, _stop(vmi), {"action": "Start"}),
        # One second is the shortest grace that restarts safely (lifecycle.go).
        pod_grace_seconds=1 if grace_seconds == 0 else None,
    )


def _stop(vmi: Object) -> Object:
    return {"action": "Stop", "uid": vmi["metadata"]["uid"]}


def _requests(vm: Object, *changes: Object) -> tuple[Object, ...]:
    waiting = (vm.get("status") or {}).get("stateChangeRequests")
    if waiting and not (len(changes) == 1 and changes[0]["action"] == "Stop"):
        raise internal_error("unable to complete request: stop/start already underway")
    return changes
