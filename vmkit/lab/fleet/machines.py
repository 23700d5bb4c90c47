"""A fleet's VirtualMachines, with the status a control plane at rest has given them, and those that have gone
wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.disks import build_data_volume_spec
from vmkit.lab.fleet.identity import claim_name, make_uid, owner_reference, vm_uid
from vmkit.lab.fleet.plan import VmPlan
from vmkit.lab.fleet.template import build_conditions, build_labels, build_template, build_volumes

Object = dict[str, Any]


# --- the VirtualMachine ---------------------------------------------------------------------------


def build_vm(plan: VmPlan, *, seed: int, at: datetime, pinned: Mapping[str, Object] | None = None) -> Object:
    """The VirtualMachine of a plan, with its status.

    Args:
        pinned: the ``status.instancetypeRef`` and ``status.preferenceRef`` that KubeVirt has given it.
    """
    labels = build_labels(plan)
    metadata: Object = {
        "name": plan.name,
        "namespace": plan.namespace,
        "uid": vm_uid(seed, plan),
        "creationTimestamp": format_time(plan.created),
        "generation": 1,
        "labels": labels,
        "annotations": _annotations(plan),
        "finalizers": ["kubevirt.io/virtualMachineControllerFinalize"],
    }
    if plan.pool:
        metadata["ownerReferences"] = [
            owner_reference(
                "pool.kubevirt.io/v1beta1",
                "VirtualMachinePool",
                plan.pool,
                make_uid(seed, "pool", plan.namespace, plan.pool),
            )
        ]
        labels["kubevirt.io/vmpool"] = plan.pool
    spec: Object = {}
    if plan.run_strategy.startswith("running:"):
        spec["running"] = plan.run_strategy == "running:true"
    else:
        spec["runStrategy"] = plan.run_strategy
    if plan.instancetype:
        spec["instancetype"] = {"kind": "virtualmachineclusterinstancetype", "name": plan.instancetype}
    if plan.preference:
        spec["preference"] = {"kind": "virtualmachineclusterpreference", "name": plan.preference}
    templates = [_data_volume_template(plan, disk.name) for disk in plan.disks if disk.source != "container"]
    if templates:
        spec["dataVolumeTemplates"] = templates
    spec["template"] = {
        "metadata": {
            "annotations": {"kubevirt.io/pci-topology-version": "v3"},
            "labels": {**labels, "kubevirt.io/domain": plan.pool or plan.name},
        },
        "spec": build_template(plan, seed),
    }
    vm: Object = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": metadata, "spec": spec}
    vm["status"] = _build_vm_status(plan, at) | dict(pinned or {})
    return _spoil(vm, plan.defect) if plan.defect else vm


def _annotations(plan: VmPlan) -> dict[str, str]:
    annotations = {
        "kubevirt.io/latest-observed-api-version": "v1",
        "kubevirt.io/storage-observed-api-version": "v1",
        "vmkit.io/owner": f"{plan.owner}@example.com",
        "lab.vmkit.io/load": plan.load,
    }
    if plan.application:
        reference = f"{plan.application}:kubevirt.io/VirtualMachine:{plan.namespace}/{plan.name}"
        annotations["argocd.argoproj.io/tracking-id"] = reference
    if not plan.agent:
        annotations["lab.vmkit.io/guest-agent"] = "false"
    if plan.state == "crash-looping":
        annotations["lab.vmkit.io/guest-crash"] = "boot"
    if plan.operating_system != "debian":
        annotations["lab.vmkit.io/guest-os"] = plan.operating_system
    return annotations


def _data_volume_template(plan: VmPlan, disk_name: str) -> Object:
    disk = next(disk for disk in plan.disks if disk.name == disk_name)
    return {
        "metadata": {"name": claim_name(plan, disk_name), "creationTimestamp": None},
        "spec": build_data_volume_spec(disk),
    }


def _build_vm_status(plan: VmPlan, at: datetime) -> Object:
    running = plan.state in ("running", "paused")
    status: Object = {
        "desiredGeneration": 1,
        "observedGeneration": 1,
        "printableStatus": _printable_status(plan),
        "volumeSnapshotStatuses": _snapshot_statuses(plan),
    }
    if not plan.run_strategy.startswith("running:"):
        status["runStrategy"] = plan.run_strategy
    else:
        status["runStrategy"] = "Always" if plan.run_strategy == "running:true" else "Halted"
    if running:
        status["created"] = True
        if plan.state == "running":
            status["ready"] = True
        status["conditions"] = build_conditions(plan)
    else:
        status["conditions"] = [_missing_instance(plan, at)]
    if plan.state in ("starting", "provisioning", "unschedulable") and plan.run_strategy in (
        "Manual",
        "RerunOnFailure",
    ):
        # Somebody has asked for it; these strategies do not start anything by themselves.
        status["stateChangeRequests"] = [{"action": "Start"}]
    if plan.state == "crash-looping":
        status["startFailure"] = {
            "consecutiveFailCount": 6,
            "lastFailedVMIUID": make_uid(0, "failed", plan.namespace, plan.name),
            "retryAfterTimestamp": format_time(at + timedelta(minutes=5)),
        }
    return status


def _printable_status(plan: VmPlan) -> str:
    return {
        "running": "Running",
        "paused": "Paused",
        "crash-looping": "CrashLoopBackOff",
        "provisioning": "Provisioning",
        "starting": "Starting",
        "unschedulable": "ErrorUnschedulable",
    }.get(plan.state, "Stopped")


def _snapshot_statuses(plan: VmPlan) -> list[Object]:
    statuses: list[Object] = []
    for volume in build_volumes(plan):
        name = volume["name"]
        if "dataVolume" in volume:
            statuses.append({"enabled": True, "name": name})
        else:
            reason = f"Snapshot is not supported for this volumeSource type [{name}]"
            statuses.append({"enabled": False, "name": name, "reason": reason})
    return statuses


def _missing_instance(plan: VmPlan, at: datetime) -> Object:
    return {
        "lastProbeTime": format_time(at),
        "lastTransitionTime": format_time(plan.stopped or plan.created),
        "message": "VMI does not exist",
        "reason": "VMINotExists",
        "status": "False",
        "type": "Ready",
    }


def build_start_revision(vm: Object) -> Object:
    """The ControllerRevision that holds the spec a VM's instance was started from."""
    metadata = vm["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"revision-start-vm-{metadata['uid']}-1",
            "namespace": metadata["namespace"],
            "creationTimestamp": metadata["creationTimestamp"],
            "ownerReferences": [
                owner_reference("kubevirt.io/v1", "VirtualMachine", metadata["name"], metadata["uid"])
            ],
        },
        "data": {"spec": vm["spec"]},
        "revision": 1,
    }


# --- objects that have gone wrong -----------------------------------------------------------------


def _spoil(vm: Object, defect: str) -> Object:
    """What old versions and careless hands have left in real clusters: fields missing, or of the wrong type."""
    if defect == "no-template":
        del vm["spec"]["template"]
    elif defect == "no-domain":
        del vm["spec"]["template"]["spec"]["domain"]
    elif defect == "running-text":
        vm["spec"].pop("runStrategy", None)
        vm["spec"]["running"] = "yes"
    elif defect == "no-status":
        del vm["status"]
    elif defect == "labels-null":
        vm["metadata"]["labels"] = None
        vm["spec"]["template"]["metadata"] = None
    elif defect == "unknown-strategy":
        vm["spec"]["runStrategy"] = "Sometimes"
    vm["metadata"].pop("finalizers", None)
    return vm
