"""Who is who in a fleet: UIDs, names and addresses that follow from the seed and the object alone."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

from vmkit.lab.fleet.plan import VmPlan

Object = dict[str, Any]


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


def owner_reference(api_version: str, kind: str, name: str, uid: str) -> Object:
    """A reference to the controller of an object."""
    return {
        "apiVersion": api_version,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": name,
        "uid": uid,
    }
