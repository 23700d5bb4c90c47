"""Everything about one VM: its disks and how far they are, its events, who owns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vmkit.cluster.resources import DATA_VOLUMES, EVENTS, PERSISTENT_VOLUME_CLAIMS
from vmkit.errors import ExitCode, Forbidden, MissingApi, QuantityError, VmkitError
from vmkit.guard.gitops import GitopsVerdict
from vmkit.inventory.listing import Inventory, read_inventory
from vmkit.report.envelope import build_envelope
from vmkit.report.vms import vm_to_dict
from vmkit.units import parse_bytes
from vmkit.vm.contract import Decision, Verb, decide
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, Volume

if TYPE_CHECKING:
    from vmkit.cluster.resources import Resource
    from vmkit.cluster.session import Session

T = TypeVar("T")

_MOST_EVENTS: Final = 20


@dataclass(frozen=True, slots=True)
class DiskView:
    """One volume of a VM, as its DataVolume and claim show it.

    Attributes:
        volume: the volume as the VM names it.
        phase: the DataVolume's phase ("ImportInProgress"), else the claim's ("Bound"); empty for other volumes;
            "Missing" where neither is there, "Unknown" where that may not be read.
        progress: how much of an import, clone or upload is done ("42.00%"); empty or "N/A" where unknown.
        restarts: how often the importing pod began anew.
        message: why it does not get on, from the DataVolume's conditions; empty when it does.
        storage_class, access_modes, volume_mode: of the claim.
        capacity_bytes: what the claim holds; None without one.
    """

    volume: Volume
    phase: str = ""
    progress: str = ""
    restarts: int = 0
    message: str = ""
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: str = ""
    capacity_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "name": self.volume.name,
            "kind": self.volume.kind,
            "source": self.volume.source,
            "deletedWithVm": self.volume.templated,
            "phase": self.phase,
            "progress": self.progress,
            "restarts": self.restarts,
            "message": self.message,
            "storageClass": self.storage_class,
            "accessModes": list(self.access_modes),
            "volumeMode": self.volume_mode,
            "capacityBytes": self.capacity_bytes,
        }


@dataclass(frozen=True, slots=True)
class EventView:
    """One event about a VM, its instance or a disk."""

    at: datetime | None
    type: str
    reason: str
    message: str
    count: int
    kind: str
    name: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "at": None if self.at is None else self.at.isoformat(),
            "type": self.type,
            "reason": self.reason,
            "message": self.message,
            "count": self.count,
            "object": {"kind": self.kind, "name": self.name},
        }


@dataclass(frozen=True, slots=True)
class Description:
    """One VM and what belongs to it."""

    vm: VmView
    disks: tuple[DiskView, ...] = ()
    events: tuple[EventView, ...] = ()
    gitops: GitopsVerdict | None = None
    """What the GitOps tool that owns it would do about a stop; None where no such tool does."""

    @property
    def verbs(self) -> Mapping[Verb, Decision]:
        """What each power verb would take now."""
        return {verb: decide(verb, self.vm) for verb in Verb}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope: the keys of ``vmkit get``, and what else belongs to it."""
        document = vm_to_dict(self.vm)
        document["volumes"] = [disk.to_dict() for disk in self.disks]
        document["events"] = [event.to_dict() for event in self.events]
        document["verbs"] = {
            str(verb): {"move": str(decision.move), "code": decision.code, "text": decision.text}
            for verb, decision in self.verbs.items()
        }
        document["gitops"] = None
        if self.gitops is not None:
            document["gitops"] = {
                "owner": str(self.gitops.owner),
                "verdict": str(self.gitops.verdict),
                "text": self.gitops.text,
                "remedy": self.gitops.remedy,
            }
        return document


