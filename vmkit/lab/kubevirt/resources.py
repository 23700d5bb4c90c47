"""KubeVirt's resource types: what its operator installs as CustomResourceDefinitions, and its aggregated API."""

from __future__ import annotations

from typing import Final

from vmkit.lab.kubevirt.release import LATEST, Release
from vmkit.lab.resources import AggregatedApi, AggregatedResource, Column, Registry, ResourceType, SchemaRef

GROUP: Final = "kubevirt.io"
SUBRESOURCES: Final = "subresources.kubevirt.io"

_AGE: Final = Column("Age", "date", ".metadata.creationTimestamp")
_READY: Final = Column("Ready", path=".status.conditions[?(@.type=='Ready')].status")
_V1: Final = "kubevirt.io_v1"
_VERSIONS: Final = ("v1", "v1alpha3")


def _counted(*extra: Column) -> tuple[Column, ...]:
    return (
        Column("Desired", "integer", ".spec.replicas", description="Number of desired virtual machines"),
        Column(
            "Current",
            "integer",
            ".status.replicas",
            description="Number of managed and not final virtual machines",
        ),
        Column(
            "Ready",
            "integer",
            ".status.readyReplicas",
            description="Number of managed virtual machines which are ready",
        ),
        _AGE,
        *extra,
    )


def _kubevirt(
    kind: str, plural: str, short: tuple[str, ...], columns: tuple[Column, ...], **more: object
) -> ResourceType:
    options: dict[str, object] = {
        "version": "v1",
        "subresources": ("status",),
        "categories": ("all",),
        **more,
    }
    return ResourceType(
        group=GROUP,
        versions=_VERSIONS,
        kind=kind,
        plural=plural,
        short_names=short,
        columns=columns,
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=SchemaRef(_V1, f"io.kubevirt.v1.{kind}"),
        **options,  # type: ignore[arg-type]
    )


