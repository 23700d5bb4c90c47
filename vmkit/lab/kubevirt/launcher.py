"""The pod that holds a guest: its containers, requests, and looks while it lives (services/template.go)."""

from __future__ import annotations

import math
from typing import Any, Final

from vmkit.lab.kubevirt.admission.compute import vcpus
from vmkit.lab.kubevirt.configuration import Configuration
from vmkit.lab.kubevirt.quantities import binary, read, whole
from vmkit.lab.kubevirt.world import CREATED_BY, NODE_NAME, claim_of, owner_reference
from vmkit.units import format_cores

Object = dict[str, Any]

_MIB: Final = 2**20
IMAGE: Final = "virt-launcher:x"
APP_LABEL: Final = "kubevirt.io"
LAUNCHER: Final = "virt-launcher"
_GRACE_MARGIN_SECONDS: Final = 15
DEFAULT_GRACE_SECONDS: Final = 30
READINESS_GATE: Final = "kubevirt.io/virtual-machine-unpaused"


def grace_seconds(vmi: Object) -> int:
    """How long a guest may take to power off before it is cut off (30 where the instance does not say)."""
    given = vmi["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if given is None else max(int(given), 0)


def memory_overhead(vmi: Object, configuration: Configuration) -> int:
    """The bytes that the processes around the guest need (GetMemoryOverhead)."""
    domain = vmi["spec"]["domain"]
    devices = domain.get("devices") or {}
    release = configuration.release
    requested = whole(((domain.get("resources") or {}).get("requests") or {}).get("memory"))
    overhead = requested // 512 + release.fixed_overhead_bytes
    overhead += 8 * _MIB * max(vcpus(domain.get("cpu") or {}), 1)
    overhead += 8 * _MIB  # the I/O thread
    if devices.get("autoattachGraphicsDevice", True):
        overhead += release.video_overhead_bytes
    if vmi["spec"].get("architecture") == "arm64":
        overhead += 128 * _MIB
    if devices.get("gpus") or devices.get("hostDevices"):
        overhead += 1024 * _MIB
    if any("downwardMetrics" in volume for volume in vmi["spec"].get("volumes") or []):
        overhead += _MIB
    probes = sum("exec" in (vmi["spec"].get(f"{kind}Probe") or {}) for kind in ("liveness", "readiness"))
    if probes:
        overhead += (100 + 10 * probes) * _MIB
    if "launchSecurity" in domain:
        overhead += 256 * _MIB
    if "tpm" in devices:
        overhead += 53 * _MIB
    if (domain.get("cpu") or {}).get("dedicatedCpuPlacement"):
        overhead += 100 * _MIB
    return overhead


def guest_memory(vmi: Object) -> int:
    """The bytes of memory the guest sees."""
    domain = vmi["spec"]["domain"]
    memory = domain.get("memory") or {}
    requests = (domain.get("resources") or {}).get("requests") or {}
    return whole(memory.get("guest") or requests.get("memory") or (memory.get("hugepages") or {}).get("pageSize"))


def pod_requests(vmi: Object, configuration: Configuration) -> tuple[int, int]:
    """What the pod asks of a node: (thousandths of a core, bytes)."""
    domain = vmi["spec"]["domain"]
    requests = (domain.get("resources") or {}).get("requests") or {}
    cpu = domain.get("cpu") or {}
    count = max(vcpus(cpu), 1)
    if cpu.get("dedicatedCpuPlacement"):
        milli = count * 1000
    elif requests.get("cpu") is not None:
        milli = math.ceil(read(requests["cpu"]) * 1000)
    else:
        milli = count * 1000 // configuration.cpu_allocation_ratio
    memory = whole(requests.get("memory"))
    if not memory:
        memory = guest_memory(vmi) * 100 // configuration.memory_overcommit_percent
    return milli, memory + memory_overhead(vmi, configuration)


def build_pod(vmi: Object, configuration: Configuration, *, name: str, target_of: str = "") -> Object:
    """The launcher pod of an instance.

    Args:
        vmi: the instance.
        configuration: the cluster's settings.
        name: the pod's name.
        target_of: the UID of the migration whose target it is, if any.
    """
    spec, metadata = vmi["spec"], vmi["metadata"]
    milli, memory = pod_requests(vmi, configuration)
    labels = {
        **{key: value for key, value in (metadata.get("labels") or {}).items() if key != NODE_NAME},
        APP_LABEL: LAUNCHER,
        CREATED_BY: metadata["uid"],
        "vm.kubevirt.io/name": metadata["name"][:63],
        "kubevirt.io/vm": metadata["name"][:63],
    }
    if target_of:
        labels["kubevirt.io/migrationJobUID"] = target_of
    resources: Object = {
        "requests": {
            "cpu": format_cores(milli / 1000),
            "devices.kubevirt.io/kvm": "1",
            "devices.kubevirt.io/tun": "1",
            "devices.kubevirt.io/vhost-net": "1",
            "ephemeral-storage": "50M",
            "memory": binary(memory),
        },
        "limits": {
            "devices.kubevirt.io/kvm": "1",
            "devices.kubevirt.io/tun": "1",
            "devices.kubevirt.io/vhost-net": "1",
        },
    }
    containers: list[Object] = [
        {
            "name": "compute",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/bin/virt-launcher-monitor", "--name", metadata["name"], "--uid", metadata["uid"]],
            "resources": resources,
        }
    ]
    containers += [
        {"name": f"volume{volume['name']}"[:63], "image": volume["containerDisk"]["image"]}
        for volume in spec.get("volumes") or []
        if "containerDisk" in volume
    ]
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {
                "kubevirt.io/domain": metadata["name"],
                "kubevirt.io/migrationTransportUnix": "true",
                "kubectl.kubernetes.io/default-container": "compute",
            },
            "ownerReferences": [owner_reference(vmi, "VirtualMachineInstance")],
        },
        "spec": {
            "containers": containers,
            "volumes": _pod_volumes(spec),
            "hostname": (spec.get("hostname") or metadata["name"]).split(".")[0][:63],
            "restartPolicy": "Never",
            "readinessGates": [{"conditionType": READINESS_GATE}],
            "terminationGracePeriodSeconds": grace_seconds(vmi) + _GRACE_MARGIN_SECONDS,
            "nodeSelector": {"kubevirt.io/schedulable": "true", **(spec.get("nodeSelector") or {})},
            "serviceAccountName": "default",
        },
    }
    for key in ("affinity", "tolerations", "priorityClassName", "schedulerName", "topologySpreadConstraints"):
        if spec.get(key):
            pod["spec"][key] = spec[key]
    return pod


