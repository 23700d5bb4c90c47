"""The practice cluster's machines: one for the control plane, workers of two sizes, and an edge node if one is
asked for.

Labels are those that the kubelet, KubeVirt's virt-handler and node-labeller, and KubeEdge set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmkit.units import format_bytes

Object = dict[str, Any]

ARCHITECTURE = "amd64"
_GI = 1024**3
_POD_LIMIT = 250
_RESERVED_CORES_MILLI = 500
_RESERVED_BYTES = 2 * _GI
EDGE_LABEL = "node-role.kubernetes.io/edge"


@dataclass(frozen=True)
class NodeShape:
    """One machine: what it is called, what it has, what it is for."""

    name: str
    cores: int
    memory_bytes: int
    zone: str
    role: str = "worker"
    pods: int = _POD_LIMIT


def plan_nodes(
    *, workers: int = 4, edge: bool = False, cores: int = 64, memory_bytes: int = 512 * _GI
) -> list[NodeShape]:
    """The machines of a cluster: a control plane, ``workers`` workers spread over three zones, an edge node if
    wanted."""
    shapes = [NodeShape("control-1", 8, 32 * _GI, "zone-a", role="control-plane", pods=110)]
    shapes += [
        NodeShape(f"worker-{index + 1}", cores, memory_bytes, f"zone-{'abc'[index % 3]}")
        for index in range(workers)
    ]
    if edge:
        shapes.append(NodeShape("edge-1", 8, 16 * _GI, "site-1", role="edge", pods=50))
    return shapes


def plan_nodes_for(memory_bytes: int, instances: int) -> list[NodeShape]:
    """The machines a fleet needs: its memory at most at three quarters, its instances within the pod limit."""
    if memory_bytes <= 0:
        return plan_nodes()
    per_node = 512 * _GI if memory_bytes <= 96 * 384 * _GI else 1024 * _GI
    workers = max(4, -(-memory_bytes * 4 // (per_node * 3)), -(-instances * 5 // (_POD_LIMIT * 4)))
    return plan_nodes(workers=workers, cores=64 if per_node == 512 * _GI else 128, memory_bytes=per_node)


def build_node(shape: NodeShape, index: int, *, at: str, kubernetes: str = "v1.36.0") -> Object:
    """The Node object of a machine, ready.

    Args:
        shape: the machine.
        index: its number in the cluster, from 0: its address and its pods' range follow from it.
        at: the present instant as Kubernetes writes it.
        kubernetes: the kubelet's version.
    """
    schedulable = shape.role != "control-plane"
    labels = {
        "beta.kubernetes.io/arch": ARCHITECTURE,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": ARCHITECTURE,
        "kubernetes.io/hostname": shape.name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/region": "lab",
        "topology.kubernetes.io/zone": shape.zone,
        "node.kubernetes.io/instance-type": f"lab.{shape.cores}c.{shape.memory_bytes // _GI}g",
        f"node-role.kubernetes.io/{shape.role}": "",
    }
    if schedulable:
        labels |= {
            "kubevirt.io/schedulable": "true",
            "cpu-vendor.node.kubevirt.io/Intel": "true",
            "cpu-model.node.kubevirt.io/Cascadelake-Server": "true",
            "host-model-cpu.node.kubevirt.io/Cascadelake-Server": "true",
            "cpumanager": "false",
            # What the Shim and the RuntimeClass of Spin choose nodes by.
            "spin": "true",
        }
    annotations = {"node.alpha.kubernetes.io/ttl": "0"}
    if schedulable:
        annotations["kubevirt.io/heartbeat"] = at
    if shape.role == "edge":
        labels["node-role.kubernetes.io/agent"] = ""
    spec: Object = {
        "podCIDR": _pod_range(index),
        "podCIDRs": [_pod_range(index)],
        "providerID": f"lab://{shape.name}",
    }
    if not schedulable:
        spec["taints"] = [{"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": shape.name, "labels": labels, "annotations": annotations},
        "spec": spec,
        "status": _build_status(shape, index, at, kubernetes, schedulable),
    }


def _build_status(shape: NodeShape, index: int, at: str, kubernetes: str, schedulable: bool) -> Object:
    devices = {
        f"devices.kubevirt.io/{device}": "1k" if schedulable else "0" for device in ("kvm", "tun", "vhost-net")
    }
    capacity = {
        "cpu": str(shape.cores),
        "ephemeral-storage": "960302804Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": format_bytes(shape.memory_bytes),
        "pods": str(shape.pods),
        **devices,
    }
    allocatable = {
        **capacity,
        "cpu": f"{shape.cores * 1000 - _RESERVED_CORES_MILLI}m",
        "memory": format_bytes(shape.memory_bytes - _RESERVED_BYTES),
    }
    conditions = [
        _condition(
            "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", at
        ),
        _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", at),
        _condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available", at),
        _condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", at),
    ]
    return {
        "addresses": [
            {"address": f"10.0.{(index + 1) // 250}.{(index + 1) % 250 + 4}", "type": "InternalIP"},
            {"address": shape.name, "type": "Hostname"},
        ],
        "allocatable": allocatable,
        "capacity": capacity,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": ARCHITECTURE,
            "bootID": f"00000000-0000-4000-8000-{index:012d}",
            "containerRuntimeVersion": "containerd://2.2.0",
            "kernelVersion": "6.12.43",
            "kubeProxyVersion": kubernetes,
            "kubeletVersion": f"{kubernetes}-kubeedge-v1.23.1" if shape.role == "edge" else kubernetes,
            "machineID": f"{index:032x}",
            "operatingSystem": "linux",
            "osImage": "Debian GNU/Linux 13 (trixie)",
            "systemUUID": f"00000000-0000-4000-9000-{index:012d}",
        },
    }


def _pod_range(index: int) -> str:
    return f"10.{64 + index // 256}.{index % 256}.0/24"


def _condition(type_: str, status: str, reason: str, message: str, at: str) -> Object:
    return {
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "message": message,
        "reason": reason,
        "status": status,
        "type": type_,
    }
