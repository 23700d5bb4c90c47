"""VMs with what is asked for them, read from the lists of namespaces, instances and VMs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ScheduleError
from vmkit.guard.restart import find_restart_risks
from vmkit.plan import Reason
from vmkit.schedule.downscaler import resolve_sources
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.sources import Effective, Scope, Source
from vmkit.schedule.state import STATE, StoredState, parse_state
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

_INSTANCE_SPEC: Final = ("terminationGracePeriodSeconds", "volumes")


@dataclass(frozen=True, slots=True)
class Subject:
    """A VM and what is asked for it.

    Attributes:
        view: the VM with its instance.
        effective: what is asked for.
        stored: what was remembered; None where nothing is.
        risks: why it might not come back as it was.
        bad_state: what is remembered cannot be read.
    """

    view: VmView
    effective: Effective
    stored: StoredState | None
    risks: tuple[Reason, ...] = ()
    bad_state: ScheduleError | None = None

    @property
    def ref(self) -> VmRef:
        return self.view.ref


class Surroundings:
    """What surrounds VMs: their namespaces' annotations and the settings."""

    def __init__(self, settings: Settings, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._settings = settings
        self._namespaces = namespaces
        self._wider: dict[str, list[Source]] = {}

    def subject(self, vm: Mapping[str, Any], vmi: Mapping[str, Any] | None) -> Subject:
        """The VM with what is asked for it."""
        view = read_vm(vm, vmi)
        sources = [Source(Scope.VM, f"VirtualMachine {view.ref}", view.annotations), *self._around(view.ref)]
        effective = resolve_sources(sources, self._settings.defaults)
        stored, bad = None, None
        text = view.annotations.get(STATE)
        if text is not None:
            try:
                stored = parse_state(text)
            except ScheduleError as error:
                bad = error
        return Subject(view, effective, stored, find_restart_risks(vm, vmi), bad)

    def _around(self, ref: VmRef) -> list[Source]:
        found = self._wider.get(ref.namespace)
        if found is None:
            around = Source(Scope.NAMESPACE, f"Namespace {ref.namespace}", self._namespaces.get(ref.namespace, {}))
            found = self._wider[ref.namespace] = [around, *self._settings.sources_of(ref.namespace)]
        return found


def read_surroundings(session: Session, settings: Settings, namespace: str | None) -> Surroundings:
    """The namespaces' annotations: of all, or of the one.

    Raises:
        ClusterError: they cannot be read.
    """
    found = [session.get(NAMESPACES, namespace)] if namespace is not None else session.list(NAMESPACES)
    namespaces: dict[str, Mapping[str, str]] = {}
    for item in found:
        metadata = item.get("metadata")
        if isinstance(metadata, dict):
            namespaces[str(metadata.get("name", ""))] = read_annotations(item)
    return Surroundings(settings, namespaces)


def read_annotations(document: Mapping[str, Any]) -> dict[str, str]:
    """An object's annotations; entries that are no text are left out."""
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    kept = annotations if isinstance(annotations, dict) else {}
    return {key: text for key, text in kept.items() if isinstance(text, str)}


def read_subjects(
    session: Session, surroundings: Surroundings, namespace: str | None, label_selector: str = ""
) -> Iterator[Subject]:
    """The VMs, one after the other.

    Raises:
        ClusterError: a list is refused.
    """
    instances: dict[tuple[str, str], dict[str, Any]] = {}
    for vmi in session.list(VIRTUAL_MACHINE_INSTANCES, namespace):
        metadata = vmi.get("metadata")
        if isinstance(metadata, dict):
            key = (str(metadata.get("namespace", "")), str(metadata.get("name", "")))
            instances[key] = trim_instance(vmi)
    for vm in session.list(VIRTUAL_MACHINES, namespace, label_selector=label_selector):
        metadata = vm.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        key = (str(metadata.get("namespace", "")), str(metadata.get("name", "")))
        yield surroundings.subject(vm, instances.get(key))


def read_subject(session: Session, surroundings: Surroundings, ref: VmRef) -> Subject:
    """One VM as it is now.

    Raises:
        NotFound: there is none.
    """
    vm = session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)
    # A list of one: so that whoever may list instances needs no further right.
    found = session.list(VIRTUAL_MACHINE_INSTANCES, ref.namespace, field_selector=f"metadata.name={ref.name}")
    return surroundings.subject(vm, next(iter(found), None))


def trim_instance(vmi: dict[str, Any]) -> dict[str, Any]:
    """What deciding reads of an instance: thousands are kept in memory at once."""
    spec = vmi.get("spec")
    if isinstance(spec, dict):
        vmi["spec"] = {key: spec[key] for key in _INSTANCE_SPEC if key in spec}
    metadata = vmi.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key in ("managedFields", "annotations", "labels"):
        metadata.pop(key, None)
    return vmi
