"""KubeVirt's configuration: what the KubeVirt object says, over what its release does by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.kubevirt.release import Release

Object = dict[str, Any]

_BETA_GATES: Final = frozenset(
    {"DecentralizedLiveMigration", "DeclarativeHotplugVolumes", "PasstBinding", "Template"}
)
"""On unless switched off, from v1.9 on (pkg/virt-config/featuregate)."""

DEFAULT_CPU_ALLOCATION_RATIO: Final = 10
MAX_HOTPLUG_RATIO: Final = 4


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings that the practice cluster honours.

    Attributes:
        release: the KubeVirt release being played.
        gates: the feature gates that are on.
        live_update: vmRolloutStrategy is LiveUpdate.
        eviction_strategy: the cluster's default; "None" is what KubeVirt itself writes when nothing is set.
        machine_type, cpu_model, architecture: what instances get that say nothing.
        cpu_allocation_ratio: vCPUs a requested core stands for.
        memory_overcommit_percent: guest memory per requested memory.
        network_interface: the binding of an instance that names no network.
        reference_policy: what becomes of a VM's instance type: reference, expand or expandAll.
        max_sockets_ratio: how far sockets and memory may grow while running.
        parallel_migrations, parallel_outbound_migrations: limits of live migration in the cluster and off a node.
    """

    release: Release
    gates: frozenset[str] = frozenset()
    live_update: bool = True
    eviction_strategy: str = "None"
    machine_type: str = "q35"
    cpu_model: str = "host-model"
    architecture: str = "amd64"
    cpu_allocation_ratio: int = DEFAULT_CPU_ALLOCATION_RATIO
    memory_overcommit_percent: int = 100
    network_interface: str = "bridge"
    reference_policy: str = "reference"
    max_sockets_ratio: int = MAX_HOTPLUG_RATIO
    parallel_migrations: int = 5
    parallel_outbound_migrations: int = 2

    @property
    def hotplug_volumes(self) -> bool:
        """Whether addvolume and removevolume work at all."""
        return bool(self.gates & {"HotplugVolumes", "DeclarativeHotplugVolumes"})

    @property
    def wait_as_receiver(self) -> bool:
        """Whether the run strategy WaitAsReceiver may be used."""
        return self.release.wait_as_receiver and "DecentralizedLiveMigration" in self.gates


def read_configuration(kubevirt: Object | None, release: Release) -> Configuration:
    """Reads the KubeVirt object's spec.configuration; what has the wrong shape counts as unset.

    Args:
        kubevirt: the object, or None when there is none.
        release: the release being played.
    """
    settings = _mapping(_mapping(kubevirt or {}, "spec"), "configuration")
    developer = _mapping(settings, "developerConfiguration")
    gates = set(_BETA_GATES) if release.declarative_hotplug else set()
    chosen = _names(developer, "featureGates")
    gates = (gates - _names(developer, "disabledFeatureGates")) | chosen
    rollout = settings.get("vmRolloutStrategy")
    migrations = _mapping(settings, "migrations")
    return Configuration(
        release=release,
        gates=frozenset(gates),
        live_update=release.live_update if rollout is None else rollout == "LiveUpdate",
        eviction_strategy=_text(settings, "evictionStrategy", "None"),
        machine_type=_text(settings, "machineType", "q35"),
        cpu_model=_text(settings, "cpuModel", "host-model"),
        cpu_allocation_ratio=_number(developer, "cpuAllocationRatio", DEFAULT_CPU_ALLOCATION_RATIO),
        memory_overcommit_percent=_number(developer, "memoryOvercommit", 100),
        network_interface=_text(_mapping(settings, "network"), "defaultNetworkInterface", "bridge"),
        reference_policy=_text(_mapping(settings, "instancetype"), "referencePolicy", "reference"),
        max_sockets_ratio=_number(
            _mapping(settings, "liveUpdateConfiguration"), "maxHotplugRatio", MAX_HOTPLUG_RATIO
        ),
        parallel_migrations=_number(migrations, "parallelMigrationsPerCluster", 5),
        parallel_outbound_migrations=_number(migrations, "parallelOutboundMigrationsPerNode", 2),
    )


def _mapping(parent: Object, key: str) -> Object:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _text(parent: Object, key: str, default: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) and value else default


def _number(parent: Object, key: str, default: int) -> int:
    value = parent.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _names(parent: Object, key: str) -> set[str]:
    value = parent.get(key)
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
