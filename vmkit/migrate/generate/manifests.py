"""From a systemd unit to Kubernetes objects: the same user, environment, state, ports, limits and end. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmkit.migrate.facts import Listener
from vmkit.migrate.services import Service, ServiceKind

Manifest = dict[str, Any]
PART_OF: Final = "app.kubernetes.io/part-of"
_GIB: Final = 2**30
_STOP_SECONDS: Final = 90  # systemd's DefaultTimeoutStopSec
_CALENDARS: Final = {
    "minutely": "* * * * *", "hourly": "@hourly", "daily": "@daily", "weekly": "@weekly", "monthly": "@monthly",
    "yearly": "@yearly", "annually": "@yearly", "quarterly": "0 0 1 1,4,7,10 *", "semiannually": "0 0 1 1,7 *",
}  # fmt: skip
_CRON_WORDS: Final = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_CALENDAR: Final = re.compile(
    r"(?:(?P<day>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:(?:\.\.|,)(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun))*)\s+)?"
    r"(?:\*-\*-(?P<date>\*|[0-9]{1,2})\s+)?(?P<hour>[0-9]{1,2}|\*):(?P<minute>[0-9]{1,2})(?::[0-9]{1,2})?$"
)


def to_label(text: str) -> str:
    """A name as Kubernetes takes it (RFC 1123 label): at most 52 characters, which is a CronJob's limit."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:52].strip("-")
    return label or "workload"


def to_cron(calendar: str) -> str | None:
    """A systemd calendar expression as a CronJob's schedule; None where cron cannot say it."""
    text = calendar.strip()
    if text.lower() in _CALENDARS:
        return _CALENDARS[text.lower()]
    match = _CALENDAR.match(text)
    if match is None:
        return None
    day = (match["day"] or "*").replace("..", "-")
    date = (match["date"] or "*").lstrip("0") or "*"
    hour = "*" if match["hour"] == "*" else str(int(match["hour"]))
    return f"{int(match['minute'])} {hour} {date} * {day}"


def schedule_of(service: Service) -> str | None:
    """When a job runs, as a CronJob's schedule; None where that cannot be said (@reboot, several calendars)."""
    if service.cron is not None:
        schedule = service.cron.schedule
        return schedule if schedule in _CRON_WORDS or not schedule.startswith("@") else None
    if service.timer is not None and len(service.timer.calendar) == 1 and not service.timer.monotonic:
        return to_cron(service.timer.calendar[0])
    return None


def build_manifests(
    service: Service,
    *,
    image: str,
    name: str = "",
    user: str = "",
    storage_class: str | None = None,
    vm: str = "",
) -> tuple[list[Manifest], Manifest | None, list[str]]:
    """The objects of one workload.

    Args:
        service: the workload.
        image: the image's name.
        name: of the objects; by default the workload's.
        user: "uid:gid" that it runs as; "" for root.
        storage_class: of its volumes; None takes the cluster's default.
        vm: the VM that it comes from: all its workloads get one label, by which one Service finds them.

    Returns:
        The objects to apply; a Secret to fill in first, or None; and what had to be left out, in words.
    """
    name = name or to_label(service.name)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "vmkit"}
    if vm:
        labels[PART_OF] = to_label(vm)
    notes: list[str] = []
    found: list[Manifest] = []
    unit = service.unit
    variables = {one.name: one.value for one in unit.environment} if unit else {}
    plain = {key: value for key, value in variables.items() if value is not None}
    hidden = sorted(key for key, value in variables.items() if value is None)
    if plain:
        found.append(_object("v1", "ConfigMap", name, labels, data=plain))
    secret = None
    if hidden:
        secret = _object("v1", "Secret", name, labels, type="Opaque", stringData=dict.fromkeys(hidden, ""))
    pod = _pod(service, name, image, user, config=bool(plain), secret=bool(hidden))
    template = {"metadata": {"labels": labels}, "spec": pod}
    selector = {"matchLabels": {"app.kubernetes.io/name": name}}
    if service.kind is ServiceKind.SERVICE:
        found.append(
            _standing(
                service,
                name=name,
                labels=labels,
                selector=selector,
                template=template,
                storage_class=storage_class,
            )
        )
        found += _network(service, name, labels, selector)
    else:
        _add_claims(service, name=name, pod=pod, found=found, labels=labels, storage_class=storage_class)
        pod["restartPolicy"] = "Never"
        schedule = schedule_of(service)
        job = {"template": template, "backoffLimit": 2}
        if service.kind is ServiceKind.TASK:
            found.append(_object("batch/v1", "Job", name, labels, spec=job))
        elif schedule is None:
            notes.append("its times cannot be written as one cron schedule: write the CronJob's yourself")
            found.append(_cron(name, labels, "0 0 31 2 *", job))
        else:
            found.append(_cron(name, labels, schedule, job))
    if unit and unit.before_start:
        commands = "; ".join(unit.before_start)
        notes.append(f"before its start it ran: {commands}; add an init container where that matters")
    notes += [
        f"it listens on {one.address}:{one.port}, which nobody outside of the pod reaches"
        for one in service.listeners
        if one.port and not _is_reachable(one)
    ]
    return found, secret, notes


