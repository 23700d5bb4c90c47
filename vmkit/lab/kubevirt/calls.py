"""The calls on VMs: start, stop, restart, migrate, volumes, memory dumps, expansion (pkg/virt-api/rest)."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from vmkit.lab.kubevirt.admission.decoding import DecodeError, round_trip
from vmkit.lab.kubevirt.admission.webhooks import Admission
from vmkit.lab.kubevirt.hotplug import dump_bytes, names_volume, with_volume, without_volume
from vmkit.lab.kubevirt.instancetypes.expansion import apply
from vmkit.lab.kubevirt.launcher import APP_LABEL, LAUNCHER
from vmkit.lab.kubevirt.power import (
    GROUP,
    VM,
    VMI,
    PowerEffect,
    check_restart_grace,
    check_startable,
    decide_restart,
    decide_start,
    decide_stop,
    phase_of,
    vm_conflict,
    vmi_conflict,
)
from vmkit.lab.kubevirt.quantities import binary, whole
from vmkit.lab.kubevirt.routes import is_dry_run, read_body, unreadable
from vmkit.lab.kubevirt.world import CREATED_BY, VIRT_API, World
from vmkit.lab.resources import AdmissionRequest, Response, SubresourceRequest
from vmkit.lab.schemas import load_schema
from vmkit.lab.status import ApiError, bad_request, conflict, internal_error, not_found_named

Object = dict[str, Any]

_ACCEPTED: Final = Response(202)
_API_ACCOUNT: Final = "system:serviceaccount:kubevirt:kubevirt-apiserver"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class MachineCalls:
    """Answers the calls on virtualmachines, and expand-vm-spec.

    Args:
        world: what KubeVirt's parts share.
        admission: the webhooks that virt-api's own writes pass.
    """

    def __init__(self, world: World, admission: Admission) -> None:
        self._world = world
        self._admission = admission
        self._types = world.types

    # --- looking up ------------------------------------------------------------------------------------------

    def find_vm(self, request: SubresourceRequest) -> Object:
        """The VM a call is about.

        Raises:
            ApiError: 404, in KubeVirt's singular.
        """
        vm = self._world.store.find(self._types.vm, request.namespace, request.name)
        if vm is None:
            raise not_found_named(GROUP, VM, request.name)
        return vm

    def find_vmi(self, namespace: str, name: str) -> Object | None:
        """The instance of that name, or None."""
        return self._world.store.find(self._types.vmi, namespace, name)

    def get_vmi(self, namespace: str, name: str) -> Object:
        """The instance of that name.

        Raises:
            ApiError: 404.
        """
        vmi = self.find_vmi(namespace, name)
        if vmi is None:
            raise not_found_named(GROUP, VMI, name)
        return vmi

    # --- power ---------------------------------------------------------------------------------------------

    def start(self, request: SubresourceRequest) -> Response:
        """PUT .../start."""
        vm = self.find_vm(request)
        vmi = self.find_vmi(request.namespace, request.name)
        check_startable(vm, vmi)
        body = read_body(request, paused=bool, dryRun=list)
        effect = decide_start(vm, vmi, paused=bool(body.get("paused")))
        return self._carry_out(request, vm, vmi, effect, dry_run=is_dry_run(body))

    def stop(self, request: SubresourceRequest) -> Response:
        """PUT .../stop."""
        body = read_body(request, gracePeriod=int, dryRun=list)
        vm = self.find_vm(request)
        vmi = self.find_vmi(request.namespace, request.name)
        effect = decide_stop(vm, vmi, grace_seconds=body.get("gracePeriod"))
        return self._carry_out(request, vm, vmi, effect, dry_run=is_dry_run(body))

    def restart(self, request: SubresourceRequest) -> Response:
        """PUT .../restart."""
        body = read_body(request, gracePeriodSeconds=int, dryRun=list)
        grace = body.get("gracePeriodSeconds")
        check_restart_grace(grace)
        vm = self.find_vm(request)
        vmi = self.find_vmi(request.namespace, request.name)
        effect = decide_restart(vm, vmi, grace_seconds=grace)
        return self._carry_out(request, vm, vmi, effect, dry_run=is_dry_run(body))

    def _carry_out(
        self, request: SubresourceRequest, vm: Object, vmi: Object | None, effect: PowerEffect, *, dry_run: bool
    ) -> Response:
        if effect.grace_seconds is not None and vmi is not None:
            vmi["spec"]["terminationGracePeriodSeconds"] = effect.grace_seconds
            self._world.store.update(self._types.vmi, vmi, manager=VIRT_API, dry_run=dry_run)
        if effect.strategy is not None:
            self._switch(request, vm, effect.strategy, dry_run=dry_run)
        if effect.requests is not None:
            self._request(request, vm, effect.requests, dry_run=dry_run)
        if effect.pod_grace_seconds is not None and vmi is not None and not dry_run:
            self._delete_launcher(vmi, effect.pod_grace_seconds)
        return _ACCEPTED

    def _switch(self, request: SubresourceRequest, vm: Object, strategy: str, *, dry_run: bool) -> None:
        changed = _copy(vm)
        if vm["spec"].get("runStrategy") is not None:
            changed["spec"]["runStrategy"] = strategy
        else:
            changed["spec"]["running"] = strategy == "Always"
        self.write_vm(request, changed, vm, dry_run=dry_run)

    def write_vm(self, request: SubresourceRequest, changed: Object, before: Object, *, dry_run: bool) -> None:
        """Writes a VM's spec as virt-api does: through the webhooks, whose refusal comes out as a 500.

        Raises:
            ApiError: 500.
        """
        review = self._review(request, before, dry_run=dry_run)
        try:
            changed = self._admission.mutate_vm(review, changed)
            self._admission.check_vm(changed, before, namespace=request.namespace, user=_API_ACCOUNT)
        except ApiError as error:
            raise internal_error(error.message) from None
        self._world.store.update(self._types.vm, changed, manager=VIRT_API, dry_run=dry_run)

    def _review(self, request: SubresourceRequest, before: Object, *, dry_run: bool) -> AdmissionRequest:
        return AdmissionRequest(
            operation="UPDATE",
            rtype=self._types.vm,
            namespace=request.namespace,
            name=request.name,
            user=request.user,
            dry_run=dry_run,
            subresource="",
            store=self._world.store,
            clock=self._world.clock,
            old=before,
        )

    def _request(
        self, request: SubresourceRequest, vm: Object, changes: tuple[Object, ...], *, dry_run: bool
    ) -> None:
        status = vm.setdefault("status", {})
        status["stateChangeRequests"] = list(changes)
        status.pop("startFailure", None)
        self._world.store.update(self._types.vm, vm, manager=VIRT_API, subresource="status", dry_run=dry_run)

    def _delete_launcher(self, vmi: Object, grace: int) -> None:
        pods = self._world.registry.get("", "pods")
        for rtype, key in self._world.store.dependents(vmi["metadata"]["uid"]):
            if rtype is not pods:
                continue
            entry = self._world.store.entry(pods, *key)
            if entry is None or entry.labels.get(APP_LABEL) != LAUNCHER:
                continue
            if entry.labels.get(CREATED_BY) == vmi["metadata"]["uid"] and b'"phase":"Running"' in entry.data:
                self._world.store.delete(pods, key.namespace, key.name, grace_seconds=grace)
                return

    # --- migration -------------------------------------------------------------------------------------------

    def migrate(self, request: SubresourceRequest) -> Response:
        """PUT .../migrate: makes a migration of the VM's instance."""
        body = read_body(request, addedNodeSelector=dict, dryRun=list)
        self.find_vm(request)
        vmi = self.get_vmi(request.namespace, request.name)
        if phase_of(vmi) != "Running":
            raise vm_conflict(request.name, "VM is not running")
        migration: Object = {
            "metadata": {"generateName": "kubevirt-migrate-vm-", "namespace": request.namespace},
            "spec": {"vmiName": request.name},
        }
        if body.get("addedNodeSelector"):
            migration["spec"]["addedNodeSelector"] = body["addedNodeSelector"]
        dry_run = is_dry_run(body)
        review = self._review(request, {}, dry_run=dry_run)
        review.operation, review.rtype = "CREATE", self._types.migration
        try:
            migration = self._admission.mutate_migration(review, migration)
            self._admission.check_migration(migration, request.namespace)
        except ApiError as error:
            raise internal_error(error.message) from None
        self._world.store.create(self._types.migration, migration, manager=VIRT_API, dry_run=dry_run)
        return _ACCEPTED

    def cancel_evacuation(self, request: SubresourceRequest) -> Response:
        """PUT .../evacuate/cancel, of a VM or an instance."""
        vmi = self.get_vmi(request.namespace, request.name)
        body = read_body(request, evacuationNodeName=str, dryRun=list)
        node = (vmi.get("status") or {}).get("evacuationNodeName", "")
        if node:
            if body.get("evacuationNodeName") not in (None, node):
                raise internal_error(
                    "the server rejected our request due to an error in our request: jsonpatch test operation "
                    "does not apply"
                )
            del vmi["status"]["evacuationNodeName"]
            self._world.store.update(self._types.vmi, vmi, manager=VIRT_API, dry_run=is_dry_run(body))
        return Response(200)

    # --- volumes ---------------------------------------------------------------------------------------------

    def add_volume(self, request: SubresourceRequest) -> Response:
        """PUT .../addvolume, of a VM (for good) or an instance (until it ends)."""
        body = self._volume_body(request)
        if not body.get("name"):
            raise bad_request("AddVolumeOptions requires name to be set")
        if body.get("disk") is None:
            raise bad_request("AddVolumeOptions requires disk to not be nil")
        if body.get("volumeSource") is None:
            raise bad_request("AddVolumeOptions requires VolumeSource to not be nil")
        self._change_volumes(request, body, adding=True)
        return _ACCEPTED

    def remove_volume(self, request: SubresourceRequest) -> Response:
        """PUT .../removevolume, of a VM or an instance."""
        body = self._volume_body(request)
        if not body.get("name"):
            raise bad_request("RemoveVolumeOptions requires name to be set")
        self._change_volumes(request, body, adding=False)
        return _ACCEPTED

    def _volume_body(self, request: SubresourceRequest) -> Object:
        if not self._world.configuration.hotplug_volumes:
            raise bad_request("Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.")
        if not request.body.strip():
            raise bad_request("Request with no body, a new name is expected as the request body")
        return read_body(request, name=str, disk=dict, volumeSource=dict, dryRun=list)

    def _change_volumes(self, request: SubresourceRequest, body: Object, *, adding: bool) -> None:
        ephemeral = request.resource == "virtualmachineinstances"
        dry_run = is_dry_run(body)
        if ephemeral:
            vmi = self.get_vmi(request.namespace, request.name)
            if phase_of(vmi) != "Running":
                raise vmi_conflict(request.name, "VMI is not running")
            spec = vmi["spec"]
        else:
            vm = self.find_vm(request)
            spec = vm["spec"]["template"]["spec"]
        why = _volume_fault(spec.get("volumes") or [], body, adding=adding)
        if why:
            raise conflict(GROUP, VMI if ephemeral else VM, request.name, why)
        changed = with_volume(spec, body) if adding else without_volume(spec, body["name"])
        if ephemeral:
            vmi["spec"] = changed
            status = vmi["status"].setdefault("volumeStatus", [])
            if adding:
                status.append({"hotplugVolume": {}, "name": body["name"], "phase": "Ready", "target": "sda"})
            else:
                names = {volume["name"] for volume in changed["volumes"]}
                vmi["status"]["volumeStatus"] = [each for each in status if each["name"] in names]
            self._world.store.update(self._types.vmi, vmi, manager=VIRT_API, dry_run=dry_run)
            return
        changed_vm = _copy(vm)
        changed_vm["spec"]["template"]["spec"] = changed
        self.write_vm(request, changed_vm, vm, dry_run=dry_run)

    # --- memory dumps ----------------------------------------------------------------------------------------

    def memory_dump(self, request: SubresourceRequest) -> Response:
        """PUT .../memorydump: writes the guest's memory onto a claim."""
        if not self._world.configuration.hotplug_volumes:
            raise bad_request("Unable to memory dump because HotplugVolumes feature gate is not enabled.")
        if not request.body.strip():
            raise bad_request("Request with no body")
        body = read_body(request, claimName=str)
        vm = self.find_vm(request)
        present = (vm.get("status") or {}).get("memoryDumpRequest")
        claim = str(body.get("claimName") or (present or {}).get("claimName") or "")
        if not claim:
            raise bad_request("Memory dump requires claim name to be set")
        if present is not None and present["claimName"] != claim:
            raise vm_conflict(
                request.name,
                f"can't request memory dump for pvc [{claim}] while pvc [{present['claimName']}] is still "
                "associated as the memory dump pvc",
            )
        vmi = self.get_vmi(request.namespace, request.name)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VMI is not running")
        self._check_dump_claim(request.namespace, claim, dump_bytes(vmi))
        if present is not None and present.get("phase") == "Dissociating":
            raise vm_conflict(
                request.name, f"can't dump memory for pvc [{claim}] a remove memory dump request is in progress"
            )
        if present is not None and present.get("phase") not in ("Completed", "Failed"):
            raise vm_conflict(request.name, f"memory dump request for pvc [{claim}] already in progress")
        vm.setdefault("status", {})["memoryDumpRequest"] = {"claimName": claim, "phase": "Associating"}
        self._world.save_vm_status(vm, manager=VIRT_API)
        return _ACCEPTED

    def _check_dump_claim(self, namespace: str, name: str, needed: int) -> None:
        claim = self._world.look_up("", "persistentvolumeclaims", namespace, name)
        if claim is None:
            raise not_found_named(GROUP, "persistentvolumeclaim", name)
        spec = claim.get("spec") or {}
        if spec.get("volumeMode") == "Block":
            raise conflict(GROUP, "persistentvolumeclaim", name, "pvc should be filesystem pvc")
        if spec.get("accessModes") == ["ReadOnlyMany"]:
            raise conflict(GROUP, "persistentvolumeclaim", name, "pvc access mode can't be read only")
        size = whole(((spec.get("resources") or {}).get("requests") or {}).get("storage"))
        if size < needed:
            raise conflict(
                GROUP,
                "persistentvolumeclaim",
                name,
                f"pvc size [{binary(size)}] should be bigger then [{binary(needed)}]",
            )

    def remove_memory_dump(self, request: SubresourceRequest) -> Response:
        """PUT .../removememorydump."""
        vm = self.find_vm(request)
        present = (vm.get("status") or {}).get("memoryDumpRequest")
        if present is None:
            why = f"can't remove memory dump association for vm {request.name}, no association found"
            raise vm_conflict(request.name, why)
        if present.get("remove"):
            raise vm_conflict(
                request.name, f"memory dump remove request for pvc [{present['claimName']}] already exists"
            )
        present.update(phase="Dissociating", remove=True)
        self._world.save_vm_status(vm, manager=VIRT_API)
        return _ACCEPTED

    # --- expansion -------------------------------------------------------------------------------------------

    def expand_vm(self, request: SubresourceRequest) -> Response:
        """GET .../expand-spec: the VM with its instance type and preference merged in."""
        vm = self.find_vm(request)
        try:
            return Response(200, self._expand(vm))
        except ApiError as error:
            raise internal_error(error.message) from None

    def expand_given(self, request: SubresourceRequest) -> Response:
        """PUT .../expand-vm-spec: the same for a VM in the body, which is not stored."""
        if not request.body.strip():
            raise bad_request("empty request body")
        try:
            vm = json.loads(request.body)
        except ValueError as error:
            raise unreadable(str(error)) from None
        if not isinstance(vm, dict):
            raise unreadable("json: cannot unmarshal array into Go value of type map[string]interface {}")
        faults = _schema_faults(vm)
        if faults:
            refusal = bad_request("Object is not a valid VirtualMachine")
            refusal.details = {"causes": [{"message": fault} for fault in faults]}
            raise refusal
        schema = self._types.vm.schema
        assert schema is not None
        try:
            vm["spec"] = round_trip(
                vm["spec"], load_schema(schema)["properties"]["spec"], struct="VirtualMachineSpec"
            )
        except DecodeError as error:
            raise unreadable(str(error)) from None
        vm.setdefault("metadata", {}).setdefault("namespace", request.namespace)
        try:
            return Response(200, self._expand(vm))
        except ApiError as error:
            raise bad_request(error.message) from None

    def _expand(self, vm: Object) -> Object:
        found = [self._world.finder.find_spec(vm, matcher) for matcher in ("instancetype", "preference")]
        if found == [None, None]:
            return vm
        template = vm["spec"].setdefault("template", {})
        conflicts = apply(
            template.setdefault("spec", {}),
            found[0],
            found[1],
            field="spec.template.spec",
            metadata=template.setdefault("metadata", {}),
        )
        if conflicts:
            raise bad_request(conflicts.error())
        # Without its matchers the VM can be created as it is and does not conflict with itself.
        vm["spec"].pop("instancetype", None)
        vm["spec"].pop("preference", None)
        return vm


