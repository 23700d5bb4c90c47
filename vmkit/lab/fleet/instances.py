"""A fleet's running instances and the launcher pods that hold them, as KubeVirt's controllers leave them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.disks import describe_claim
from vmkit.lab.fleet.identity import instance_uid, mac_address, owner_reference, pod_name, pod_uid, vm_uid
from vmkit.lab.fleet.plan import GI, VmPlan
from vmkit.lab.fleet.template import build_conditions, build_labels, build_template, build_volumes
from vmkit.lab.kubevirt import launcher
from vmkit.lab.kubevirt.configuration import Configuration
from vmkit.lab.kubevirt.guests import Guest
from vmkit.units import format_bytes

Object = dict[str, Any]


# --- the VirtualMachineInstance -------------------------------------------------------------------


def build_instance(plan: VmPlan, *, seed: int, node: str, address: str, configuration: Configuration) -> Object:
    """The VirtualMachineInstance of a plan that runs on a node, with its status."""
    started = plan.started or plan.created
    labels = {**build_labels(plan), "kubevirt.io/domain": plan.pool or plan.name, "kubevirt.io/nodeName": node}
    pod = pod_uid(seed, plan)
    memory = format_bytes(plan.memory_bytes)
    spec = build_template(plan, seed)
    domain = spec["domain"]
    domain["cpu"] = {
        "cores": 1 if plan.instancetype else plan.cores,
        "model": "host-model",
        "sockets": plan.cores if plan.instancetype else 1,
        "threads": 1,
    }
    domain["cpu"]["maxSockets"] = domain["cpu"]["sockets"] * 4
    domain["memory"] = {"guest": memory, "maxGuest": format_bytes(plan.memory_bytes * 4)}
    domain["features"] = {"acpi": {"enabled": True}}
    spec["evictionStrategy"] = spec.get("evictionStrategy", "None")
    spec["volumes"] = build_volumes(plan, pulled=True)
    status: Object = {
        "activePods": {pod: node},
        "conditions": build_conditions(plan),
        "currentCPUTopology": {"cores": domain["cpu"]["cores"], "sockets": domain["cpu"]["sockets"], "threads": 1},
        "interfaces": [
            {
                "infoSource": "domain, guest-agent" if plan.agent else "domain",
                "ipAddress": address,
                "ipAddresses": [address],
                "mac": mac_address(seed, plan),
                "name": "default",
                "podInterfaceName": "eth0",
                "queueCount": 1,
            }
        ],
        "launcherContainerImageVersion": "quay.io/kubevirt/virt-launcher:v1.9.0",
        "machine": {"type": "pc-q35-rhel9.6.0"},
        "memory": {
            "guestAtBoot": memory,
            "guestCurrent": memory,
            "guestRequested": memory,
        },
        "migrationMethod": "LiveMigration",
        "migrationTransport": "Unix",
        "nodeName": node,
        "phase": "Running",
        "phaseTransitionTimestamps": [
            {"phase": phase, "phaseTransitionTimestamp": format_time(started + timedelta(seconds=seconds))}
            for phase, seconds in (("Pending", -6), ("Scheduling", -6), ("Scheduled", -1), ("Running", 0))
        ],
        "qosClass": "Burstable",
        "runtimeUser": 107,
        "virtualMachineRevisionName": f"revision-start-vm-{vm_uid(seed, plan)}-1",
        "volumeStatus": _volume_statuses(plan),
    }
    if plan.agent:
        status["guestOSInfo"] = Guest(system=plan.operating_system).os_info
    instance: Object = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": plan.name,
            "namespace": plan.namespace,
            "uid": instance_uid(seed, plan),
            "creationTimestamp": format_time(started - timedelta(seconds=6)),
            "generation": 7,
            "labels": labels,
            "annotations": {
                "kubevirt.io/latest-observed-api-version": "v1",
                "kubevirt.io/pci-topology-version": "v3",
                "kubevirt.io/storage-observed-api-version": "v1",
                "kubevirt.io/vm-generation": "1",
            },
            "finalizers": [
                "kubevirt.io/virtualMachineControllerFinalize",
                "kubevirt.io/foregroundDeleteVirtualMachine",
            ],
            "ownerReferences": [
                owner_reference("kubevirt.io/v1", "VirtualMachine", plan.name, vm_uid(seed, plan))
            ],
        },
        "spec": spec,
        "status": status,
    }
    overhead = launcher.memory_overhead(instance, configuration)
    status["memory"]["memoryOverhead"] = format_bytes(overhead)
    return instance


def _volume_statuses(plan: VmPlan) -> list[Object]:
    statuses: list[Object] = []
    targets = iter("abcdefgh")
    for disk in plan.disks:
        status: Object = {"name": disk.name, "target": f"vd{next(targets)}"}
        if disk.source != "container":
            status["persistentVolumeClaimInfo"] = describe_claim(plan, disk)
        statuses.append(status)
    if plan.operating_system != "windows":
        statuses.append({"name": "cloudinit", "size": 1048576, "target": f"vd{next(targets)}"})
    return statuses


def total_memory(plans: list[VmPlan]) -> tuple[int, int]:
    """What the running ones need of nodes: (bytes, instances)."""
    running = [plan for plan in plans if plan.started is not None]
    return sum(map(reserved_bytes, running)) or GI, len(running)


def reserved_bytes(plan: VmPlan) -> int:
    """About what an instance takes of its node: the guest's memory and its launcher's."""
    return plan.memory_bytes + plan.memory_bytes // 512 + 300 * 1024**2 + 8 * 1024**2 * plan.cores


def build_pod(plan: VmPlan, instance: Object, *, seed: int, configuration: Configuration) -> Object:
    """The launcher pod that holds a plan's instance, running."""
    started = plan.started or plan.created
    status, name = instance["status"], pod_name(seed, plan)
    pod = launcher.build_pod(instance, configuration, name=name)
    pod["metadata"] |= {
        "generateName": f"virt-launcher-{plan.name}-",
        "uid": pod_uid(seed, plan),
        "creationTimestamp": format_time(started - timedelta(seconds=6)),
    }
    pod["spec"]["nodeName"] = status["nodeName"]
    address = status["interfaces"][0]["ipAddress"]
    pod["status"] = launcher.running_status(pod, address=address, host_address="", at=format_time(started))
    return pod