def build_vm_service(vm: str, services: Sequence[Service]) -> Manifest | None:
    """The Service with the VM's own name, leading to all its workloads; None where none can be reached.

    One selector finds the pods of all of them. Target ports are named, and a pod without a port of that name is no
    endpoint of it (Kubernetes EndpointSlices), so that each port leads to the workload that has it.
    """
    ports = sorted({one for service in services if service.kind is ServiceKind.SERVICE for one in _ports(service)})
    if not ports:
        return None
    listed = [
        {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port,
         "targetPort": f"{protocol.lower()}-{port}"}
        for protocol, port in ports
    ]  # fmt: skip
    label = to_label(vm)
    labels = {PART_OF: label, "app.kubernetes.io/managed-by": "vmkit"}
    return _object("v1", "Service", label, labels, spec={"selector": {PART_OF: label}, "ports": listed})


def _object(version: str, kind: str, name: str, labels: Mapping[str, str], **content: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}, **content}


def _cron(name: str, labels: Mapping[str, str], schedule: str, job: Manifest) -> Manifest:
    # Suspended until cut-over: until then the VM still does this work.
    spec = {"schedule": schedule, "suspend": True, "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}}
    return _object("batch/v1", "CronJob", name, labels, spec=spec)


def _pod(service: Service, name: str, image: str, user: str, *, config: bool, secret: bool) -> Manifest:
    unit = service.unit
    security: Manifest = {"allowPrivilegeEscalation": False}
    pod_security: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if user:
        uid, _, gid = user.partition(":")
        pod_security |= {"runAsUser": int(uid), "runAsGroup": int(gid), "runAsNonRoot": True}
        if service.data:
            pod_security["fsGroup"] = int(gid)
        if any(port < 1024 for port in service.ports):
            # One of the sysctls that every cluster allows.
            pod_security["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
        security["capabilities"] = {"drop": ["ALL"]}
        if unit and unit.capabilities:
            security["capabilities"]["add"] = [one.removeprefix("CAP_") for one in unit.capabilities]
    container: Manifest = {"name": name, "image": image, "securityContext": security}
    sources: list[Manifest] = []
    if config:
        sources.append({"configMapRef": {"name": name}})
    if secret:
        # Not optional: without its secrets the pod waits instead of running half.
        sources.append({"secretRef": {"name": name}})
    if sources:
        container["envFrom"] = sources
    if unit and unit.working_directory.startswith("/"):
        container["workingDir"] = unit.working_directory
    ports = _ports(service)
    if ports:
        container["ports"] = [
            {"name": f"{protocol.lower()}-{port}", "containerPort": port, "protocol": protocol}
            for protocol, port in ports
        ]
    checked = next((port for protocol, port in ports if protocol == "TCP"), None)
    if checked is not None:
        check = {"tcpSocket": {"port": f"tcp-{checked}"}}
        if service.kind is ServiceKind.SERVICE:
            container["startupProbe"] = {**check, "periodSeconds": 2, "failureThreshold": 30}
            container["readinessProbe"] = {**check, "periodSeconds": 5}
            container["livenessProbe"] = {**check, "periodSeconds": 10}
    limits: Manifest = {}
    if unit and unit.memory_max_bytes:
        limits["memory"] = f"{math.ceil(unit.memory_max_bytes / 2**20)}Mi"
    if unit and unit.cpu_quota_percent:
        limits["cpu"] = f"{math.ceil(unit.cpu_quota_percent * 10)}m"
    if limits:
        container["resources"] = {"limits": limits}
    if service.data:
        container["volumeMounts"] = [
            {"name": f"data-{index}", "mountPath": one.path} for index, one in enumerate(service.data)
        ]
    grace = unit.stop_timeout_seconds if unit and unit.stop_timeout_seconds is not None else _STOP_SECONDS
    return {
        "automountServiceAccountToken": False,
        "securityContext": pod_security,
        "terminationGracePeriodSeconds": max(1, math.ceil(grace)),
        "containers": [container],
    }


def _is_reachable(listener: Listener) -> bool:
    return listener.address not in ("localhost", "::1", "[::1]") and not listener.address.startswith("127.")


def _ports(service: Service) -> list[tuple[str, int]]:
    """(protocol, port) of what can be reached from outside of the pod."""
    return sorted(
        {
            (one.protocol.upper(), one.port)
            for one in service.listeners
            if one.port and one.protocol in ("tcp", "udp") and _is_reachable(one)
        }
    )


def _claim(size_bytes: int, storage_class: str | None) -> Manifest:
    # Twice what is there, and at least 1 GiB: data grows.
    size = max(1, math.ceil(size_bytes * 2 / _GIB))
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size}Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return spec


def _standing(
    service: Service,
    *,
    name: str,
    labels: Mapping[str, str],
    selector: Manifest,
    template: Manifest,
    storage_class: str | None,
) -> Manifest:
    spec: Manifest = {"replicas": 1, "selector": selector, "template": template}
    if not service.data:
        return _object("apps/v1", "Deployment", name, labels, spec=spec)
    spec["serviceName"] = name
    spec["volumeClaimTemplates"] = [
        {"metadata": {"name": f"data-{index}"}, "spec": _claim(one.size_bytes, storage_class)}
        for index, one in enumerate(service.data)
    ]
    return _object("apps/v1", "StatefulSet", name, labels, spec=spec)


def _add_claims(
    service: Service,
    *,
    name: str,
    pod: Manifest,
    found: list[Manifest],
    labels: Mapping[str, str],
    storage_class: str | None,
) -> None:
    for index, one in enumerate(service.data):
        claim = f"{name}-data-{index}"
        spec = _claim(one.size_bytes, storage_class)
        found.append(_object("v1", "PersistentVolumeClaim", claim, labels, spec=spec))
        volume = {"name": f"data-{index}", "persistentVolumeClaim": {"claimName": claim}}
        pod.setdefault("volumes", []).append(volume)


def _network(service: Service, name: str, labels: Mapping[str, str], selector: Manifest) -> list[Manifest]:
    ports = _ports(service)
    listed = [
        {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port, "targetPort": port}
        for protocol, port in ports
    ]
    found: list[Manifest] = []
    if listed:
        spec = {"selector": selector["matchLabels"], "ports": listed}
        found.append(_object("v1", "Service", name, labels, spec=spec))
    elif service.data:
        # A StatefulSet needs a Service for its pods' names, ports or not.
        found.append(
            _object("v1", "Service", name, labels, spec={"clusterIP": "None", "selector": selector["matchLabels"]})
        )
    rules = [{"ports": [{"protocol": protocol, "port": port} for protocol, port in ports]}] if ports else []
    policy = {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules}
    found.append(_object("networking.k8s.io/v1", "NetworkPolicy", name, labels, spec=policy))
    return found