class Types:
    """The resource types of one lab; types are per lab because admission hooks hang on them."""

    def __init__(self, release: Release = LATEST) -> None:
        self.vm: Final = _kubevirt(
            "VirtualMachine",
            "virtualmachines",
            ("vm", "vms"),
            (
                _AGE,
                Column("Status", path=".status.printableStatus", description="Human Readable Status"),
                _READY,
            ),
        )
        # No status subresource: every change of an instance counts as a new generation, as recorded.
        self.vmi: Final = _kubevirt(
            "VirtualMachineInstance",
            "virtualmachineinstances",
            ("vmi", "vmis"),
            (
                _AGE,
                Column("Phase", path=".status.phase"),
                Column("IP", path=".status.interfaces[0].ipAddress"),
                Column("NodeName", path=".status.nodeName"),
                _READY,
                Column(
                    "Live-Migratable", path=".status.conditions[?(@.type=='LiveMigratable')].status", priority=1
                ),
                Column("Paused", path=".status.conditions[?(@.type=='Paused')].status", priority=1),
            ),
            subresources=(),
        )
        self.migration: Final = _kubevirt(
            "VirtualMachineInstanceMigration",
            "virtualmachineinstancemigrations",
            ("vmim", "vmims"),
            (
                Column("Phase", path=".status.phase", description="The current phase of VM instance migration"),
                Column("VMI", path=".spec.vmiName", description="The name of the VMI to perform the migration on"),
            ),
        )
        self.replica_set: Final = _kubevirt(
            "VirtualMachineInstanceReplicaSet",
            "virtualmachineinstancereplicasets",
            ("vmirs", "vmirss"),
            _counted(),
            subresources=("status", "scale"),
            scale_paths=(".spec.replicas", ".status.replicas", ".status.labelSelector"),
        )
        self.preset: Final = _kubevirt(
            "VirtualMachineInstancePreset",
            "virtualmachineinstancepresets",
            ("vmipreset", "vmipresets"),
            (),
            # Presets are still stored in the old version (its storageVersionHash shows it).
            version="v1alpha3",
            subresources=(),
        )
        self.kubevirt: Final = _kubevirt(
            "KubeVirt", "kubevirts", ("kv", "kvs"), (_AGE, Column("Phase", path=".status.phase"))
        )
        self.instancetypes: Final = {
            kind: ResourceType(
                group="instancetype.kubevirt.io",
                version="v1beta1",
                kind=kind,
                plural=f"{kind.lower()}s",
                short_names=short,
                namespaced="Cluster" not in kind,
                custom=True,
                generation=True,
                unconditional_update=False,
                schema=SchemaRef("instancetype.kubevirt.io_v1beta1", f"io.kubevirt.instancetype.v1beta1.{kind}"),
            )
            for kind, short in (
                ("VirtualMachineInstancetype", ("vminstancetype", "vminstancetypes", "vmf", "vmfs")),
                (
                    "VirtualMachineClusterInstancetype",
                    ("vmclusterinstancetype", "vmclusterinstancetypes", "vmcf", "vmcfs"),
                ),
                ("VirtualMachinePreference", ("vmpref", "vmprefs", "vmp", "vmps")),
                ("VirtualMachineClusterPreference", ("vmcp", "vmcps")),
            )
        }
        self.snapshot: Final = self._snapshot_type(
            "VirtualMachineSnapshot",
            ("vmsnapshot", "vmsnapshots"),
            (
                Column("SourceKind", path=".spec.source.kind"),
                Column("SourceName", path=".spec.source.name"),
                Column("Phase", path=".status.phase"),
                Column("ReadyToUse", "boolean", ".status.readyToUse"),
                Column("CreationTime", "date", ".status.creationTime"),
                Column("Error", path=".status.error.message"),
            ),
        )
        self.snapshot_content: Final = self._snapshot_type(
            "VirtualMachineSnapshotContent",
            ("vmsnapshotcontent", "vmsnapshotcontents"),
            (
                Column("ReadyToUse", "boolean", ".status.readyToUse"),
                Column("CreationTime", "date", ".status.creationTime"),
                Column("Error", path=".status.error.message"),
            ),
        )
        self.restore: Final = self._snapshot_type(
            "VirtualMachineRestore",
            ("vmrestore", "vmrestores"),
            (
                Column("TargetKind", path=".spec.target.kind"),
                Column("TargetName", path=".spec.target.name"),
                Column("Complete", "boolean", ".status.complete"),
                Column("RestoreTime", "date", ".status.restoreTime"),
                Column("Error", path=".status.error.message"),
            ),
        )
        self.clone: Final = ResourceType(
            group="clone.kubevirt.io",
            version="v1beta1",
            versions=("v1beta1", "v1alpha1"),
            kind="VirtualMachineClone",
            plural="virtualmachineclones",
            short_names=("vmclone", "vmclones"),
            categories=("all",),
            subresources=("status",),
            custom=True,
            generation=True,
            unconditional_update=False,
            columns=(
                Column("Phase", path=".status.phase"),
                Column("SourceVirtualMachine", path=".spec.source.name"),
                Column("TargetVirtualMachine", path=".spec.target.name"),
            ),
        )
        self.pool: Final = ResourceType(
            group="pool.kubevirt.io",
            version="v1beta1",
            versions=("v1beta1", "v1alpha1"),
            kind="VirtualMachinePool",
            plural="virtualmachinepools",
            short_names=("vmpool", "vmpools"),
            categories=("all",),
            subresources=("status", "scale"),
            scale_paths=(".spec.replicas", ".status.replicas", ".status.labelSelector"),
            custom=True,
            generation=True,
            unconditional_update=False,
            columns=_counted(),
            schema=SchemaRef("pool.kubevirt.io_v1beta1", "io.kubevirt.pool.v1beta1.VirtualMachinePool"),
        )
        self.export: Final = ResourceType(
            group="export.kubevirt.io",
            version="v1beta1" if release.version != "1.9" else "v1",
            versions=("v1", "v1beta1") if release.version == "1.9" else ("v1beta1", "v1alpha1"),
            kind="VirtualMachineExport",
            plural="virtualmachineexports",
            short_names=("vmexport", "vmexports"),
            categories=("all",),
            subresources=("status",),
            custom=True,
            generation=True,
            unconditional_update=False,
            columns=(
                Column("SourceKind", path=".spec.source.kind"),
                Column("SourceName", path=".spec.source.name"),
                Column("Phase", path=".status.phase"),
            ),
        )
        self.migration_policy: Final = ResourceType(
            group="migrations.kubevirt.io",
            version="v1alpha1",
            kind="MigrationPolicy",
            plural="migrationpolicies",
            categories=("all",),
            namespaced=False,
            subresources=("status",),
            custom=True,
            generation=True,
            unconditional_update=False,
        )
        self._later: Final = self._only_in_latest() if release.version == "1.9" else ()

    @staticmethod
    def _snapshot_type(kind: str, short: tuple[str, ...], columns: tuple[Column, ...]) -> ResourceType:
        return ResourceType(
            group="snapshot.kubevirt.io",
            version="v1beta1",
            versions=("v1beta1", "v1alpha1"),
            kind=kind,
            plural=f"{kind.lower()}s",
            short_names=short,
            categories=("all",),
            subresources=("status",),
            custom=True,
            generation=True,
            unconditional_update=False,
            columns=columns,
            schema=SchemaRef("snapshot.kubevirt.io_v1beta1", f"io.kubevirt.snapshot.v1beta1.{kind}"),
        )

    @staticmethod
    def _only_in_latest() -> tuple[ResourceType, ...]:
        """Groups that are served from v1.9 on; their objects are stored, and nothing is done with them."""
        return tuple(
            ResourceType(
                group=group,
                version="v1alpha1",
                kind=kind,
                plural=plural,
                namespaced=namespaced,
                subresources=("status",),
                custom=True,
                generation=True,
                unconditional_update=False,
            )
            for group, kind, plural, namespaced in (
                ("backup.kubevirt.io", "VirtualMachineBackup", "virtualmachinebackups", True),
                ("backup.kubevirt.io", "VirtualMachineBackupTracker", "virtualmachinebackuptrackers", True),
                ("plugin.kubevirt.io", "Plugin", "plugins", False),
            )
        )

    def all(self) -> tuple[ResourceType, ...]:
        """Every type, in the order in which they are added to the registry."""
        return (
            self.replica_set,
            self.preset,
            self.vm,
            self.vmi,
            self.migration,
            self.kubevirt,
            self.export,
            *self._later,
            self.clone,
            self.migration_policy,
            self.pool,
            self.snapshot,
            self.snapshot_content,
            self.restore,
            *self.instancetypes.values(),
        )

    def register(self, registry: Registry) -> None:
        """Adds the types and the aggregated API; hooks and handlers come separately."""
        for rtype in self.all():
            registry.add(rtype)


