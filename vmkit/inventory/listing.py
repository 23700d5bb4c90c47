"""VMs and their instances, read in as few requests as there are pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.errors import ExitCode, Forbidden, MalformedReply, NotFound, VmkitError
from vmkit.report.envelope import build_envelope
from vmkit.report.vms import vm_to_dict
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_instance, read_vm

if TYPE_CHECKING:
    from vmkit.cluster.session import Session

_NAMED_ONE_BY_ONE: Final = 8
"""More VMs of one namespace than this are found by listing it: one page costs less than so many requests."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The VMs that were asked for.

    Attributes:
        vms: one view each. A malformed object is among them, with its ``problem``.
        errors: named VMs that are not there, and malformed objects.
        notices: what could not be looked at, and what therefore is missing.
    """

    vms: tuple[VmView, ...]
    errors: tuple[VmkitError, ...] = ()
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vms)

    def __iter__(self) -> Iterator[VmView]:
        return iter(self.vms)

    @property
    def exit_code(self) -> ExitCode:
        """0 where all is well; 1 where some of it is; where nothing is, the code that all errors share."""
        codes = {error.exit_code for error in self.errors}
        if not codes:
            return ExitCode.OK
        return codes.pop() if not self.vms and len(codes) == 1 else ExitCode.SOME_FAILED

    def sorted_by(self, key: Callable[[VmView], Any]) -> Inventory:
        """The same VMs in another order; equals keep theirs."""
        return replace(self, vms=tuple(sorted(self.vms, key=key)))

    def to_dict(self) -> dict[str, Any]:
        """The versioned JSON envelope."""
        return {**self.envelope(), "items": list(self.rows())}

    def envelope(self) -> dict[str, Any]:
        """The envelope without its items; `rows` yields them one by one."""
        return build_envelope(
            "VirtualMachineList",
            "get",
            errors=self.errors,
            exit_code=self.exit_code,
            notices=self.notices,
            partial=bool(self.vms),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """The items of the envelope."""
        return map(vm_to_dict, self.vms)


def read_inventory(
    session: Session,
    *,
    names: tuple[VmRef, ...] = (),
    namespace: str | None = None,
    label_selector: str = "",
    instances: bool = True,
) -> Inventory:
    """Reads VMs and, in the same sweep, their instances (node, addresses).

    Args:
        names: these VMs, in this order; empty for all that the other arguments let through.
        namespace: all of this namespace; None for all namespaces. Not used with ``names``.
        label_selector: of the VMs, in kubectl's syntax. Not used with ``names``.
        instances: False leaves the instances out: half the requests, no node and no address.

    Raises:
        ClusterError: the VMs cannot be read. Not being allowed to read instances is a notice.
    """
    if names:
        return _named(session, names, instances=instances)
    views: dict[VmRef, VmView] = {}
    silent: dict[VmRef, Mapping[str, Any]] = {}
    nameless: list[VmView] = []
    for vm in session.list(VIRTUAL_MACHINES, namespace, label_selector=label_selector):
        view = read_vm(vm)
        if not view.ref.name:
            nameless.append(view)
            continue
        views[view.ref] = view
        if not view.printable_status:
            # The controller has not spoken: the instance decides what it is doing, so both are read together.
            silent[view.ref] = vm
    notices: tuple[str, ...] = ()
    if instances and views:
        try:
            _join_instances(session, namespace, views, silent)
        except Forbidden as error:
            notices = (_without_instances(error),)
    vms = (*views.values(), *nameless)
    return Inventory(vms, errors=_problems(vms), notices=notices)


def _join_instances(
    session: Session, namespace: str | None, views: dict[VmRef, VmView], silent: Mapping[VmRef, Mapping[str, Any]]
) -> None:
    for vmi in session.list(VIRTUAL_MACHINE_INSTANCES, namespace):
        metadata = vmi.get("metadata")
        if not isinstance(metadata, Mapping):
            continue
        ref = VmRef(str(metadata.get("namespace", "")), str(metadata.get("name", "")))
        view = views.get(ref)
        if view is None:
            continue
        if ref in silent:
            views[ref] = read_vm(silent[ref], vmi)
        else:
            instance = read_instance(vmi)
            views[ref] = replace(view, instance=instance, node=instance.node, addresses=instance.addresses)


def _named(session: Session, names: tuple[VmRef, ...], *, instances: bool) -> Inventory:
    wanted = tuple(dict.fromkeys(names))
    by_namespace: dict[str, list[VmRef]] = {}
    for ref in wanted:
        by_namespace.setdefault(ref.namespace, []).append(ref)
    views: dict[VmRef, VmView] = {}
    notices: tuple[str, ...] = ()
    for namespace, refs in by_namespace.items():
        if len(refs) > _NAMED_ONE_BY_ONE:
            listed = read_inventory(session, namespace=namespace, instances=instances)
            views |= {vm.ref: vm for vm in listed if vm.ref in set(refs)}
            notices += listed.notices
            continue
        for ref in refs:
            vm = session.find(VIRTUAL_MACHINES, ref.name, ref.namespace)
            if vm is None:
                continue
            view = read_vm(vm)
            if instances and (view.created or view.power is not PowerState.STOPPED):
                try:
                    vmi = session.find(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
                except Forbidden as error:
                    notices += (_without_instances(error),)
                    vmi = None
                view = read_vm(vm, vmi)
            views[ref] = view
    vms = tuple(views[ref] for ref in wanted if ref in views)
    missing = tuple(
        NotFound(
            f"there is no VM {ref.name} in namespace {ref.namespace}",
            hint=f"vmkit get -n {ref.namespace} lists those there are",
            where=str(ref),
            status=404,
            reason="NotFound",
        )
        for ref in wanted
        if ref not in views
    )
    return Inventory(vms, errors=missing + _problems(vms), notices=tuple(dict.fromkeys(notices)))


def _without_instances(error: Forbidden) -> str:
    return f"nodes and addresses are left out: {error.message}"


def _problems(vms: tuple[VmView, ...]) -> tuple[VmkitError, ...]:
    return tuple(
        MalformedReply(
            f"VM {vm.ref} cannot be understood: {vm.problem}",
            hint="look at it with kubectl get virtualmachine -o yaml; whoever wrote it has to correct it",
            where=str(vm.ref),
        )
        for vm in vms
        if vm.problem
    )
