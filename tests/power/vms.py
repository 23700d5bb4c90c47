"""VMs to start and stop, and ways to wait for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

DEADLINE_SECONDS = 30.0


def manifest(
    name: str,
    strategy: str = "Manual",
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    disk: bool = False,
    grace_seconds: int | None = None,
    **guest: str,
) -> dict[str, Any]:
    """A VM; ``guest`` says how its guest behaves on the practice cluster ("ignores_acpi" ...)."""
    marks = {f"lab.vmkit.io/guest-{key.replace('_', '-')}": value for key, value in guest.items()}
    volume: dict[str, Any] = {"name": "root", "containerDisk": {"image": "quay.io/containerdisks/debian:12"}}
    templates: list[dict[str, Any]] = []
    if disk:
        volume = {"name": "root", "dataVolume": {"name": f"{name}-root"}}
        storage = {"resources": {"requests": {"storage": "1Gi"}}}
        templates = [{"metadata": {"name": f"{name}-root"}, "spec": {"source": {"blank": {}}, "storage": storage}}]
    template: dict[str, Any] = {
        "spec": {
            "domain": {
                "memory": {"guest": "64Mi"},
                "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}], "interfaces": [
                    {"name": "default", "masquerade": {}}]},
            },
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [volume],
        }
    }  # fmt: skip
    if grace_seconds is not None:
        template["spec"]["terminationGracePeriodSeconds"] = grace_seconds
    spec: dict[str, Any] = {"runStrategy": strategy, "template": template}
    if templates:
        spec["dataVolumeTemplates"] = templates
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": labels or {}, "annotations": {**marks, **(annotations or {})}},
        "spec": spec,
    }


def create(session: Session, *manifests: dict[str, Any]) -> list[VmRef]:
    for document in manifests:
        session.create(VIRTUAL_MACHINES, document)
    return [VmRef(session.namespace, document["metadata"]["name"]) for document in manifests]


def look(session: Session, ref: VmRef) -> VmView:
    return read_vm(session.get(VIRTUAL_MACHINES, ref.name, ref.namespace))


def wait_until(session: Session, refs: Iterable[VmRef], done: Callable[[VmView], bool]) -> dict[VmRef, VmView]:
    """Watches until the condition holds for each of them at once."""
    wanted, found = set(refs), dict[VmRef, VmView]()
    if not wanted:
        return found
    namespace = next(iter(wanted)).namespace
    deadline = time.monotonic() + DEADLINE_SECONDS
    with session.watch(VIRTUAL_MACHINES, namespace, timeout_seconds=DEADLINE_SECONDS) as watch:
        for event in watch:
            view = read_vm(event.object)
            if view.ref in wanted:
                found[view.ref] = view
            if len(found) == len(wanted) and all(done(view) for view in found.values()):
                return found
            assert time.monotonic() < deadline, {ref: view.printable_status for ref, view in found.items()}
    raise AssertionError({str(ref): view.printable_status for ref, view in found.items()})


def running(view: VmView) -> bool:
    return view.printable_status == "Running" and view.ready


def stopped(view: VmView) -> bool:
    return view.printable_status == "Stopped" and not view.created


def create_running(session: Session, *manifests: dict[str, Any]) -> list[VmRef]:
    """Creates them and brings them to run, whatever their strategy."""
    refs = create(session, *manifests)
    for ref, document in zip(refs, manifests, strict=True):
        if document["spec"]["runStrategy"] in {"Manual", "Halted"}:
            wait_until(session, [ref], stopped)
            session.call_subresource(VIRTUAL_MACHINES, ref.name, "start", ref.namespace)
    wait_until(session, refs, running)
    return refs
