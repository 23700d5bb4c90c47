"""A run of create: read, decide, say what would be done, do it, see that it is so.

Every step can be done twice: objects are applied, not posted; helpers come before the VM that needs them; what
ties them to it comes last and is mended by the next run. So a run that was killed anywhere is completed by running
it again.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import Conflict, Drifted, Interrupted, StorageUnhealthy, VmkitError
from vmkit.guard.storage import StorageHealth
from vmkit.plan.executor import check_limit, run
from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Status, failed
from vmkit.provision.catalog import Catalog
from vmkit.provision.compare import owns_power, render_diff, shared_part, without_power
from vmkit.provision.files import write_files
from vmkit.provision.options import CreateOptions, CreateResult
from vmkit.provision.preparing import Asked, Prepared, Preparer, check_unique, read_requests, ref_of
from vmkit.provision.reading import check_sizes, each, read_existing, read_health, read_present, read_storage
from vmkit.provision.request import CreateRequest, check_requests
from vmkit.provision.secrecy import left_out, mask_live, mask_manifest, scrub_error
from vmkit.provision.storage import AUTO, StorageChoice, requested_bytes
from vmkit.provision.waiting import OnProgress, Waiter
from vmkit.provision.walk import as_list, as_mapping, dig

Confirm = Callable[[Plan], None]
OnOutcome = Callable[[Outcome], None]

_OWNED_KINDS: Final = frozenset({"Secret", "ConfigMap", "Service"})
"""Helpers that go when their VM goes. Disks are not among them: data outlives what uses it."""


_READ_AGAIN: Final = 5
"""So often in a row a VM may change between reading and applying it; the next time its conflict is told."""


def run_create(
    session: Session,
    requests: Sequence[CreateRequest],
    options: CreateOptions | None = None,
    *,
    catalog: Catalog | None = None,
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_progress: OnProgress | None = None,
) -> CreateResult:
    """Creates what is asked for.

    A VM that exists is never started, stopped or given a run strategy: equal, it is "unchanged"; different, it is
    refused with the diff, or changed where ``options.update`` says so.

    Args:
        session: the cluster.
        requests: one a VM.
        options: how to go about it.
        catalog: where templates are found; by default as the command line finds them.
        confirm: shown the plan before the first change; raises `NotConfirmed` to end the run there.
        on_outcome: told of each outcome as it comes.
        on_progress: told how far a VM is, while waiting.

    Returns:
        One outcome for each request, in the order asked.

    Raises:
        InputError: a request, an answer or a template is wrong; nothing was sent.
        StorageUnhealthy, LimitExceeded, NotConfirmed: before the first change.
        ClusterError: the cluster cannot be read.
    """
    options = options or CreateOptions()
    check_requests(requests, default_namespace=session.namespace)
    asked = read_requests(requests, catalog or Catalog(), default_namespace=session.namespace)
    storage, notices = read_storage(session, (item.request.storage for item in asked if item.needs_storage))
    check_sizes(session, (item.request for item in asked))
    references = {image for item in asked for image in item.references()}
    present = read_present(session, references, concurrency=options.concurrency)
    showing = options.manifests or options.diff or options.dry_run is not None or options.output_dir is not None
    preparer = Preparer(storage, present, mask=showing and not options.show_secrets)
    prepared = [preparer.prepare(item) for item in asked]
    notices += _template_notices(asked)
    remarks = [f"storage: {choice.reason.text}" for text, choice in storage.items() if text in {"", AUTO}]
    remarks += [remark for item in prepared for remark in item.remarks]
    return apply_prepared(
        session, prepared, options, storage=storage, notices=notices, remarks=remarks,
        confirm=confirm, on_outcome=on_outcome, on_progress=on_progress,
    )  # fmt: skip


def _template_notices(asked: Sequence[Asked]) -> list[str]:
    templates = {item.renderer.template.name: item.renderer.template for item in asked}
    return [
        f"template {template.name} is experimental; see: vmkit template show {template.name}"
        for template in templates.values()
        if template.experimental
    ]


def apply_prepared(
    session: Session,
    prepared: Sequence[Prepared],
    options: CreateOptions,
    *,
    storage: Mapping[str, StorageChoice],
    notices: Sequence[str] = (),
    remarks: Sequence[str] = (),
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_progress: OnProgress | None = None,
    verb: str = "create",
) -> CreateResult:
    """Puts prepared manifests on the cluster, or into files; as `run_create`."""
    check_unique(prepared)
    job = _CreateRun(
        session, options, storage,
        on_outcome=on_outcome or (lambda _: None), on_progress=on_progress, verb=verb,
    )  # fmt: skip
    said = list(dict.fromkeys(notices))
    shown = job.shown_manifests(prepared)
    if (shown or options.diff) and not options.show_secrets:
        names = dict.fromkeys(name for item in prepared for name in item.secret_names)
        line = left_out(shown or [m for item in prepared for m in job.visible(item)], list(names))
        said += [line] if line else []
    if options.output_dir is not None:
        outcomes = write_files(options.output_dir, prepared, show_secrets=options.show_secrets, verb=verb)
        for outcome in outcomes:
            job.on_outcome(outcome)
        return CreateResult(
            verb, outcomes, notices=tuple(said), remarks=tuple(dict.fromkeys(remarks)),
            manifests=tuple(shown) if options.manifests else (),
        )  # fmt: skip
    plan = job.plan(prepared)
    said += job.check_health()
    plan = dataclasses.replace(plan, notices=tuple(said))
    check_limit(len(plan), len(prepared), options.max_changes, verb=verb)
    if options.dry_run == "client":
        job.pretend(plan)
    else:
        if len(plan) and confirm is not None and options.dry_run is None:
            confirm(plan)
        job.carry_out(plan)
    outcomes = tuple(job.outcomes[item.target] for item in prepared)
    return CreateResult(
        verb, outcomes, notices=tuple(said), remarks=tuple(dict.fromkeys(remarks)), dry_run=options.dry_run,
        manifests=tuple(shown) if options.manifests else (),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Difference:
    """What an existing VM and its helpers lack of what is wanted."""

    live: Mapping[ObjectRef, dict[str, Any]]
    changed: tuple[ObjectRef, ...]
    diff: str


class _CreateRun:
    """One run: what is prepared, what is there, what came of it."""

    def __init__(
        self,
        session: Session,
        options: CreateOptions,
        storage: Mapping[str, StorageChoice],
        *,
        on_outcome: OnOutcome,
        on_progress: OnProgress | None,
        verb: str,
    ) -> None:
        self.session, self.options, self.storage = session, options, storage
        self.on_outcome, self.on_progress, self.verb = on_outcome, on_progress, verb
        self.outcomes: dict[ObjectRef, Outcome] = {}
        self.prepared: dict[ObjectRef, Prepared] = {}
        self.differences: dict[ObjectRef, _Difference] = {}

    # --- before ----------------------------------------------------------------------------------------------

    def shown_manifests(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """The manifests as people may see them."""
        if not self.options.manifests and self.options.output_dir is None:
            return []
        return [manifest for item in prepared for manifest in self.visible(item)]

    def visible(self, item: Prepared) -> list[dict[str, Any]]:
        if self.options.show_secrets:
            return list(item.manifests)
        others = {ref_of(manifest): manifest for manifest in item.masked or item.manifests}
        return [mask_manifest(manifest, others.get(ref_of(manifest), {})) for manifest in item.manifests]

    def plan(self, prepared: Sequence[Prepared]) -> Plan:
        """What is to be created and what is to be changed; the rest has its outcome."""
        self.prepared = {item.target: item for item in prepared}
        api_versions = {m["kind"]: m["apiVersion"] for item in prepared for m in item.manifests}
        concurrency = self.options.concurrency
        # Of a VM the VM alone is looked for: its helpers matter once it is there. What makes no VM is looked for
        # whole.
        sought = {
            item.target: [item.target]
            if item.vm is not None
            else [ref_of(manifest) for manifest in item.manifests]
            for item in prepared
        }
        refs = [ref for looked_for in sought.values() for ref in looked_for]
        existing = read_existing(self.session, refs, api_versions, concurrency=concurrency)
        there = [item for item in prepared if any(ref in existing for ref in sought[item.target])]

        def compare(item: Prepared) -> _Difference:
            return self._compare(item, {ref: existing[ref] for ref in sought[item.target] if ref in existing})

        differences = each(compare, there, concurrency=concurrency)
        self.differences = {item.target: found for item, found in zip(there, differences, strict=True)}
        changes: list[Change] = []
        for item in prepared:
            change = self._decide(item)
            if change is not None:
                changes.append(change)
        return Plan(self.verb, tuple(changes))

    def _compare(self, item: Prepared, live: dict[ObjectRef, dict[str, Any]]) -> _Difference:
        uid = dig(live.get(item.target), "metadata", "uid")
        visible = {ref_of(manifest): manifest for manifest in self.visible(item)}
        changed: list[ObjectRef] = []
        diffs: list[str] = []
        for manifest in item.manifests:
            ref = ref_of(manifest)
            if item.vm is not None and ref != item.target:
                resource = self.session.resource_for(manifest["apiVersion"], manifest["kind"])
                found = self.session.find(resource, ref.name, ref.namespace or None)
                if found is not None:
                    live[ref] = found
            wanted = without_power(manifest)
            part = shared_part(live[ref], wanted) if ref in live else None
            untied = self._owns(item, manifest) and not _is_owned(live.get(ref), uid)
            if part == wanted and not untied:
                continue
            changed.append(ref)
            masked = without_power(visible[ref])
            shown = mask_live(part, wanted, masked) if part is not None and not self.options.show_secrets else part
            diffs.append(render_diff(shown, masked, name=f"{ref.kind}/{ref.path}"))
        return _Difference(live, tuple(changed), "".join(diffs))

    def _decide(self, item: Prepared) -> Change | None:
        target = item.target
        found = self.differences.get(target)
        objects = [str(ref_of(manifest)) for manifest in item.manifests]
        detail: dict[str, Any] = {"template": item.request.template} if item.request.template else {}
        if len(objects) > 1:
            detail["objects"] = objects
        if found is None:
            choice = self.storage.get(item.request.storage)
            if choice is not None and choice.class_name:
                detail["storage"] = choice.class_name
            if self.options.diff:
                visible = [render_diff(None, m, name=f"{m['kind']}/{ref_of(m).path}") for m in self.visible(item)]
                detail["diff"] = "".join(visible)
            return Change(self.verb, target, Reason("NotThere", _made_of(item, choice)), detail)
        if dig(found.live.get(target), "metadata", "deletionTimestamp"):
            error: VmkitError = Conflict(
                f"{target} is being deleted", hint="wait until it is gone, then create it", where=target.path
            )
            self._finish(failed(target, self.verb, error))
            return None
        if not found.changed:
            self._finish(Outcome(target, self.verb, Status.UNCHANGED, Reason("Equal", "it is there as asked for")))
            return None
        # Helpers that a killed run left untied, or did not reach, are completed without asking: nothing that
        # exists is changed by it.
        repair = all(ref not in found.live or not _differs(found, ref, item) for ref in found.changed)
        if not self.options.update and not repair:
            names = ", ".join(str(ref) for ref in found.changed)
            drifted = Drifted(
                f"{names}: there, and different from what was asked for",
                hint="--update changes it, --diff shows how; its power stays as it is",
                where=target.path,
                diff=found.diff,
            )
            self._finish(failed(target, self.verb, drifted))
            return None
        if self.options.diff:
            detail["diff"] = found.diff
        reason = (
            Reason("Incomplete", f"{', '.join(map(str, found.changed))} is missing or untied")
            if repair
            else Reason("Different", f"{', '.join(map(str, found.changed))} differs")
        )
        return Change(self.verb if repair else "update", target, reason, detail)

    def check_health(self) -> list[str]:
        """What the health of the storage gives to say.

        Raises:
            StorageUnhealthy: it cannot take the new disks.
        """
        notices: list[str] = []
        for text, choice in self.storage.items():
            fresh = [
                manifest
                for target, item in self.prepared.items()
                if target not in self.differences and item.request.storage == text
                for manifest in item.manifests
            ]
            asked = requested_bytes(fresh, choice)
            if not asked or not choice.is_ceph:
                continue
            verdict = read_health(self.session, choice, asked)
            if verdict.health is StorageHealth.REFUSED and not self.options.ignore_storage_health:
                raise StorageUnhealthy(
                    verdict.reason.text, hint="free or add storage, or go on with --ignore-storage-health",
                    where=choice.class_name,
                )  # fmt: skip
            if verdict.health is not StorageHealth.HEALTHY:
                notices.append(verdict.reason.text)
        return notices

    # --- doing -----------------------------------------------------------------------------------------------

    def pretend(self, plan: Plan) -> None:
        for change in plan:
            self._finish(Outcome(change.target, change.verb, Status.PLANNED, change.reason, detail=change.detail))

    def carry_out(self, plan: Plan) -> None:
        waiting = self.options.wait and self.options.dry_run is None
        deadline = time.monotonic() + self.options.timeout_seconds

        def hear(outcome: Outcome) -> None:
            self.outcomes[outcome.target] = outcome
            if not waiting or outcome.status is not Status.CHANGED:
                self.on_outcome(outcome)

        interrupted = threading.Event()
        for outcome in run(
            plan,
            self._do,
            concurrency=self.options.concurrency,
            on_outcome=hear,
            on_interrupt=interrupted.set,
        ):
            self.outcomes[outcome.target] = outcome
        if waiting:
            waiter = Waiter(self.session, self.on_progress, deadline=deadline)
            vms = {target: item.manifests for target, item in self.prepared.items() if item.vm is not None}
            awaited = {
                target: outcome
                for target, outcome in self.outcomes.items()
                if target in vms and outcome.status in {Status.CHANGED, Status.UNCHANGED}
            }
            try:
                for outcome in waiter.wait([] if interrupted.is_set() else list(awaited.values())):
                    before = awaited.pop(outcome.target)
                    self.outcomes[outcome.target] = outcome
                    if before.status is Status.CHANGED or outcome.status is not Status.UNCHANGED:
                        self.on_outcome(outcome)
            except KeyboardInterrupt:
                interrupted.set()
            for target, outcome in awaited.items():
                if interrupted.is_set() and outcome.status is Status.CHANGED:
                    error = Interrupted(
                        "it was created; waiting for it was interrupted",
                        hint="it goes on by itself; see: vmkit describe " + target.name,
                        where=target.path,
                    )
                    self._finish(failed(target, outcome.verb, error, seconds=outcome.seconds))
            for target, outcome in self.outcomes.items():
                if target not in vms and outcome.status is Status.CHANGED:
                    self.on_outcome(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self.outcomes[outcome.target] = outcome
        self.on_outcome(outcome)

    def _do(self, change: Change) -> Outcome:
        item = self.prepared[change.target]
        started = time.perf_counter()
        try:
            if change.target in self.differences:
                self._mend(item, self.differences[change.target])
            else:
                self._create(item)
        except VmkitError as error:
            raise scrub_error(error, item.secret_texts) from None
        status = Status.PLANNED if self.options.dry_run else Status.CHANGED
        return Outcome(
            change.target, change.verb, status, change.reason, detail=change.detail,
            seconds=time.perf_counter() - started,
        )  # fmt: skip

    def _create(self, item: Prepared) -> None:
        """Helpers, then the VM, then what ties the helpers to it."""
        owner: dict[str, Any] | None = None
        for manifest in item.manifests:
            is_target = ref_of(manifest) == item.target
            if owner is not None and self._owns(item, manifest):
                manifest = _tied(manifest, owner)
            live = self._apply(manifest)
            if is_target and manifest["kind"] == "VirtualMachine":
                owner = live
        if owner is None or self.options.dry_run:
            return
        for manifest in item.manifests:
            if ref_of(manifest) == item.target:
                break
            if self._owns(item, manifest):
                self._apply(_tied(manifest, owner))

    def _mend(self, item: Prepared, found: _Difference) -> None:
        target_live = found.live.get(item.target, {})
        for manifest in item.manifests:
            ref = ref_of(manifest)
            if ref not in found.changed:
                continue
            if ref == item.target and manifest["kind"] == "VirtualMachine":
                self._update_vm(without_power(manifest), target_live)
            else:
                self._apply(_tied(manifest, target_live) if self._owns(item, manifest) else manifest)

    def _update_vm(self, wanted: dict[str, Any], live: Mapping[str, Any]) -> None:
        """Applies a VM that exists; its power is read again when it changed since it was read.

        KubeVirt writes the status of a VM that starts many times a minute, and each write is such a change.
        """
        for _ in range(_READ_AGAIN):
            try:
                self._apply(_keep_power(wanted, live))
                return
            except Conflict as error:
                if _is_field_conflict(error):
                    raise
            live = self.session.get(VIRTUAL_MACHINES, wanted["metadata"]["name"], wanted["metadata"]["namespace"])
        self._apply(_keep_power(wanted, live))

    def _apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self.session.apply(
                manifest, force=self.options.force_conflicts, dry_run=self.options.dry_run == "server"
            )
        except Conflict as error:
            if _is_field_conflict(error):
                error.hint = "somebody else manages these fields; --force-conflicts takes them over"
            raise

    def _owns(self, item: Prepared, manifest: Mapping[str, Any]) -> bool:
        """Whether a helper is the VM's alone: called after it, of a kind that holds no data."""
        vm, ref = item.target, ref_of(manifest)
        return (
            vm.kind == "VirtualMachine"
            and ref.kind in _OWNED_KINDS
            and ref.namespace == vm.namespace
            and (ref.name == vm.name or ref.name.startswith(f"{vm.name}-"))
        )


