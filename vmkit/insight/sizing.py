"""From what a VM needs to the size it should have: as an instancetype, or as fields of its domain; live or not.

Source of what can change while a VM runs: KubeVirt pkg/virt-controller/watch/vm/vm.go (handleCPUChangeRequest,
handleMemoryHotplugRequest) and pkg/liveupdate/memory: sockets only upward and up to maxSockets; memory only at or
above what the VM started with and up to maxGuest, from 1 GiB on, in VMs that can be migrated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from vmkit.insight.recommender import Recommendation, Resources
from vmkit.insight.shape import Catalog, Instancetype, Rollout, Shape, Topology
from vmkit.insight.update import Worth
from vmkit.plan import Reason
from vmkit.units import format_bytes, format_cores, format_size

MEMORY_STEP: Final = 256 * 2**20
"""Memory of plain domains is rounded up to whole steps."""
_MIN_LIVE_BYTES: Final = 2**30
_NONE: Final = Resources(0, 0)


class Effect(StrEnum):
    """When a new size holds."""

    LIVE = "Live"
    """At once, while the VM runs."""
    RESTART = "Restart"
    """With the next restart."""
    START = "Start"
    """The VM is stopped: with its next start."""


@dataclass(frozen=True, slots=True)
class Size:
    """A VM's size: what its guest gets, and the name of it where it has one."""

    vcpus: int
    memory_bytes: int
    instancetype: str = ""

    def __str__(self) -> str:
        guest = f"{self.vcpus} CPU, {format_size(self.memory_bytes)}"
        return f"{self.instancetype} ({guest})" if self.instancetype else guest

    def to_dict(self) -> dict[str, Any]:
        """The size as a document."""
        named = {"instancetype": self.instancetype} if self.instancetype else {}
        return {**named, "vcpus": self.vcpus, "memoryBytes": self.memory_bytes}


@dataclass(frozen=True, slots=True)
class Proposal:
    """The size a VM should have.

    Attributes:
        now: the size it has; None where nobody knows.
        size: the size it should have; None where it should stay as it is.
        reason: why.
        effect: when it would hold; None where nothing is proposed.
        effect_text: why then, in a sentence.
        patch: the merge patch of the VirtualMachine.
        saved: what the guest's size falls by (negative: it grows).
        worth: what the rule said; None where it was not asked.
        wants: what the VM needs; None where nobody knows.
    """

    now: Size | None
    size: Size | None
    reason: Reason
    effect: Effect | None = None
    effect_text: str = ""
    patch: Mapping[str, Any] = field(default_factory=dict)
    saved: Resources = _NONE
    worth: Worth | None = None
    wants: Resources | None = None

    @property
    def changes(self) -> bool:
        """Whether another size is proposed."""
        return self.size is not None


def read_size(shape: Shape) -> Size | None:
    """The size a VM has; None where a part of it is not known."""
    if shape.topology is None or shape.memory_bytes is None:
        return None
    return Size(shape.topology.vcpus, shape.memory_bytes, shape.refers_to)


def choose_instancetype(
    current: Instancetype, wanted: Resources, catalog: Catalog, *, namespace: str
) -> Instancetype | None:
    """The smallest of the same series that holds what is wanted; None where none does.

    The smallest is the one with the least memory, which is what fills servers, then the fewest CPUs.
    """
    fitting = [
        one
        for one in catalog.series_of(namespace, current)
        if one.vcpus * 1000 >= wanted.cpu_millicores and one.memory_bytes >= wanted.memory_bytes
    ]
    return min(fitting, key=lambda one: (one.memory_bytes, one.vcpus, one.name), default=None)


def choose_topology(current: Topology, vcpus: int) -> Topology:
    """The topology nearest to the current one with at least so many CPUs.

    Threads stay; sockets change first, because they can be added while the VM runs, then cores.
    """
    per_socket = current.cores * current.threads
    whole = current.sockets > 1 or current.cores == 1 or vcpus % per_socket == 0
    if vcpus >= per_socket and whole:
        return Topology(math.ceil(vcpus / per_socket), current.cores, current.threads)
    return Topology(1, math.ceil(vcpus / current.threads), current.threads)


def decide_size(
    shape: Shape,
    recommendation: Recommendation | None,
    worth: Worth | None,
    catalog: Catalog,
    *,
    namespace: str,
    rollout: Rollout,
    running: bool | None,
) -> Proposal:
    """The size a VM should have.

    Args:
        shape: the size it has.
        recommendation: what it needs; None where nobody knows.
        worth: what the updater's rule says; None likewise.
        catalog: the instancetypes there are.
        namespace: the VM's.
        rollout: what the cluster does with changes.
        running: whether it runs; None where nobody knows, which is taken for running.
    """
    now = read_size(shape)
    wants = None if recommendation is None else recommendation.target
    if shape.problem or now is None:
        return Proposal(now, None, Reason("Unreadable", shape.problem or "its size is nowhere to be read"))
    if shape.fixed:
        return Proposal(now, None, Reason("Fixed", shape.fixed), wants=wants)
    if recommendation is None or worth is None or wants is None:
        return Proposal(now, None, Reason("NotMeasured", "nobody measured what it uses"))
    if not worth.worth:
        return Proposal(now, None, Reason(worth.why, _say_worth(worth)), worth=worth, wants=wants)
    size, refusal = _choose(shape, wants, catalog, namespace)
    if size is None:
        return Proposal(now, None, Reason("NoneFits", refusal), worth=worth, wants=wants)
    if (size.vcpus, size.memory_bytes) == (now.vcpus, now.memory_bytes):
        text = "it needs another amount, and of the sizes there are it has the one that fits"
        return Proposal(now, None, Reason("Fits", text), worth=worth, wants=wants)
    patch = build_patch(shape, size)
    effect, why = _decide_effect(shape, now, size, patch, rollout, running=running)
    saved = Resources((now.vcpus - size.vcpus) * 1000, now.memory_bytes - size.memory_bytes)
    return Proposal(
        now, size, Reason(worth.why, _say_worth(worth)), effect, why, patch, saved, worth, wants
    )  # fmt: skip