@dataclass(frozen=True, slots=True)
class Descriptions:
    """What ``describe`` found; see `Inventory` for errors, notices and the exit code."""

    vms: tuple[Description, ...]
    errors: tuple[VmkitError, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return Inventory(tuple(each.vm for each in self.vms), self.errors).exit_code

    def to_dict(self) -> dict[str, Any]:
        """The versioned JSON envelope."""
        return {**self.envelope(), "items": list(self.rows())}

    def envelope(self) -> dict[str, Any]:
        """The envelope without its items; `rows` yields them one by one."""
        return build_envelope(
            "VirtualMachineDescriptionList",
            "describe",
            errors=self.errors,
            exit_code=self.exit_code,
            notices=self.notices,
            partial=bool(self.vms),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """The items of the envelope."""
        return (description.to_dict() for description in self.vms)


Verdicts = Callable[[Iterable[VmView]], Mapping[VmRef, GitopsVerdict]]
"""Asks the owners of VMs; `vmkit.api` brings power's own reader, so that both say the same."""


def read_descriptions(
    session: Session,
    *,
    names: tuple[VmRef, ...] = (),
    namespace: str | None = None,
    label_selector: str = "",
    read_verdicts: Verdicts | None = None,
) -> Descriptions:
    """Reads VMs with their disks and events; arguments as for `read_inventory`.

    What may not be read (events, DataVolumes, claims) is left out, with a notice.

    Raises:
        ClusterError: the VMs themselves cannot be read.
    """
    inventory = read_inventory(session, names=names, namespace=namespace, label_selector=label_selector)
    reader = _Reader(session)
    verdicts = read_verdicts(inventory.vms) if read_verdicts is not None else {}
    found = tuple(
        Description(vm, disks=reader.disks(vm), events=reader.events(vm), gitops=verdicts.get(vm.ref))
        for vm in inventory.vms
    )
    return Descriptions(found, inventory.errors, tuple(dict.fromkeys((*inventory.notices, *reader.notices))))


class _Reader:
    """Reads what belongs to VMs; collects what could not be read."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.notices: list[str] = []

    def disks(self, vm: VmView) -> tuple[DiskView, ...]:
        return tuple(self._disk(vm, volume) for volume in vm.volumes)

    def _disk(self, vm: VmView, volume: Volume) -> DiskView:
        if not volume.persistent or not volume.source:
            return DiskView(volume)
        data_volume: Mapping[str, Any] | None = {}
        if volume.kind == "dataVolume":
            # A DataVolume that is done may be collected; its claim of the same name stays.
            data_volume = self._find(DATA_VOLUMES, volume.source, vm.ref.namespace)
        claim = self._find(PERSISTENT_VOLUME_CLAIMS, volume.source, vm.ref.namespace)
        disk = read_disk(volume, data_volume or {}, claim or {})
        if disk.phase == "Missing" and (data_volume is None or claim is None):
            return replace(disk, phase="Unknown")
        return disk

    def _find(self, resource: Resource, name: str, namespace: str) -> Mapping[str, Any] | None:
        """Nothing in it where there is none, None where it may not be read."""
        refused: Mapping[str, Any] | None = None
        return self._unless_refused(
            lambda: self._session.find(resource, name, namespace) or {}, resource.plural, refused
        )

    def events(self, vm: VmView) -> tuple[EventView, ...]:
        names = dict.fromkeys([vm.ref.name, *(volume.source for volume in vm.volumes if volume.persistent)])

        def read() -> list[EventView]:
            found: list[EventView] = []
            for name in names:
                if name:
                    listed = self._session.list(
                        EVENTS, vm.ref.namespace, field_selector=f"involvedObject.name={name}"
                    )
                    found += map(read_event, listed)
            return found

        nothing: list[EventView] = []
        events = self._unless_refused(read, "events", nothing)
        timed = sorted((event for event in events if event.at is not None), key=lambda event: str(event.at))
        untimed = [event for event in events if event.at is None]
        return tuple([*untimed, *timed][-_MOST_EVENTS:])

    def _unless_refused(self, read: Callable[[], T], what: str, otherwise: T) -> T:
        try:
            return read()
        except (Forbidden, MissingApi) as error:
            self.notices.append(f"{what} are left out: {error.message}")
            return otherwise


def read_disk(volume: Volume, data_volume: Mapping[str, Any], claim: Mapping[str, Any]) -> DiskView:
    """A disk as its DataVolume and claim show it; either may be empty. Never raises."""
    status = _mapping(data_volume.get("status"))
    spec, claimed = _mapping(claim.get("spec")), _mapping(claim.get("status"))
    restarts = status.get("restartCount")
    modes = spec.get("accessModes")
    try:
        capacity = parse_bytes(_mapping(claimed.get("capacity")).get("storage", ""))
    except QuantityError:
        capacity = None
    phase = _text(status, "phase") or _text(claimed, "phase")
    return DiskView(
        volume,
        phase=phase or ("Missing" if not data_volume and not claim else "Pending"),
        progress=_text(status, "progress"),
        restarts=restarts if isinstance(restarts, int) else 0,
        message="" if phase in ("Succeeded", "Bound") else _trouble(status.get("conditions")),
        storage_class=_text(spec, "storageClassName"),
        access_modes=tuple(mode for mode in modes if isinstance(mode, str)) if isinstance(modes, list) else (),
        volume_mode=_text(spec, "volumeMode"),
        capacity_bytes=capacity,
    )


def read_event(event: Mapping[str, Any]) -> EventView:
    """An event of either of the two forms the API has had (count and lastTimestamp; series and eventTime)."""
    series, subject = _mapping(event.get("series")), _mapping(event.get("involvedObject"))
    texts = (
        _text(series, "lastObservedTime"),
        _text(event, "lastTimestamp"),
        _text(event, "eventTime"),
        _text(event, "firstTimestamp"),
        _text(_mapping(event.get("metadata")), "creationTimestamp"),
    )
    count = series.get("count") or event.get("count")
    return EventView(
        at=next((at for text in texts if (at := _instant(text)) is not None), None),
        type=_text(event, "type"),
        reason=_text(event, "reason"),
        message=_text(event, "message"),
        count=count if isinstance(count, int) else 1,
        kind=_text(subject, "kind"),
        name=_text(subject, "name"),
    )


def _trouble(conditions: Any) -> str:
    entries: Iterable[Any] = conditions if isinstance(conditions, list) else ()
    for entry in map(_mapping, entries):
        if entry.get("status") == "False" and _text(entry, "message"):
            return _text(entry, "message")
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