def _pod_volumes(spec: Object) -> list[Object]:
    volumes: list[Object] = [{"name": "private", "emptyDir": {}}]
    for volume in spec.get("volumes") or []:
        claim = claim_of(volume)
        if claim and not _is_hotplugged(volume):
            volumes.append({"name": volume["name"], "persistentVolumeClaim": {"claimName": claim}})
    return volumes


def _is_hotplugged(volume: Object) -> bool:
    return bool(
        (volume.get("persistentVolumeClaim") or volume.get("dataVolume") or volume.get("memoryDump") or {}).get(
            "hotpluggable"
        )
    )


def pod_condition(kind: str, status: str, at: str, *, reason: str = "", message: str = "") -> Object:
    """A pod's condition."""
    condition: Object = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": at}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def running_status(pod: Object, *, address: str, host_address: str, at: str) -> Object:
    """The status of a pod whose containers all run."""
    return {
        "phase": "Running",
        "conditions": [
            pod_condition(kind, "True", at)
            for kind in (
                READINESS_GATE,
                "PodReadyToStartContainers",
                "Initialized",
                "Ready",
                "ContainersReady",
                "PodScheduled",
            )
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": container["image"],
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": at}},
            }
            for container in pod["spec"]["containers"]
        ],
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": at,
    }


def ended_status(status: Object, *, failed: bool, at: str) -> Object:
    """The status of a pod whose guest has ended."""
    code = 1 if failed else 0
    ended = {**status, "phase": "Failed" if failed else "Succeeded"}
    ended["conditions"] = [
        {
            **each,
            "status": "False",
            "reason": "PodCompleted" if not failed else "PodFailed",
            "lastTransitionTime": at,
        }
        if each["type"] in ("Ready", "ContainersReady")
        else each
        for each in status.get("conditions") or []
    ]
    ended["containerStatuses"] = [
        {
            **each,
            "ready": False,
            "started": False,
            "state": {
                "terminated": {
                    "exitCode": code, "reason": "Error" if failed else "Completed", "finishedAt": at,
                    "startedAt": (each.get("state", {}).get("running") or {}).get("startedAt", at),
                }
            },
        }
        for each in status.get("containerStatuses") or []
    ]  # fmt: skip
    return ended
