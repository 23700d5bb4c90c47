"""Gives VMs the size they should have: now, or once they are stopped.

A change names the VM it was decided for: its uid and resource version stand in the patch, so that a VM that
changed meanwhile, or another of the same name, is left alone.

A smaller size always needs a restart. So a wish can be left on the VM (`vmkit.vm.markers.RESIZE_AT_STOP`): it
holds a size and nothing else, and is carried out while the VM is stopped, by the schedule right before it starts
the VM, or by ``vmkit rightsize --apply-pending``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import InputError, QuantityError, Vetoed, VmkitError
from vmkit.guard.gitops import find_gitops_owner
from vmkit.insight.assess import Assessment
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.shape import Catalog
from vmkit.insight.sizing import Effect, Size, build_patch, read_size
from vmkit.plan.executor import DEFAULT_CONCURRENCY, check_limit, run
from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Result, Status, failed
from vmkit.units import Limit, format_bytes, parse_bytes
from vmkit.vm.markers import RESIZE_AT_STOP
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView

_COMMAND: Final = "rightsize"
_MOST_VCPUS: Final = 1024
_WHEN: Final[Mapping[Effect | None, str]] = {
    Effect.LIVE: "at once",
    Effect.RESTART: "with the next restart",
    Effect.START: "with the next start",
}


@dataclass(frozen=True, slots=True)
class ResizeOptions:
    """How sizes are changed.

    Attributes:
        at_next_stop: leave a wish on VMs that run; those that are stopped are changed at once.
        despite_gitops: change VMs that a GitOps tool keeps as Git says.
        dry_run: "client", "server" or None.
        max_changes: refuse the whole run when it would change more.
        concurrency: how many at once.
    """

    at_next_stop: bool = False
    despite_gitops: bool = False
    dry_run: str | None = None
    max_changes: Limit | None = None
    concurrency: int = DEFAULT_CONCURRENCY


def render_wish(size: Size) -> str:
    """A size as it stands in the annotation."""
    if size.instancetype:
        return f"instancetype={size.instancetype}"
    return f"vcpus={size.vcpus},memory={format_bytes(size.memory_bytes)}"


def parse_wish(text: str, catalog: Catalog, facts: VmFacts) -> Size:
    """The size that an annotation wishes for.

    Raises:
        InputError: it is none, of the wrong kind for the VM, or names an instancetype that is not there.
    """
    hint = 'write it as "vcpus=2,memory=4Gi" or "instancetype=u1.small", or take it away'
    where = f"{facts.ref}: {RESIZE_AT_STOP}"
    pairs = dict(part.strip().partition("=")[::2] for part in text.split(","))
    has = facts.shape.instancetype
    if pairs.keys() == {"instancetype"} and has is not None:
        found = catalog.find(facts.ref.namespace, pairs["instancetype"], cluster=has.cluster)
        if found is None:
            raise InputError(f"there is no instancetype {pairs['instancetype']!r}", hint=hint, where=where)
        return Size(found.vcpus, found.memory_bytes, found.name)
    vcpus = pairs.get("vcpus", "")
    if pairs.keys() != {"vcpus", "memory"} or facts.shape.refers_to or read_size(facts.shape) is None:
        raise InputError(f"{text!r} is no size that this VM can have", hint=hint, where=where)
    if not (vcpus.isascii() and vcpus.isdigit() and len(vcpus) <= 4 and 1 <= int(vcpus) <= _MOST_VCPUS):
        raise InputError(f"{vcpus!r} is no number of CPUs", hint=hint, where=where)
    try:
        memory = parse_bytes(pairs["memory"], where=where)
    except QuantityError as error:
        raise InputError(error.message, hint=hint, where=where) from error
    if memory < 2**20:
        raise InputError(f"{pairs['memory']!r} is too little memory for a guest", hint=hint, where=where)
    return Size(int(vcpus), memory)


def run_resize(
    session: Session,
    assessments: Iterable[Assessment],
    options: ResizeOptions | None = None,
    *,
    confirm: Callable[[Plan], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Result:
    """Carries out proposals; those that propose nothing are left out.

    Raises:
        LimitExceeded, NotConfirmed: nothing was done.
    """
    options = options or ResizeOptions()
    looked_at = list(assessments)
    wanted = {one.ref: one for one in looked_at if one.proposal.changes}
    changes = tuple(_plan(one, options) for one in wanted.values())

    def do(change: Change) -> Outcome:
        one = wanted[VmRef(change.target.namespace, change.target.name)]
        return _resize(session, one, change, options)

    return _carry_out(changes, do, options, total=len(looked_at), confirm=confirm, on_outcome=on_outcome)


def run_pending(
    session: Session,
    fleet: FleetFacts,
    options: ResizeOptions | None = None,
    *,
    confirm: Callable[[Plan], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Result:
    """Carries out the wishes on VMs that are stopped; those that run are skipped, and keep theirs.

    Raises:
        LimitExceeded, NotConfirmed: nothing was done.
    """
    options = options or ResizeOptions()
    wishing = {vm.ref: vm for vm in fleet.vms if RESIZE_AT_STOP in vm.view.annotations}
    changes = tuple(
        Change("resize", _object(ref), Reason("Pending", "it was to have another size once it is stopped"),
               {"size": vm.view.annotations[RESIZE_AT_STOP]})
        for ref, vm in wishing.items()
    )  # fmt: skip

    def do(change: Change) -> Outcome:
        return fulfil_wish(session, wishing[VmRef(change.target.namespace, change.target.name)], fleet, options)

    return _carry_out(changes, do, options, total=len(fleet.vms), confirm=confirm, on_outcome=on_outcome)


def fulfil_wish(session: Session, vm: VmFacts, fleet: FleetFacts, options: ResizeOptions) -> Outcome:
    """Gives one stopped VM the size that its annotation wishes for, and takes the annotation away.

    Raises:
        InputError: the annotation is no size. ClusterError: the VM cannot be changed.
    """
    target = _object(vm.ref)
    if vm.running is not False or vm.view.power is not PowerState.STOPPED:
        return Outcome(
            target, "resize", Status.SKIPPED, Reason("NotStopped", "it is not stopped: it keeps the wish")
        )
    size = parse_wish(vm.view.annotations[RESIZE_AT_STOP], fleet.catalog, vm)
    _check_gitops(vm.view, options)
    patch = {} if size == read_size(vm.shape) else build_patch(vm.shape, size)
    _patch(session, vm.view, {**patch, "metadata": {"annotations": {RESIZE_AT_STOP: None}}}, options)
    status = Status.PLANNED if options.dry_run else Status.CHANGED
    return Outcome(target, "resize", status, Reason("Start", f"{size} holds with its next start"))


def _carry_out(
    changes: tuple[Change, ...],
    do: Callable[[Change], Outcome],
    options: ResizeOptions,
    *,
    total: int,
    confirm: Callable[[Plan], None] | None,
    on_outcome: Callable[[Outcome], None] | None,
) -> Result:
    plan = Plan("resize", changes)
    check_limit(len(changes), total, options.max_changes, verb="resize")
    if confirm is not None and options.dry_run is None:
        confirm(plan)

    def safely(change: Change) -> Outcome:
        try:
            return do(change)
        except VmkitError as error:
            return failed(change.target, change.verb, error)

    outcomes = run(
        plan,
        safely,
        concurrency=options.concurrency,
        limit=options.max_changes,
        total=total,
        on_outcome=on_outcome,
    )
    return Result(_COMMAND, outcomes, dry_run=options.dry_run)


def _plan(one: Assessment, options: ResizeOptions) -> Change:
    proposal = one.proposal
    assert proposal.size is not None
    later = options.at_next_stop and proposal.effect is not Effect.START
    return Change(
        "resize-later" if later else "resize",
        _object(one.ref),
        proposal.reason,
        {
            "from": str(proposal.now),
            "to": str(proposal.size),
            "effect": "NextStop" if later else str(proposal.effect),
        },
    )


def _resize(session: Session, one: Assessment, change: Change, options: ResizeOptions) -> Outcome:
    proposal = one.proposal
    assert proposal.size is not None
    _check_gitops(one.facts.view, options)
    if change.detail["effect"] == "NextStop":
        patch: Mapping[str, Any] = {"metadata": {"annotations": {RESIZE_AT_STOP: render_wish(proposal.size)}}}
        reason = Reason("NextStop", f"{proposal.size}, once it is stopped")
    else:
        patch = proposal.patch
        reason = Reason(str(proposal.effect), f"{proposal.size}, {_WHEN[proposal.effect]}: {proposal.effect_text}")
    _patch(session, one.facts.view, patch, options)
    status = Status.PLANNED if options.dry_run else Status.CHANGED
    return Outcome(change.target, change.verb, status, reason, detail=dict(change.detail))


def _patch(session: Session, view: VmView, patch: Mapping[str, Any], options: ResizeOptions) -> None:
    if options.dry_run == "client":
        return
    named = {"uid": view.uid, "resourceVersion": view.resource_version}
    body = {**patch, "metadata": {**patch.get("metadata", {}), **named}}
    session.patch(VIRTUAL_MACHINES, view.ref.name, body, view.ref.namespace, dry_run=options.dry_run == "server")


def _check_gitops(view: VmView, options: ResizeOptions) -> None:
    owner = find_gitops_owner(view)
    if owner is not None and not options.despite_gitops:
        raise Vetoed(
            f"VirtualMachine {view.ref}: {owner} keeps it as Git says, and would set its size back",
            hint="change the size in Git; --despite-gitops does it here anyway",
            where=str(view.ref),
        )


def _object(ref: VmRef) -> ObjectRef:
    return ObjectRef("VirtualMachine", ref.namespace, ref.name)