_INSTANCE_CALLS: Final = (
    "vnc", "vnc/screenshot", "console", "portforward", "backup", "redefine-checkpoint", "pause",
    "unpause", "freeze", "unfreeze", "reset", "softreboot",
)  # fmt: skip
_MACHINE_CALLS: Final = (
    "start", "stop", "restart", "migrate", "expand-spec", "objectgraph", "evacuate/cancel",
)  # fmt: skip
_MORE_INSTANCE_CALLS: Final = (
    "guestosinfo", "userlist", "filesystemlist", "addvolume", "removevolume", "objectgraph", "sev/fetchcertchain",
    "sev/querylaunchmeasurement", "sev/setupsession", "sev/injectlaunchsecret", "evacuate/cancel",
)  # fmt: skip


def build_aggregated_api() -> AggregatedApi:
    """What discovery says about subresources.kubevirt.io, as recorded (several that work are not listed there)."""
    names = [
        "expand-vm-spec",
        *(f"virtualmachineinstances/{call}" for call in _INSTANCE_CALLS),
        *(f"virtualmachines/{call}" for call in _MACHINE_CALLS),
        *(f"virtualmachineinstances/{call}" for call in _MORE_INSTANCE_CALLS),
    ]
    return AggregatedApi(SUBRESOURCES, _VERSIONS, tuple(AggregatedResource(name) for name in names))