def _differs(found: _Difference, ref: ObjectRef, item: Prepared) -> bool:
    manifest = next(manifest for manifest in item.manifests if ref_of(manifest) == ref)
    wanted = without_power(manifest)
    return shared_part(found.live[ref], wanted) != wanted


def _tied(manifest: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, Any]:
    metadata = as_mapping(owner.get("metadata"))
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def _made_of(item: Prepared, choice: StorageChoice | None) -> str:
    """What a new object is made from: "from debian on rook-ceph-block"."""
    texts = [f"from {item.request.template}"] if item.request.template else []
    if choice is not None and choice.class_name and requested_bytes(item.manifests, choice):
        texts.append(f"on {choice.class_name}")
    return " ".join(texts)


def _is_owned(live: Mapping[str, Any] | None, uid: Any) -> bool:
    owners = as_list(dig(live, "metadata", "ownerReferences"))
    return any(as_mapping(owner).get("uid") == uid for owner in owners)


def _is_field_conflict(error: Conflict) -> bool:
    """Whether another field manager owns what was applied; else the object has changed since it was read."""
    return any(cause.get("reason") == "FieldManagerConflict" for cause in error.causes)


def _keep_power(wanted: dict[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """The VM as it is sent when it exists: without a run strategy.

    Unless vmkit's own first apply still owns that field: an apply that leaves a field out which it owns alone
    removes it, and KubeVirt refuses a VM without one. Then the value that stands there is repeated, under the
    condition that nothing has changed since it was read.
    """
    if not owns_power(live):
        return wanted
    power = {key: live["spec"][key] for key in ("runStrategy", "running") if key in as_mapping(live.get("spec"))}
    metadata = {**wanted["metadata"], "resourceVersion": dig(live, "metadata", "resourceVersion")}
    return {**wanted, "metadata": metadata, "spec": {**power, **wanted["spec"]}}
