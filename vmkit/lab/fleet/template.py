"""What a fleet's VMs and their instances have in common: labels, devices, volumes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.identity import claim_name, mac_address, make_uid
from vmkit.lab.fleet.plan import VmPlan
from vmkit.units import format_bytes

Object = dict[str, Any]


def build_labels(plan: VmPlan) -> dict[str, str]:
    """The labels of a VM, which its template and instance carry too."""
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


def build_template(plan: VmPlan, seed: int) -> Object:
    """The guest as the VM's template describes it."""
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
        "volumes": build_volumes(plan),
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
    interface: Object = {"masquerade": {}, "model": "virtio", "name": "default"}
    if not plan.pool:
        interface["macAddress"] = mac_address(seed, plan)
    return {
        "disks": disks,
        "interfaces": [interface],
        "rng": {},
    }


def _firmware(plan: VmPlan, seed: int) -> Object:
    return {
        "serial": make_uid(seed, "serial", plan.namespace, plan.name),
        "uuid": make_uid(seed, "firmware", plan.namespace, plan.name),
    }


def build_volumes(plan: VmPlan, *, pulled: bool = False) -> list[Object]:
    """Its volumes; ``pulled`` adds what the instance's webhook fills in."""
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
        # A pool's guests take their names from elsewhere: one text serves them all.
        hostname = "" if plan.pool else f"hostname: {plan.name}\n"
        user_data = f"#cloud-config\n{hostname}packages: [qemu-guest-agent]\n"
        volumes.append({"cloudInitNoCloud": {"userData": user_data}, "name": "cloudinit"})
    return volumes


def build_conditions(plan: VmPlan) -> list[Object]:
    """The conditions of its instance at rest, which the VM copies."""
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
