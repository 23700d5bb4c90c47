"""The API objects of a fleet's VMs, written down as a control plane would have left them.

The shapes are those of a KubeVirt control plane at rest: a VM with its status, the instance with its phases, the
launcher
pod that holds it. What a controller would change at once is a fault here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.plan import GI, VmPlan
from vmkit.units import format_bytes

Object = dict[str, Any]

_OVERHEAD_BASE = 240 * 1024**2


def _system(id_: str, name: str, pretty: str, version: str, kernel: str) -> Object:
    return {
        "id": id_,
        "kernelRelease": kernel,
        "machine": "x86_64",
        "name": name,
        "prettyName": pretty,
        "version": version,
        "versionId": version,
    }


_SYSTEMS: dict[str, Object] = {
    "debian": _system(
        "debian", "Debian GNU/Linux", "Debian GNU/Linux 13 (trixie)", "13", "6.12.43+deb13-cloud-amd64"
    ),
    "ubuntu": _system("ubuntu", "Ubuntu", "Ubuntu 24.04.3 LTS", "24.04", "6.8.0-84-generic"),
    "fedora": _system("fedora", "Fedora Linux", "Fedora Linux 43 (Cloud Edition)", "43", "6.17.1-300.fc43.x86_64"),
    "centos-stream": _system(
        "centos", "CentOS Stream", "CentOS Stream 10 (Coughlan)", "10", "6.12.0-130.el10.x86_64"
    ),
    "windows": _system("mswindows", "Microsoft Windows", "Windows Server 2025 Datacenter", "2025", "26100"),
}


def make_uid(seed: int, *parts: object) -> str:
    """A UID that depends on the fleet's seed and the object alone."""
    digest = blake2b("/".join(map(str, (seed, *parts))).encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def vm_uid(seed: int, plan: VmPlan) -> str:
    """The UID of a plan's VirtualMachine."""
    return make_uid(seed, "vm", plan.namespace, plan.name)


def instance_uid(seed: int, plan: VmPlan) -> str:
    """The UID of a plan's running VirtualMachineInstance."""
    return make_uid(seed, "vmi", plan.namespace, plan.name)


def pod_uid(seed: int, plan: VmPlan) -> str:
    """The UID of a plan's launcher pod."""
    return make_uid(seed, "pod", plan.namespace, plan.name)


def pod_name(seed: int, plan: VmPlan) -> str:
    """The launcher pod's name: ``virt-launcher-NAME-`` and five letters."""
    digest = blake2b(pod_uid(seed, plan).encode(), digest_size=5).digest()
    letters = "bcdfghjklmnpqrstvwxz2456789"
    return f"virt-launcher-{plan.name}-" + "".join(letters[byte % len(letters)] for byte in digest)


def claim_name(plan: VmPlan, disk: str) -> str:
    """The name of a disk's DataVolume and claim."""
    return f"{plan.name}-{disk}"


def mac_address(seed: int, plan: VmPlan) -> str:
    """A locally administered address that stays with the VM."""
    digest = blake2b(vm_uid(seed, plan).encode(), digest_size=4).digest()
    return "02:00:" + ":".join(f"{byte:02x}" for byte in digest)


def overhead_bytes(plan: VmPlan) -> int:
    """What the launcher needs beside the guest's memory: a base, a share of the guest's page tables, and each
    CPU's stack."""
    return _OVERHEAD_BASE + plan.memory_bytes // 512 + 8 * 1024**2 * plan.cores


# --- the VirtualMachine -------------------------------------------------------------------------------------


def build_vm(plan: VmPlan, *, seed: int, at: datetime) -> Object:
    """The VirtualMachine of a plan, with its status."""
    labels = _labels(plan)
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
            _owner(
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
            "labels": {**labels, "kubevirt.io/domain": plan.name},
        },
        "spec": _build_vm_template(plan, seed),
    }
    vm: Object = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": metadata, "spec": spec}
    vm["status"] = _build_vm_status(plan, at)
    return _spoil(vm, plan.defect) if plan.defect else vm


def _labels(plan: VmPlan) -> dict[str, str]:
    labels = {
        "app": plan.role,
        "app.kubernetes.io/part-of": plan.team,
        "team": plan.team,
        "env": plan.environment,
    }
    if plan.template:
        labels["vmkit.io/template"] = plan.template
    if plan.application:
        labels["app.kubernetes.io/instance"] = plan.application
    return labels | plan.labels


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
    return annotations


