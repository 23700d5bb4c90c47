"""Reads the VMs a run is about, with as few requests as that takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import Forbidden, NotFound, VmkitError
from vmkit.power.options import Selection
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

_LIST_ABOVE: Final = 24
"""So many names in one namespace are found sooner in a list of it than one by one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to watch to see changes of the selected VMs, and from which version on."""

    namespace: str | None
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""


@dataclass(slots=True)
class Selected:
    """The VMs found, in the order asked, and what could not be read.

    Attributes:
        views: by reference; a VM without a usable name stands here under what name it has.
        errors: why a named VM could not be read.
        scopes: where to watch.
    """

    views: dict[VmRef, VmView] = field(default_factory=dict)
    errors: dict[VmRef, VmkitError] = field(default_factory=dict)
    scopes: list[Scope] = field(default_factory=list)
    order: list[VmRef] = field(default_factory=list)


def read_selected(session: Session, selection: Selection, *, concurrency: int) -> Selected:
    """Reads the VMs of a selection.

    Raises:
        ClusterError: the list is refused. (A single VM that cannot be read does not end the others.)
    """
    selected = Selected()
    if not selection.names:
        listing = session.list(VIRTUAL_MACHINES, selection.namespace, label_selector=selection.label_selector)
        for document in listing:
            view = read_vm(document)
            selected.views[view.ref] = view
        selected.order = list(selected.views)
        selected.scopes.append(
            Scope(selection.namespace, selection.label_selector, resource_version=listing.resource_version)
        )
        return selected
    selected.order = list(dict.fromkeys(selection.names))
    by_namespace: dict[str, list[VmRef]] = defaultdict(list)
    for ref in selected.order:
        by_namespace[ref.namespace].append(ref)
    singly: list[VmRef] = []
    for namespace, refs in by_namespace.items():
        if len(refs) <= _LIST_ABOVE or not _read_listed(session, namespace, refs, selected):
            singly += refs
    _read_singly(session, singly, selected, concurrency)
    return selected


def _read_listed(session: Session, namespace: str, refs: list[VmRef], selected: Selected) -> bool:
    wanted = set(refs)
    try:
        listing = session.list(VIRTUAL_MACHINES, namespace)
        for document in listing:
            view = read_vm(document)
            if view.ref in wanted:
                selected.views[view.ref] = view
    except Forbidden:
        return False  # Whoever may not list may still get.
    for ref in refs:
        if ref not in selected.views:
            selected.errors[ref] = _missing(ref)
    selected.scopes.append(Scope(namespace, resource_version=listing.resource_version))
    return True


def _read_singly(session: Session, refs: list[VmRef], selected: Selected, concurrency: int) -> None:
    if not refs:
        return

    def read(ref: VmRef) -> VmView | VmkitError:
        try:
            return read_vm(session.get(VIRTUAL_MACHINES, ref.name, ref.namespace))
        except NotFound:
            return _missing(ref)
        except VmkitError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(concurrency, len(refs))) as pool:
        for ref, found in zip(refs, pool.map(read, refs), strict=True):
            if isinstance(found, VmView):
                selected.views[ref] = found
            else:
                selected.errors[ref] = found
    selected.scopes += _single_scopes(selected.views[ref] for ref in refs if ref in selected.views)


def _missing(ref: VmRef) -> NotFound:
    return NotFound(
        f"VirtualMachine {ref} does not exist",
        hint=f"vmkit get -n {ref.namespace} lists those there are",
        where=str(ref),
        status=404,
        reason="NotFound",
    )


def _single_scopes(views: Iterable[VmView]) -> list[Scope]:
    """One watch for each VM while they are few in a namespace, else one for the namespace."""
    by_namespace: dict[str, list[VmView]] = defaultdict(list)
    for view in views:
        by_namespace[view.ref.namespace].append(view)
    scopes: list[Scope] = []
    for namespace, few in by_namespace.items():
        if len(few) == 1:
            field_selector = f"metadata.name={few[0].ref.name}"
            scopes.append(Scope(namespace, "", field_selector, few[0].resource_version))
        else:
            scopes.append(Scope(namespace))
    return scopes
