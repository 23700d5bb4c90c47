"""The VM controller: run strategies, requests, starting and stopping, and the VM's status (watch/vm/vm.go)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

import msgspec

from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.admission.machine import run_strategy
from vmkit.lab.kubevirt.admission.webhooks import Admission
from vmkit.lab.kubevirt.conditions import copied_to_vm, drop_condition, set_condition
from vmkit.lab.kubevirt.following import follow_template
from vmkit.lab.kubevirt.power import is_final, is_true, phase_of
from vmkit.lab.kubevirt.printable import has_start_request, has_stop_request, printable_status
from vmkit.lab.kubevirt.revisions import store_vm_revision, sync_instancetype
from vmkit.lab.kubevirt.starting import Trouble, build_instance
from vmkit.lab.kubevirt.volumes import (
    IMMEDIATE,
    Disks,
    create_data_volumes,
    snapshot_statuses,
    survey,
    vm_volumes,
)
from vmkit.lab.kubevirt.world import (
    CONTROLLER_FINALIZER,
    GENERATION,
    OBSERVED_VERSIONS,
    VIRT_CONTROLLER,
    World,
    claim_of,
    controller_of,
    owner_reference,
)
from vmkit.lab.resources import ObjectKey
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event

Object = dict[str, Any]

_MAX_BACKOFF_SECONDS: Final = 300
_BACKOFF_UNIT_SECONDS: Final = 10
_ACCOUNT: Final = "system:serviceaccount:kubevirt:kubevirt-controller"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class MachineController(Controller):
    """Keeps each VM as its run strategy and the requests to it say.

    Args:
        world: what KubeVirt's parts share.
        admission: the instance webhooks, which what this controller creates passes too.
    """

    name: ClassVar[str] = "virt-controller-vm"

    def __init__(self, world: World, admission: Admission) -> None:
        super().__init__(world.context)
        self._world = world
        self._admission = admission
        self._vms = world.types.vm
        self._vmis = world.types.vmi
        self._by_claim: dict[tuple[str, str], set[ObjectKey]] = {}
        self._claims: dict[ObjectKey, tuple[str, ...]] = {}
        self._waiting_for_types: dict[ObjectKey, None] = {}

    def setup(self) -> None:
        """Watches VMs, instances, and what volumes and matchers refer to."""
        self.watch(self._vms)
        self.watch(self._vmis)
        for group, plural in (("", "persistentvolumeclaims"), ("cdi.kubevirt.io", "datavolumes")):
            rtype = self.registry.find(group, plural)
            if rtype is not None:
                self.watch(rtype, self._claim_keys)
        for rtype in self._world.types.instancetypes.values():
            self.watch(rtype, lambda event: tuple(self._waiting_for_types) if event.type == "ADDED" else ())

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        return tuple(self._by_claim.get((event.key.namespace, event.key.name), ()))

    # --- one machine -----------------------------------------------------------------------------------------

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one VM up to date."""
        vm = self.store.find(self._vms, key.namespace, key.name)
        self._index_claims(key, vm)
        if vm is None:
            self._waiting_for_types.pop(key, None)
            return
        template = vm["spec"].get("template")
        if not isinstance(template, dict):
            return
        vmi = self._own_instance(vm)
        if "status" not in vm and "deletionTimestamp" not in vm["metadata"]:
            # First of all a VM says that it is stopped; only then does it get a finalizer and perhaps start.
            vm["status"] = {
                "printableStatus": "Stopped",
                "volumeSnapshotStatuses": snapshot_statuses(self._world, vm),
            }
            vm = self._world.save_vm_status(vm)
        vm = self._mark_observed(vm)
        before = _decode(_encode(vm.get("status") or {}))
        status = vm.setdefault("status", {})
        disks = survey(self._world, vm)
        trouble: Trouble | None = None
        try:
            if "deletionTimestamp" in vm["metadata"]:
                if self._end(vm, vmi):
                    return
            else:
                vm, vmi = self._follow_spec(key, vm, vmi, disks)
                status = vm["status"]
        except Trouble as error:
            trouble = error
        vmi = self._own_instance(vm) if vmi is not None or trouble is None else None
        disks = survey(self._world, vm) if vm["spec"].get("dataVolumeTemplates") else disks
        self._update_status(vm, vmi, disks, trouble)
        if status != before:
            self._world.save_vm_status(vm, same_fields=status.keys() == before.keys())
        if is_final(vmi):
            self._release(vmi)
        if trouble is not None and trouble.reason == "FailedCreate":
            # The real controller comes back by its rate limiter; what refused may change without an event here.
            self.requeue_after(key, _BACKOFF_UNIT_SECONDS)

    def _index_claims(self, key: ObjectKey, vm: Object | None) -> None:
        names = () if vm is None else tuple(name for name in map(claim_of, vm_volumes(vm)) if name)
        before = self._claims.get(key, ())
        if names == before:
            return
        for name in before:
            self._by_claim[key.namespace, name].discard(key)
            if not self._by_claim[key.namespace, name]:
                del self._by_claim[key.namespace, name]
        for name in names:
            self._by_claim.setdefault((key.namespace, name), set()).add(key)
        if names:
            self._claims[key] = names
        else:
            self._claims.pop(key, None)

    def _own_instance(self, vm: Object) -> Object | None:
        """The VM's instance; one of its name that nobody controls is adopted, anybody else's is none of its."""
        vmi = self.store.find(self._vmis, vm["metadata"]["namespace"], vm["metadata"]["name"])
        if vmi is None:
            return None
        owner = controller_of(vmi)
        if owner is None:
            if "deletionTimestamp" in vmi["metadata"] or is_final(vmi):
                return None
            vmi["metadata"].setdefault("ownerReferences", []).append(owner_reference(vm, "VirtualMachine"))
            return self._world.save_instance(vmi)
        return vmi if owner.get("uid") == vm["metadata"]["uid"] else None

    def _mark_observed(self, vm: Object) -> Object:
        """Writes down the API versions seen, and the finalizer."""
        metadata = vm["metadata"]
        annotations = metadata.get("annotations") or {}
        wanted = OBSERVED_VERSIONS.items() - annotations.items()
        lacks = CONTROLLER_FINALIZER not in (metadata.get("finalizers") or [])
        if "deletionTimestamp" in metadata or not (wanted or lacks):
            return vm
        metadata["annotations"] = {**annotations, **OBSERVED_VERSIONS}
        if lacks:
            metadata.setdefault("finalizers", []).append(CONTROLLER_FINALIZER)
        return self.store.update(self._vms, vm, manager=VIRT_CONTROLLER)

    def _end(self, vm: Object, vmi: Object | None) -> bool:
        """A deleted VM takes its instance along; True when it is gone itself."""
        if vmi is not None:
            self._stop(vm, vmi)
            return False
        finalizers = vm["metadata"].get("finalizers") or []
        if CONTROLLER_FINALIZER not in finalizers:
            return False
        vm["metadata"]["finalizers"] = [each for each in finalizers if each != CONTROLLER_FINALIZER]
        self.store.update(self._vms, vm, manager=VIRT_CONTROLLER)
        return not vm["metadata"]["finalizers"]

    def _follow_spec(
        self, key: ObjectKey, vm: Object, vmi: Object | None, disks: Disks
    ) -> tuple[Object, Object | None]:
        vm, failure = sync_instancetype(self._world, vm)
        if failure is not None:
            self._waiting_for_types[key] = None
            raise Trouble(*failure)
        self._waiting_for_types.pop(key, None)
        delayed = (vm["metadata"].get("annotations") or {}).get(IMMEDIATE) == "false"
        if not delayed:
            create_data_volumes(self._world, vm)
        if vmi is not None:
            vmi = follow_template(self._world, vm, vmi)
        vm = self._run(key, vm, vmi)
        return vm, vmi

    # --- run strategies --------------------------------------------------------------------------------------

    def _run(self, key: ObjectKey, vm: Object, vmi: Object | None) -> Object:
        strategy = run_strategy(vm)
        if strategy == "Always":
            if vmi is None:
                self._start_after_backoff(key, vm)
            elif has_stop_request(vm, vmi) or is_final(vmi):
                self._stop(vm, vmi)
        elif strategy == "RerunOnFailure":
            self._rerun_on_failure(key, vm, vmi)
        elif strategy == "Manual":
            if vmi is None:
                if has_start_request(vm):
                    self._start(vm)
            elif has_stop_request(vm, vmi):
                self._stop(vm, vmi)
        elif strategy == "Halted":
            if vmi is not None:
                self._stop(vm, vmi)
            elif has_start_request(vm):
                return self._switch_on(vm)
        elif strategy == "Once":
            if vmi is None:
                self._start_after_backoff(key, vm)
        elif strategy == "WaitAsReceiver":
            pass  # a migration target of another cluster; none ever arrives here
        else:
            raise Trouble("FailedCreate", f"unknown runstrategy: {strategy}")
        return vm

    def _rerun_on_failure(self, key: ObjectKey, vm: Object, vmi: Object | None) -> None:
        if vmi is not None:
            if "deletionTimestamp" in vmi["metadata"]:
                return
            failed = phase_of(vmi) == "Failed"
            if has_stop_request(vm, vmi) or is_final(vmi):
                self._stop(vm, vmi)
                if failed:
                    vm["status"].setdefault("stateChangeRequests", []).append({"action": "Start"})
            return
        # Coming from another strategy starts it once; after that only a request does.
        if has_start_request(vm) or vm["status"].get("runStrategy") != "RerunOnFailure":
            self._start_after_backoff(key, vm)

    def _switch_on(self, vm: Object) -> Object:
        """A paused start of a halted VM: the controller changes the strategy itself."""
        status = vm["status"]
        if vm["spec"].get("runStrategy") is not None:
            vm["spec"]["runStrategy"] = "Always"
        else:
            vm["spec"]["running"] = True
        updated = self.store.update(self._vms, vm, manager=VIRT_CONTROLLER)
        updated["status"] = status
        return updated

    def _start_after_backoff(self, key: ObjectKey, vm: Object) -> None:
        retry_at = (vm["status"].get("startFailure") or {}).get("retryAfterTimestamp")
        if retry_at:
            left = (parse_time(retry_at) - self.clock.now()).total_seconds()
            if left > 0:
                self.requeue_after(key, left)
                return
        self._start(vm)

    def _start(self, vm: Object) -> None:
        create_data_volumes(self._world, vm)
        if not survey(self._world, vm).ready:
            return
        if is_true(vm, "ManualRecoveryRequired"):
            return
        drop_condition(vm["status"], "RestartRequired")
        vmi = build_instance(self._world, vm)
        try:
            self._admission.default_instance(vmi)
            self._admission.check_new_instance(vmi, user=_ACCOUNT)
            vmi["status"]["virtualMachineRevisionName"] = store_vm_revision(self._world, vm)
            self.store.create(self._vmis, vmi, manager=VIRT_CONTROLLER)
        except ApiError as error:
            self._world.record(
                vm, "FailedCreate", f"Error creating virtual machine instance: {error.message}", warning=True
            )
            raise Trouble("FailedCreate", f"Failure while starting VMI: {error.message}") from None
        self._world.record(
            vm,
            "SuccessfulCreate",
            f"Started the virtual machine by creating the new virtual machine instance {vm['metadata']['name']}",
        )

    def _stop(self, vm: Object, vmi: Object) -> None:
        metadata = vmi["metadata"]
        if "deletionTimestamp" in metadata:
            return
        self.store.delete(self._vmis, metadata["namespace"], metadata["name"])
        drop_condition(vm.setdefault("status", {}), "RestartRequired")
        self._world.record(
            vm,
            "SuccessfulDelete",
            f"Stopped the virtual machine by deleting the virtual machine instance {metadata['uid']}",
        )

    def _release(self, vmi: Object | None) -> None:
        """An ended instance is let go once its end has been written down."""
        if vmi is None or CONTROLLER_FINALIZER not in (vmi["metadata"].get("finalizers") or []):
            return
        finalizers = vmi["metadata"]["finalizers"]
        vmi["metadata"]["finalizers"] = [each for each in finalizers if each != CONTROLLER_FINALIZER]
        self._world.save_instance(vmi)

    # --- status ----------------------------------------------------------------------------------------------

    def _update_status(self, vm: Object, vmi: Object | None, disks: Disks, trouble: Trouble | None) -> None:
        status = vm["status"]
        _set(status, "created", vmi is not None)
        _set(status, "ready", vmi is not None and is_true(vmi, "Ready"))
        if vmi is not None:
            generation = (vmi["metadata"].get("annotations") or {}).get(GENERATION, "")
            if generation.isdigit():
                status["observedGeneration"] = int(generation)
                status["desiredGeneration"] = vm["metadata"].get("generation", 1)
        if status.get("runStrategy") or vmi is not None:
            status["runStrategy"] = run_strategy(vm)
        self._trim_requests(vm, vmi)
        self._follow_failures(vm, vmi)
        copied_to_vm(status, vmi, self._world.now())
        if trouble is None:
            drop_condition(status, "Failure")
        else:
            self._fail(status, trouble)
        status["printableStatus"] = printable_status(
            vm, vmi, data_volumes=disks.data_volumes, claims_unbound=disks.unbound
        )
        snapshots = snapshot_statuses(self._world, vm)
        if snapshots:
            status["volumeSnapshotStatuses"] = snapshots
        else:
            status.pop("volumeSnapshotStatuses", None)

    def _trim_requests(self, vm: Object, vmi: Object | None) -> None:
        """Takes the first request off when it has been fulfilled."""
        status = vm["status"]
        waiting: list[Object] = status.get("stateChangeRequests") or []
        if not waiting:
            return
        first = waiting[0]
        if first.get("action") == "Stop":
            done = vmi is None or first.get("uid") != vmi["metadata"]["uid"]
        else:
            done = vmi is not None and "deletionTimestamp" not in vmi["metadata"] and not is_final(vmi)
        if not done:
            return
        if waiting[1:]:
            status["stateChangeRequests"] = waiting[1:]
            # The next request may be one to act on at once.
            self.enqueue(ObjectKey(vm["metadata"]["namespace"], vm["metadata"]["name"]))
        else:
            del status["stateChangeRequests"]

    def _follow_failures(self, vm: Object, vmi: Object | None) -> None:
        """Counts instances that fail before they run, and says when the next try is."""
        status = vm["status"]
        ran = any(
            each.get("phase") == "Running"
            for each in ((vmi or {}).get("status") or {}).get("phaseTransitionTimestamps") or []
        )
        if ran or run_strategy(vm) not in ("Always", "RerunOnFailure", "Once"):
            status.pop("startFailure", None)
        elif vmi is not None and is_final(vmi):
            before = status.get("startFailure") or {}
            uid = vmi["metadata"]["uid"]
            if before.get("lastFailedVMIUID") == uid:
                return
            count = int(before.get("consecutiveFailCount", 0)) + 1
            seconds = _BACKOFF_UNIT_SECONDS * count * count
            seconds = min(seconds + self.context.random.randrange(seconds // 2 + 1), _MAX_BACKOFF_SECONDS)
            status["startFailure"] = {
                "consecutiveFailCount": count,
                "lastFailedVMIUID": uid,
                "retryAfterTimestamp": format_time(self.clock.now() + timedelta(seconds=seconds)),
            }

    def _fail(self, status: Object, trouble: Trouble) -> None:
        before = next((each for each in status.get("conditions") or [] if each["type"] == "Failure"), None)
        if before is not None and (before["reason"], before["message"]) == (trouble.reason, trouble.message):
            return
        set_condition(
            status,
            {
                "lastProbeTime": None,
                "lastTransitionTime": self._world.now(),
                "message": trouble.message,
                "reason": trouble.reason,
                "status": "True",
                "type": "Failure",
            },
        )


def _set(status: Object, key: str, value: bool) -> None:
    if value:
        status[key] = True
    else:
        status.pop(key, None)
