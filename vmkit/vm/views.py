"""What a VM is doing, as small frozen values. `vmkit.vm.state` reads them from API objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from vmkit.vm.reference import VmRef
from vmkit.vm.strategy import RunStrategy


class PowerState(StrEnum):
    """The state people think in, coarser than printableStatus."""

    RUNNING = "Running"
    STARTING = "Starting"
    """There is an instance that does not run yet, or one is about to be: disks, scheduling, image, back-off."""
    STOPPING = "Stopping"
    """The instance is shutting down."""
    STOPPED = "Stopped"
    """There is no instance, or one that has ended."""
    PAUSED = "Paused"
    MIGRATING = "Migrating"
    """Running, and moving to another node."""
    DELETING = "Deleting"
    """The VM itself is going."""
    UNKNOWN = "Unknown"
    """Neither said nor to be guessed."""

    @property
    def alive(self) -> bool:
        """Whether a guest runs (or is paused) in it now."""
        return self in {PowerState.RUNNING, PowerState.PAUSED, PowerState.MIGRATING}


_FINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})


class Condition(NamedTuple):
    """One condition of a status."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None

    @property
    def is_true(self) -> bool:
        return self.status == "True"


class Owner(NamedTuple):
    """One owner reference."""

    kind: str
    name: str
    uid: str = ""
    controller: bool = False


class Volume(NamedTuple):
    """One volume of the VM.

    Attributes:
        name: its name within the VM.
        kind: the key that says what it is: "dataVolume", "persistentVolumeClaim", "containerDisk" ...
        source: the name of the DataVolume, claim, Secret or ConfigMap, or the image; empty where there is none.
        templated: whether the VM's dataVolumeTemplates make it, so that it is deleted with the VM.
    """

    name: str
    kind: str
    source: str = ""
    templated: bool = False

    @property
    def persistent(self) -> bool:
        """Whether its data outlive a stop."""
        return self.kind in {"dataVolume", "persistentVolumeClaim"}


@dataclass(frozen=True, slots=True)
class InstanceView:
    """The VirtualMachineInstance."""

    uid: str
    phase: str
    resource_version: str = ""
    node: str = ""
    addresses: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    deleting: bool = False
    grace_seconds: int | None = None
    """spec.terminationGracePeriodSeconds."""
    started_at: datetime | None = None
    """When it last came to run."""
    migration: Mapping[str, Any] | None = None
    """status.migrationState as it is."""

    @property
    def final(self) -> bool:
        """Whether it has ended and will not run again."""
        return self.phase in _FINAL_PHASES

    @property
    def migrating(self) -> bool:
        return self.migration is not None and not self.migration.get("completed")

    @property
    def paused(self) -> bool:
        return any(condition.type == "Paused" and condition.is_true for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class VmView:
    """A VM as vmkit sees it.

    Attributes:
        ref: namespace and name.
        uid, resource_version: of the VirtualMachine.
        labels, annotations: as they are; entries that are no text are left out.
        run_strategy: None where it is missing, unknown or mistyped.
        power: what it is doing.
        printable_status: KubeVirt's own word.
        ready: status.ready: the instance's Ready condition.
        created: status.created: an instance exists (it may have ended).
        created_at, deleted_at: metadata.creationTimestamp, .deletionTimestamp.
        node, addresses: of the instance; empty without one at hand.
        cpu_cores: guest CPUs (cores x sockets x threads); None where an instancetype or nobody says.
        memory_bytes: guest memory, likewise.
        instancetype, preference: their names, or empty.
        conditions, owners, volumes: see their classes.
        requests: pending status.stateChangeRequests, "Start" and "Stop", in order.
        observed_strategy: status.runStrategy, which the controller acted on last; empty before KubeVirt 1.3.
        start_failure: status.startFailure as it is, or None: KubeVirt waits before the next try.
        busy: why it should not be stopped now: a snapshot or restore in progress ... ; empty when nothing.
        grace_seconds: the template's terminationGracePeriodSeconds, or None (KubeVirt then takes 30).
        managers: the field managers that wrote the object.
        instance: the instance, where it was at hand.
        problem: what is wrong with the object itself; empty when nothing.
    """

    ref: VmRef
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    run_strategy: RunStrategy | None = None
    power: PowerState = PowerState.UNKNOWN
    printable_status: str = ""
    ready: bool = False
    created: bool = False
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    node: str = ""
    addresses: tuple[str, ...] = ()
    cpu_cores: int | None = None
    memory_bytes: int | None = None
    instancetype: str = ""
    preference: str = ""
    conditions: tuple[Condition, ...] = ()
    owners: tuple[Owner, ...] = ()
    volumes: tuple[Volume, ...] = ()
    requests: tuple[str, ...] = ()
    observed_strategy: str = ""
    start_failure: Mapping[str, Any] | None = None
    busy: str = ""
    grace_seconds: int | None = None
    managers: frozenset[str] = frozenset()
    instance: InstanceView | None = None
    problem: str = ""

    @property
    def alive(self) -> bool:
        """Whether a guest runs (or is paused) in it now."""
        return self.power.alive

    @property
    def restart_required(self) -> bool:
        """Whether changes to the VM wait for a restart."""
        return self.condition("RestartRequired") is not None

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type where its status is True."""
        return next((one for one in self.conditions if one.type == kind and one.is_true), None)

    def owner(self, kind: str) -> Owner | None:
        """The owner of this kind, if there is one."""
        return next((owner for owner in self.owners if owner.kind == kind), None)
