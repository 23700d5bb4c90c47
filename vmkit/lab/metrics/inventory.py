# ruff: noqa: E501 - one metric a line reads best
"""What virt-controller exports of every VM and instance, running or not.

Source: KubeVirt pkg/monitoring/metrics/virt-controller/{vmistats,vmstats}_collector.go. The state is the present
one; what is told of the past is what the runs of a guest say (running or not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from vmkit.lab.metrics.model import Family, Guest, Run, Variant, join_labels, render_labels, sanitize

Build = Callable[[Guest], Iterator[Variant]]

GROUPS = ("starting", "running", "migrating", "non_running", "error")
_GROUP_OF = {
    "running": "running",
    "starting": "starting",
    "provisioning": "starting",
    "waitingforvolumebinding": "starting",
    "migrating": "migrating",
    "crashloopbackoff": "error",
    "errorunschedulable": "error",
    "errimagepull": "error",
    "imagepullbackoff": "error",
    "errorpvcnotfound": "error",
    "datavolumeerror": "error",
    "unknown": "error",
}
_PER_CPU_REQUEST = 0.1
"""KubeVirt requests a tenth of a core for each vCPU (cpuAllocationRatio 10)."""


def status_group(status: str) -> str:
    """The group of a printable status, as ``kubevirt_vm_info`` has it."""
    return _GROUP_OF.get(status.lower(), "non_running")


def _is_running(guest: Guest, at: float) -> Run | None:
    return next((run for run in guest.runs if run.covers(at)), None)


def _when_created(guest: Guest, value: float, at: float) -> float | None:
    return value if at >= guest.created else None


def _name(guest: Guest) -> str:
    return render_labels({"name": guest.name, "namespace": guest.namespace})


def _flavor(guest: Guest) -> dict[str, str]:
    return {"os": "<none>", "workload": "<none>", "flavor": "<none>"}


# --- instances ------------------------------------------------------------------------------------


def _vmi_info(guest: Guest) -> Iterator[Variant]:
    system = guest.operating_system if guest.agent else {}
    for run in guest.runs:
        labels = {
            "node": run.node,
            "namespace": guest.namespace,
            "name": guest.name,
            "phase": "running",
            **_flavor(guest),
            "instance_type": guest.instancetype or "<none>",
            "preference": guest.preference or "<none>",
            "guest_os_kernel_release": system.get("kernelRelease", ""),
            "guest_os_machine": system.get("machine", ""),
            "guest_os_arch": "amd64",
            "guest_os_name": system.get("name", ""),
            "guest_os_version_id": system.get("versionId", ""),
            "evictable": "true" if guest.evictable else "false",
            "outdated": "false",
            "vmi_pod": run.pod,
        }
        yield render_labels(labels), partial(_while, run, 1.0)


def _while(run: Run, value: float, at: float) -> float | None:
    return value if run.covers(at) else None


def _non_evictable(guest: Guest) -> Iterator[Variant]:
    if not guest.evictable:
        return
    for run in guest.runs:
        labels = {"node": run.node, "namespace": guest.namespace, "name": guest.name}
        yield render_labels(labels), partial(_while, run, 0.0)


def _overhead(guest: Guest) -> Iterator[Variant]:
    labels = render_labels({"namespace": guest.namespace, "name": guest.name})
    value = 240 * 1024**2 + guest.memory_bytes // 512 + 8 * 1024**2 * guest.vcpus
    for run in guest.runs:
        yield labels, partial(_while, run, float(value))


# --- VMs ------------------------------------------------------------------------------------------


def _vm_info(guest: Guest) -> Iterator[Variant]:
    base = {
        "name": guest.name,
        "namespace": guest.namespace,
        **_flavor(guest),
        "machine_type": guest.machine,
        "instance_type": guest.instancetype or "<none>",
        "preference": guest.preference or "<none>",
    }
    # Running and stopped over time; any other status is only known of now.
    for status in dict.fromkeys(("running", guest.status.lower(), "stopped")):
        labels = render_labels({**base, "status": status, "status_group": status_group(status)})
        yield labels, partial(_has_status, guest, status)


def _has_status(guest: Guest, status: str, at: float) -> float | None:
    if at < guest.created:
        return None
    return 1.0 if _status_at(guest, at) == status else None


def _status_at(guest: Guest, at: float) -> str:
    since = guest.changed.get("status", 0.0)
    if since and at >= since:
        return guest.status.lower()
    return "running" if _is_running(guest, at) is not None else "stopped"


def _transition(group: str) -> Build:
    def build(guest: Guest) -> Iterator[Variant]:
        yield _name(guest), partial(_entered, guest, group)

    return build


def _entered(guest: Guest, group: str, at: float) -> float | None:
    if at < guest.created:
        return None
    if status_group(_status_at(guest, at)) != group:
        return 0.0
    since = guest.changed.get("status", 0.0)
    if since and at >= since:
        return float(int(since))
    run = _is_running(guest, at)
    if run is not None:
        return float(int(run.boot))
    ended = [other.end for other in guest.runs if other.end is not None and other.end <= at]
    return float(int(max(ended, default=guest.created)))


def _requests(guest: Guest) -> Iterator[Variant]:
    rows: list[tuple[str, str, str, float]] = [
        ("memory", "bytes", "guest", float(guest.memory_bytes)),
        ("memory", "bytes", "guest_effective", float(guest.memory_bytes)),
    ]
    if guest.plain_domain:
        rows += [
            ("cpu", "cores", "domain", float(guest.vcpus)),
            ("cpu", "threads", "domain", 1.0),
            ("cpu", "sockets", "domain", 1.0),
        ]
    else:
        rows += [
            ("cpu", "cores", "domain", 1.0),
            ("cpu", "threads", "domain", 1.0),
            ("cpu", "sockets", "domain", float(guest.vcpus)),
        ]
    rows.append(("cpu", "cores", "guest_effective", float(guest.vcpus)))
    for resource, unit, source, value in rows:
        labels = {
            "name": guest.name,
            "namespace": guest.namespace,
            "resource": resource,
            "unit": unit,
            "source": source,
        }
        yield render_labels(labels), partial(_when_created, guest, value)


def _disks(guest: Guest) -> Iterator[Variant]:
    for drive in guest.drives:
        if drive.claim:
            labels = {
                "name": guest.name,
                "namespace": guest.namespace,
                "persistentvolumeclaim": drive.claim,
                "volume_mode": drive.volume_mode,
                "device": "disk",
            }
            yield render_labels(labels), partial(_when_created, guest, float(drive.size_bytes))


def _created(guest: Guest) -> Iterator[Variant]:
    yield _name(guest), partial(_when_created, guest, float(int(guest.created)))


def _labels(guest: Guest) -> Iterator[Variant]:
    labels = {f"label_{sanitize(key)}": value for key, value in guest.vm_labels.items()}
    yield join_labels(_name(guest), render_labels(labels)), partial(_when_created, guest, 1.0)


def _pod_requests(guest: Guest) -> Iterator[Variant]:
    memory = guest.memory_bytes + 240 * 1024**2 + guest.memory_bytes // 512 + 8 * 1024**2 * guest.vcpus
    for run in guest.runs:
        base = {
            "namespace": guest.namespace,
            "pod": run.pod,
            "uid": run.pod_uid,
            "container": "compute",
            "node": run.node,
        }
        for resource, unit, value in (
            ("cpu", "core", guest.vcpus * _PER_CPU_REQUEST),
            ("memory", "byte", float(memory)),
        ):
            labels = render_labels({**base, "resource": resource, "unit": unit})
            yield labels, partial(_while, run, value)


INVENTORY_FAMILIES: Mapping[Family, Build] = {
    Family("kubevirt_vmi_info", "gauge", "Information about VirtualMachineInstances."): _vmi_info,
    Family("kubevirt_vmi_non_evictable", "gauge", "Indication for a VirtualMachine that its eviction strategy is set to Live Migration but is not migratable."): _non_evictable,
    Family("kubevirt_vmi_launcher_memory_overhead_bytes", "gauge", "Estimation of the memory amount required for virt-launcher's infrastructure components."): _overhead,
    Family("kubevirt_vm_info", "gauge", "Information about Virtual Machines."): _vm_info,
    Family("kubevirt_vm_resource_requests", "gauge", "Resources requested by Virtual Machine. Reports memory and CPU requests."): _requests,
    Family("kubevirt_vm_disk_allocated_size_bytes", "gauge", "Allocated disk size of a Virtual Machine in bytes, based on its PersistentVolumeClaim."): _disks,
    Family("kubevirt_vm_create_date_timestamp_seconds", "gauge", "Virtual Machine creation timestamp."): _created,
    Family("kubevirt_vm_labels", "gauge", "The metric exposes the VM labels as Prometheus labels."): _labels,
    Family("kube_pod_container_resource_requests", "gauge", "The number of requested request resource by a container."): _pod_requests,
    **{
        Family(f"kubevirt_vm_{group}_status_last_transition_timestamp_seconds", "gauge", f"Virtual Machine last transition timestamp to {group} status."): _transition(group)
        for group in GROUPS
    },
}  # fmt: skip