def _data_volume_template(plan: VmPlan, disk_name: str) -> Object:
    from vmkit.lab.fleet.disks import build_data_volume_spec

    disk = next(disk for disk in plan.disks if disk.name == disk_name)
    return {
        "metadata": {"name": claim_name(plan, disk_name), "creationTimestamp": None},
        "spec": build_data_volume_spec(disk),
    }


def _build_vm_template(plan: VmPlan, seed: int) -> Object:
    domain: Object = {
        "devices": _devices(plan, seed),
        "firmware": _firmware(plan, seed),
        "machine": {"type": "q35"},
        "resources": {},
    }
    if not plan.instancetype:
        domain["cpu"] = {"cores": plan.cores, "sockets": 1, "threads": 1}
        domain["memory"] = {"guest": format_bytes(plan.memory_bytes)}
    spec: Object = {
        "architecture": "amd64",
        "domain": domain,
        "networks": [{"name": "default", "pod": {}}],
        "terminationGracePeriodSeconds": 180,
        "volumes": _volumes(plan),
    }
    if plan.environment == "prod" and plan.disks[0].source != "container":
        spec["evictionStrategy"] = "LiveMigrate"
    if plan.state == "unschedulable":
        spec["nodeSelector"] = {"gpu.example.com/model": "none-left"}
    return spec


def _devices(plan: VmPlan, seed: int) -> Object:
    disks: list[Object] = [{"disk": {"bus": "virtio"}, "name": disk.name} for disk in plan.disks]
    if plan.operating_system != "windows":
        disks.append({"disk": {"bus": "virtio"}, "name": "cloudinit"})
    return {
        "disks": disks,
        "interfaces": [
            {"macAddress": mac_address(seed, plan), "masquerade": {}, "model": "virtio", "name": "default"}
        ],
        "rng": {},
    }


def _firmware(plan: VmPlan, seed: int) -> Object:
    return {
        "serial": make_uid(seed, "serial", plan.namespace, plan.name),
        "uuid": make_uid(seed, "firmware", plan.namespace, plan.name),
    }


def _volumes(plan: VmPlan, *, pulled: bool = False) -> list[Object]:
    volumes: list[Object] = []
    for disk in plan.disks:
        if disk.source == "container":
            source: Object = {"image": disk.image}
            if pulled:
                source["imagePullPolicy"] = "Always"
            volumes.append({"containerDisk": source, "name": disk.name})
        else:
            volumes.append({"dataVolume": {"name": claim_name(plan, disk.name)}, "name": disk.name})
    if plan.operating_system != "windows":
        user_data = f"#cloud-config\nhostname: {plan.name}\npackages: [qemu-guest-agent]\n"
        volumes.append({"cloudInitNoCloud": {"userData": user_data}, "name": "cloudinit"})
    return volumes


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
        status |= {"created": True, "ready": plan.state == "running"}
        status["conditions"] = _instance_conditions(plan)
    else:
        status["conditions"] = [_missing_instance(plan, at)]
    if plan.instancetype:
        status["instancetypeRef"] = {"kind": "virtualmachineclusterinstancetype", "name": plan.instancetype}
    if plan.preference:
        status["preferenceRef"] = {"kind": "virtualmachineclusterpreference", "name": plan.preference}
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
    for volume in _volumes(plan):
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


# --- the VirtualMachineInstance -----------------------------------------------------------------------------


def _instance_conditions(plan: VmPlan) -> list[Object]:
    started = format_time((plan.started or plan.created) + timedelta(seconds=25))
    conditions: list[Object] = []
    if plan.state == "paused":
        message = "VMI was paused by user"
        conditions.append(
            {
                "lastProbeTime": None,
                "lastTransitionTime": started,
                "status": "False",
                "type": "Ready",
                "reason": "GuestNotRunning",
                "message": "Guest VM is not reported as running",
            }
        )
        conditions.append(
            {
                "lastProbeTime": None,
                "lastTransitionTime": started,
                "message": message,
                "reason": "PausedByUser",
                "status": "True",
                "type": "Paused",
            }
        )
    else:
        conditions.append(
            {"lastProbeTime": None, "lastTransitionTime": started, "status": "True", "type": "Ready"}
        )
    if plan.agent:
        conditions.append(
            {"lastProbeTime": started, "lastTransitionTime": None, "status": "True", "type": "AgentConnected"}
        )
    conditions.append(
        {"lastProbeTime": None, "lastTransitionTime": None, "status": "True", "type": "LiveMigratable"}
    )
    return conditions