def _copy(obj: Object) -> Object:
    copied: Object = _decode(_encode(obj))
    return copied


def _volume_fault(volumes: list[Object], body: Object, *, adding: bool) -> str:
    name = body["name"]
    if adding:
        source = body["volumeSource"]
        wanted = (source.get("dataVolume") or {}).get("name") or (source.get("persistentVolumeClaim") or {}).get(
            "claimName"
        )
        for volume in volumes:
            if volume.get("name") == name:
                return f"Unable to add volume [{name}] because volume with that name already exists"
            if wanted and wanted != volume.get("name") and names_volume({**volume, "name": None}, wanted):
                return f"Unable to add volume source [{wanted}] because it already exists"
        return ""
    for volume in volumes:
        if names_volume(volume, name):
            source = volume.get("dataVolume") or volume.get("persistentVolumeClaim") or {}
            if not source.get("hotpluggable"):
                return f"Unable to remove volume [{volume['name']}] because it is not hotpluggable"
            return ""
    return f"Unable to remove volume [{name}] because it does not exist"


def _schema_faults(vm: Object) -> list[str]:
    """What KubeVirt's own OpenAPI check finds first: missing parts (pkg/util/openapi)."""
    spec = vm.get("spec")
    if not isinstance(spec, dict):
        return ["spec in body is required"]
    template = spec.get("template")
    if not isinstance(template, dict):
        return ["spec.template in body is required"]
    inner = template.get("spec")
    if inner is not None and not (isinstance(inner, dict) and isinstance(inner.get("domain"), dict)):
        return ["spec.template.spec.domain in body is required"]
    return []