def _say_worth(worth: Worth) -> str:
    percent = f"{worth.difference:.0%}"
    return {
        "OutOfMemory": "its guest ran out of memory soon after it started",
        "TooSmall": "it has less than the lower bound of what it needs",
        "TooLarge": "it has more than the upper bound of what it needs",
        "Differs": f"it is {percent} away from what it needs",
        "Close": f"it is only {percent} away from what it needs",
        "TooYoung": "it is within the bounds, and has not run for half a day since it started",
    }[worth.why]


def build_patch(shape: Shape, size: Size) -> Mapping[str, Any]:
    """The merge patch that gives a VM another size.

    Args:
        shape: the VM; its own size is known.
        size: the size it is to have; with an instancetype where it has one, without where it has none.
    """
    if size.instancetype:
        # Without its recorded revision KubeVirt looks the named one up again.
        return {"spec": {"instancetype": {"name": size.instancetype, "revisionName": None}}}
    topology = choose_topology(shape.topology or Topology(), size.vcpus)
    return {"spec": {"template": {"spec": {"domain": _domain_patch(shape, topology, size.memory_bytes)}}}}


def _choose(shape: Shape, wants: Resources, catalog: Catalog, namespace: str) -> tuple[Size | None, str]:
    if shape.instancetype is not None:
        found = choose_instancetype(shape.instancetype, wants, catalog, namespace=namespace)
        if found is None:
            series = shape.instancetype.series or shape.instancetype.name
            amount = f"{format_cores(wants.cpu_millicores / 1000)} CPU and {format_size(wants.memory_bytes)}"
            return None, f"no instancetype of the series {series} has {amount}"
        return Size(found.vcpus, found.memory_bytes, found.name), ""
    topology = choose_topology(shape.topology or Topology(), max(math.ceil(wants.cpu_millicores / 1000), 1))
    return Size(topology.vcpus, max(math.ceil(wants.memory_bytes / MEMORY_STEP), 1) * MEMORY_STEP), ""


def _domain_patch(shape: Shape, topology: Topology, memory: int) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    assert shape.topology is not None
    assert shape.memory_bytes is not None
    if topology != shape.topology:
        patch["cpu"] = {"sockets": topology.sockets, "cores": topology.cores, "threads": topology.threads}
        share = topology.vcpus / shape.topology.vcpus
        if shape.requests_cpu is not None:
            requests["cpu"] = format_cores(shape.requests_cpu * share)
        if shape.limits_cpu is not None:
            limits["cpu"] = format_cores(shape.limits_cpu * share)
    if memory != shape.memory_bytes:
        if shape.declared_guest:
            patch["memory"] = {"guest": format_bytes(memory)}
        if shape.requests_memory_bytes is not None:
            # The request keeps its ratio to the guest: it may be less on purpose, and never more.
            scaled = memory * shape.requests_memory_bytes // shape.memory_bytes
            requests["memory"] = format_bytes(min(scaled, memory))
        if shape.limits_memory_bytes is not None:
            limits["memory"] = format_bytes(max(memory * shape.limits_memory_bytes // shape.memory_bytes, memory))
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {**patch, **({"resources": resources} if resources else {})}


def _decide_effect(
    shape: Shape, now: Size, size: Size, patch: Mapping[str, Any], rollout: Rollout, *, running: bool | None
) -> tuple[Effect, str]:
    if running is False:
        return Effect.START, "it is stopped now"
    why = _why_restart(shape, now, size, patch, rollout)
    return (Effect.RESTART, why) if why else (Effect.LIVE, "it grows while it runs, by a live migration")


def _why_restart(shape: Shape, now: Size, size: Size, patch: Mapping[str, Any], rollout: Rollout) -> str:
    if rollout.live_update is None:
        return "the KubeVirt object cannot be read, so nobody knows whether changes reach running VMs"
    if not rollout.live_update:
        return "the cluster's vmRolloutStrategy is Stage"
    if size.vcpus < now.vcpus:
        return "fewer CPUs need a restart"
    if size.memory_bytes < now.memory_bytes:
        return "less memory needs a restart"
    if not rollout.workload_updates:
        return "LiveMigrate is not among the workloadUpdateMethods of the KubeVirt object"
    if shape.migratable is not True:
        return "it cannot be migrated"
    domain = patch.get("spec", {}).get("template", {}).get("spec", {}).get("domain", {})
    if "resources" in domain:
        return "its resource requests are set in its spec"
    if size.vcpus > now.vcpus:
        topology = shape.topology or Topology()
        wanted = domain.get("cpu", {"sockets": size.vcpus, "cores": topology.cores, "threads": topology.threads})
        if (wanted["cores"], wanted["threads"]) != (topology.cores, topology.threads):
            return "only sockets can be added while it runs"
        if shape.max_sockets is None or wanted["sockets"] > shape.max_sockets:
            return f"its sockets cannot go beyond {shape.max_sockets or topology.sockets} until it restarts"
    if size.memory_bytes > now.memory_bytes:
        if now.memory_bytes < _MIN_LIVE_BYTES:
            return "memory can be added while it runs from 1 GiB on"
        most = shape.max_guest_bytes
        if most is None or size.memory_bytes > most:
            return f"its memory cannot go beyond {format_size(most or now.memory_bytes)} until it restarts"
    return ""