def build_instance(plan: VmPlan, *, seed: int, node: str, address: str) -> Object:
    """The VirtualMachineInstance of a plan that runs on a node, with its status."""
    started = plan.started or plan.created
    labels = {**_labels(plan), "kubevirt.io/domain": plan.name, "kubevirt.io/nodeName": node}
    pod = pod_uid(seed, plan)
    memory = format_bytes(plan.memory_bytes)
    spec = _build_vm_template(plan, seed)
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
    spec["volumes"] = _volumes(plan, pulled=True)
    status: Object = {
        "activePods": {pod: node},
        "conditions": _instance_conditions(plan),
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
            "memoryOverhead": format_bytes(overhead_bytes(plan)),
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
        status["guestOSInfo"] = _SYSTEMS[plan.operating_system]
    return {
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
            "ownerReferences": [_owner("kubevirt.io/v1", "VirtualMachine", plan.name, vm_uid(seed, plan))],
        },
        "spec": spec,
        "status": status,
    }


def _volume_statuses(plan: VmPlan) -> list[Object]:
    from vmkit.lab.fleet.disks import describe_claim

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


# --- the launcher pod ---------------------------------------------------------------------------------------


def build_pod(plan: VmPlan, *, seed: int, node: str, address: str) -> Object:
    """The launcher pod that holds a plan's instance."""
    started = plan.started or plan.created
    uid = instance_uid(seed, plan)
    container = blake2b(pod_uid(seed, plan).encode(), digest_size=32).hexdigest()
    name = pod_name(seed, plan)
    requests = {
        "cpu": f"{plan.cores * 100}m",
        "ephemeral-storage": "50M",
        "memory": format_bytes(plan.memory_bytes + overhead_bytes(plan)),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": f"virt-launcher-{plan.name}-",
            "namespace": plan.namespace,
            "uid": pod_uid(seed, plan),
            "creationTimestamp": format_time(started - timedelta(seconds=6)),
            "labels": {
                **_labels(plan),
                "kubevirt.io": "virt-launcher",
                "kubevirt.io/created-by": uid,
                "kubevirt.io/domain": plan.name,
                "kubevirt.io/nodeName": node,
                "vm.kubevirt.io/name": plan.name,
            },
            "annotations": {"kubectl.kubernetes.io/default-container": "compute", "kubevirt.io/domain": plan.name},
            "ownerReferences": [_owner("kubevirt.io/v1", "VirtualMachineInstance", plan.name, uid)],
        },
        "spec": {
            "containers": [
                {
                    "name": "compute",
                    "image": "quay.io/kubevirt/virt-launcher:v1.9.0",
                    "resources": {"requests": requests, "limits": {"devices.kubevirt.io/kvm": "1"}},
                }
            ],
            "hostname": plan.name,
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 195,
        },
        "status": {
            "phase": "Running",
            "hostIP": "",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "qosClass": "Burstable",
            "startTime": format_time(started - timedelta(seconds=5)),
            "conditions": [
                {
                    "type": type_,
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": format_time(started),
                }
                for type_ in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {
                    "name": "compute",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "image": "quay.io/kubevirt/virt-launcher:v1.9.0",
                    "imageID": "",
                    "containerID": f"containerd://{container}",
                    "state": {"running": {"startedAt": format_time(started)}},
                }
            ],
        },
    }


def _owner(api_version: str, kind: str, name: str, uid: str) -> Object:
    return {
        "apiVersion": api_version,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": name,
        "uid": uid,
    }


# --- objects that have gone wrong ---------------------------------------------------------------------------


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


def total_memory(plans: list[VmPlan]) -> tuple[int, int]:
    """What the running ones need of nodes: (bytes, instances)."""
    running = [plan for plan in plans if plan.started is not None]
    return sum(plan.memory_bytes + overhead_bytes(plan) for plan in running) or GI, len(running)
