"""Conditions of instances and VMs: reading, setting, and the ones KubeVirt writes, in its words."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.kubevirt.world import claim_of

Object = dict[str, Any]

GUEST_NOT_RUNNING: Final = ("GuestNotRunning", "Guest VM is not reported as running")
POD_TERMINATING: Final = ("PodTerminating", "virt-launcher pod is terminating")
POD_MISSING: Final = ("PodNotExists", "virt-launcher pod has not yet been scheduled")
PAUSED_GATE: Final = (
    "ReadinessGatesNotReady",
    'the status of pod readiness gate "kubevirt.io/virtual-machine-unpaused" is not "True", but False',
)
ALLOW_POD_BRIDGE: Final = "kubevirt.io/allow-pod-bridge-network-live-migration"


def set_condition(status: Object, condition: Object) -> None:
    """Puts a condition into a status, in the place of the one of its type or at the end."""
    conditions: list[Object] = status.setdefault("conditions", [])
    for index, each in enumerate(conditions):
        if each.get("type") == condition["type"]:
            conditions[index] = condition
            return
    conditions.append(condition)


def drop_condition(status: Object, kind: str) -> None:
    """Takes a condition out of a status, if it is there."""
    conditions = [each for each in status.get("conditions") or [] if each.get("type") != kind]
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)


def not_ready(why: tuple[str, str], at: str) -> Object:
    """Ready is False: ``why`` is (reason, message)."""
    reason, message = why
    return {
        "lastProbeTime": at, "lastTransitionTime": at, "message": message, "reason": reason, "status": "False",
        "type": "Ready",
    }  # fmt: skip


def ready(at: str) -> Object:
    """Ready is True."""
    return {"lastProbeTime": None, "lastTransitionTime": at, "status": "True", "type": "Ready"}


def plain(kind: str, status: str, *, reason: str = "", message: str = "", probed: str | None = None) -> Object:
    """A condition without a transition time, as virt-handler writes them."""
    condition: Object = {"lastProbeTime": probed, "lastTransitionTime": None}
    if message:
        condition["message"] = message
    if reason:
        condition["reason"] = reason
    condition.update(status=status, type=kind)
    return condition


def same_outcome(old: Object | None, new: Object) -> bool:
    """Whether two conditions say the same, times apart."""
    return old is not None and all(old.get(key) == new.get(key) for key in ("status", "reason", "message"))


def live_migratable(vmi: Object, claims: dict[str, Object]) -> Object:
    """The condition LiveMigratable: True, or why the instance cannot move (pkg/virt-handler/vm.go).

    Args:
        vmi: the instance.
        claims: the PersistentVolumeClaims of its volumes, by name.
    """
    spec = vmi["spec"]
    domain = spec.get("domain") or {}
    devices = domain.get("devices") or {}
    for volume in spec.get("volumes") or []:
        claim = claims.get(claim_of(volume))
        if claim is not None and "ReadWriteMany" not in (claim.get("spec", {}).get("accessModes") or []):
            return _not_migratable(
                "DisksNotLiveMigratable",
                f"cannot migrate VMI: PVC {claim['metadata']['name']} is not shared, live migration requires that "
                "all PVCs must be shared (using ReadWriteMany access mode)",
            )
        if "hostDisk" in volume and not volume["hostDisk"].get("shared"):
            return _not_migratable("DisksNotLiveMigratable", "cannot migrate VMI with non-shared HostDisk")
    pod_networks = {network.get("name") for network in spec.get("networks") or [] if "pod" in network}
    for interface in devices.get("interfaces") or []:
        allowed = ALLOW_POD_BRIDGE in (vmi["metadata"].get("annotations") or {})
        if interface.get("name") in pod_networks and "bridge" in interface and not allowed:
            return _not_migratable(
                "InterfaceNotLiveMigratable",
                "cannot migrate VMI which does not use masquerade, bridge with "
                f"{ALLOW_POD_BRIDGE} VM annotation or a migratable plugin to connect to the pod network",
            )
    if (domain.get("cpu") or {}).get("model") == "host-passthrough":
        return _not_migratable("CPUModeLiveMigratable", "cannot migrate VMI with host-passthrough CPU")
    if devices.get("filesystems"):
        return _not_migratable("VirtIOFSNotLiveMigratable", "VMI uses virtiofs")
    if devices.get("hostDevices") or devices.get("gpus"):
        return _not_migratable("HostDeviceNotLiveMigratable", "VMI uses a PCI host devices")
    if "sev" in (domain.get("launchSecurity") or {}):
        return _not_migratable("SEVNotLiveMigratable", "VMI uses SEV")
    return plain("LiveMigratable", "True")


def _not_migratable(reason: str, message: str) -> Object:
    return plain("LiveMigratable", "False", reason=reason, message=message)


def copied_to_vm(vm_status: Object, vmi: Object | None, at: str) -> None:
    """Brings a VM's conditions up to date with its instance's (syncConditions in vm.go), in place.

    The copies of a past instance stay until there is a new one.
    """
    found = {each["type"]: each for each in ((vmi or {}).get("status") or {}).get("conditions") or []}
    theirs = found.get("Ready")
    if vmi is None:
        told = not_ready(("VMINotExists", "VMI does not exist"), at)
    elif theirs is None:
        told = not_ready(("VMIConditionMissing", "VMI is missing the Ready condition"), at)
    else:
        told = theirs
    before = next((each for each in vm_status.get("conditions") or [] if each["type"] == "Ready"), None)
    if theirs is not None or not same_outcome(before, told):
        set_condition(vm_status, told)
    if vmi is None:
        return
    own = ("Ready", "Failure", "RestartRequired", "ManualRecoveryRequired")
    for kind, condition in found.items():
        if kind not in own:
            set_condition(vm_status, condition)
    for each in list(vm_status.get("conditions") or []):
        if each["type"] not in own and each["type"] not in found:
            drop_condition(vm_status, each["type"])
