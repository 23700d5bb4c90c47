"""What owns some of a fleet's VMs: pools of runners, and Argo CD Applications with their manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from vmkit.lab.argocd import NAMESPACE as ARGOCD
from vmkit.lab.argocd.resources import build_application
from vmkit.lab.clock import format_time
from vmkit.lab.fleet.identity import make_uid
from vmkit.lab.fleet.machines import build_vm
from vmkit.lab.fleet.plan import VmPlan

Object = dict[str, Any]

_ARGO_METADATA = ("kubevirt.io/latest-observed-api-version", "kubevirt.io/storage-observed-api-version")


def build_pools(plans: Iterable[VmPlan], *, seed: int, at: datetime) -> Iterator[Object]:
    """A VirtualMachinePool for the VMs that say they belong to one, of as many replicas as there are."""
    members: dict[tuple[str, str], list[VmPlan]] = {}
    for plan in plans:
        if plan.pool:
            members.setdefault((plan.namespace, plan.pool), []).append(plan)
    for (namespace, name), pool in members.items():
        template = build_vm(pool[0], seed=seed, at=at)
        template["spec"]["template"]["spec"]["domain"].pop("firmware")  # each VM gets its own
        labels = {"kubevirt.io/vmpool": name}
        yield {
            "apiVersion": "pool.kubevirt.io/v1beta1",
            "kind": "VirtualMachinePool",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": make_uid(seed, "pool", namespace, name),
                "creationTimestamp": format_time(min(plan.created for plan in pool) - timedelta(minutes=1)),
                "generation": 1,
            },
            "spec": {
                "replicas": len(pool),
                "selector": {"matchLabels": labels},
                "virtualMachineTemplate": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
            "status": {
                "labelSelector": f"kubevirt.io/vmpool={name}",
                "readyReplicas": len(pool),
                "replicas": len(pool),
            },
        }


def build_applications(plans: Iterable[VmPlan], *, seed: int, at: datetime) -> Iterator[Object]:
    """An Application for each name that VMs carry, and the ConfigMap that stands for its Git repository.

    One in three heals drift by itself, one in three only syncs new commits, one in three waits for people.
    """
    owned: dict[str, list[VmPlan]] = {}
    for plan in plans:
        if plan.application and plan.state != "malformed":
            owned.setdefault(plan.application, []).append(plan)
    for index, (name, members) in enumerate(sorted(owned.items())):
        data = {
            f"{plan.name}.json": json.dumps(_build_manifest(build_vm(plan, seed=seed, at=at)), sort_keys=True)
            for plan in members
        }
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": ARGOCD, "uid": make_uid(seed, "repository", name)},
            "data": data,
        }
        application = build_application(
            name, members[0].namespace, self_heal=index % 3 == 0, automated=index % 3 < 2
        )
        application["metadata"]["uid"] = make_uid(seed, "application", name)
        yield application


def _build_manifest(vm: Object) -> Object:
    """What Git holds of a VM: what people write, not what the cluster fills in."""
    metadata = vm["metadata"]
    annotations = {
        key: value
        for key, value in metadata["annotations"].items()
        if key not in _ARGO_METADATA and not key.startswith("argocd.")
    }
    spec = json.loads(json.dumps(vm["spec"]))
    for filled in ("architecture",):
        spec["template"]["spec"].pop(filled, None)
    domain = spec["template"]["spec"]["domain"]
    for filled in ("firmware", "machine", "resources"):
        domain.pop(filled, None)
    spec["template"]["metadata"].pop("annotations", None)
    return {
        "apiVersion": vm["apiVersion"],
        "kind": vm["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
            "annotations": annotations,
        },
        "spec": spec,
    }
