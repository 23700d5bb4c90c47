"""Hanging KubeVirt's admission on the practice cluster's resource types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from vmkit.lab.clock import format_time
from vmkit.lab.kubevirt.admission import machine, spec
from vmkit.lab.kubevirt.admission.causes import (
    INVALID,
    NOT_FOUND,
    NOT_SUPPORTED,
    REQUIRED,
    Cause,
    render_message,
    shown,
)
from vmkit.lab.kubevirt.admission.decoding import DecodeError, round_trip
from vmkit.lab.kubevirt.admission.defaults import default_instance, default_instance_spec, default_vm
from vmkit.lab.kubevirt.instancetypes.expansion import apply, check_requirements
from vmkit.lab.kubevirt.instancetypes.finding import InferenceError
from vmkit.lab.kubevirt.matching import BadSelector, matches
from vmkit.lab.kubevirt.quantities import BadQuantity
from vmkit.lab.kubevirt.world import World
from vmkit.lab.resources import AdmissionRequest, Registry, ResourceType
from vmkit.lab.schemas import load_schema
from vmkit.lab.status import ApiError

Object = dict[str, Any]

VM_MUTATOR: Final = "virtualmachines-mutator.kubevirt.io"
VM_VALIDATOR: Final = "virtualmachine-validator.kubevirt.io"
VMI_MUTATOR: Final = "virtualmachineinstances-mutator.kubevirt.io"
VMI_CREATE_VALIDATOR: Final = "virtualmachineinstances-create-validator.kubevirt.io"
VMI_UPDATE_VALIDATOR: Final = "virtualmachineinstances-update-validator.kubevirt.io"
MIGRATION_VALIDATOR: Final = "migration-create-validator.kubevirt.io"
MIGRATION_UPDATE_VALIDATOR: Final = "migration-update-validator.kubevirt.io"
_STATUS_VALIDATOR: Final = "kubevirt-crd-status-validator.kubevirt.io"

_copy = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def denied(webhook: str, causes: list[Cause]) -> ApiError:
    """422: a validating webhook's refusal, with its causes."""
    return ApiError(
        422,
        "Invalid",
        f'admission webhook "{webhook}" denied the request: {render_message(causes)}',
        details={"causes": [cause.to_dict() for cause in shown(causes)]},
    )


def failed(webhook: str, message: str) -> ApiError:
    """400: a webhook could not make sense of the object, or refuses it without naming a field."""
    return ApiError(400, "", f'admission webhook "{webhook}" denied the request: {message}')


class Admission:
    """KubeVirt's webhooks over one lab.

    Args:
        world: the lab's objects and KubeVirt's settings.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def install(self, registry: Registry) -> None:
        """Registers every hook."""
        types = self._world.types
        registry.admit(types.vm, mutate=self.mutate_vm, validate=self.validate_vm)
        registry.admit(types.vmi, mutate=self.mutate_vmi, validate=self.validate_vmi)
        registry.admit(types.migration, mutate=self.mutate_migration, validate=self.validate_migration)
        for rtype, check in (
            (types.replica_set, self.validate_replica_set),
            (types.pool, self.validate_pool),
            (types.snapshot, self.validate_snapshot),
            (types.restore, self.validate_restore),
            (types.clone, self.validate_clone),
        ):
            registry.admit(rtype, validate=_in_use(check))
        registry.admit(types.pool, mutate=self.mutate_pool)
        registry.admit(types.clone, mutate=self.mutate_clone)

    # --- machines --------------------------------------------------------------------------------------

    def mutate_vm(self, request: AdmissionRequest, vm: Object) -> Object:
        """The VM mutator."""
        if request.subresource or request.operation == "DELETE":
            return vm
        if "deletionTimestamp" in (vm.get("metadata") or {}):
            return vm
        decoded = self._decode(vm, self._world.types.vm, VM_MUTATOR, "VirtualMachineSpec")
        if not isinstance(decoded.get("spec"), dict):
            return decoded
        causes = machine.validate_matchers(decoded, request.old)
        if causes:
            raise denied(VM_MUTATOR, causes)
        try:
            self._world.finder.infer(decoded, request.namespace)
        except InferenceError as error:
            raise failed(VM_MUTATOR, str(error)) from None
        try:
            preference = self._world.finder.find_spec(_in_namespace(decoded, request.namespace), "preference")
        except ApiError:
            preference = None
        return default_vm(
            decoded,
            self._world.configuration,
            creating=request.operation == "CREATE",
            new_uuid=self._world.new_uuid,
            preference=preference,
        )

    def validate_vm(self, request: AdmissionRequest, vm: Object, old: Object | None) -> None:
        """The VM validator, also for writes to the status."""
        if request.operation == "DELETE" or "deletionTimestamp" in vm["metadata"]:
            return
        if request.subresource == "status":
            causes = machine.validate_in_progress(vm, old)
            if causes:
                raise denied(_STATUS_VALIDATOR, causes)
            return
        if request.subresource:
            return
        self.check_vm(vm, old, namespace=request.namespace, user=request.user.name)
        request.warnings.extend(machine.warnings(vm))

    def check_vm(self, vm: Object, old: Object | None, *, namespace: str, user: str) -> None:
        """What the VM validator demands, for any writer.

        Raises:
            ApiError: 422.
        """
        try:
            causes = self._vm_causes(vm, old, namespace, user)
        except BadQuantity as error:
            raise failed(VM_VALIDATOR, str(error)) from None
        if causes:
            raise denied(VM_VALIDATOR, causes)

    def _vm_causes(self, vm: Object, old: Object | None, namespace: str, user: str) -> list[Cause]:
        configuration = self._world.configuration
        expanded: Object = _copy(_encode(vm["spec"]))
        template = expanded.get("template")
        instancetype = preference = None
        if isinstance(template, dict):
            instance = template.setdefault("spec", {})
            # Without one, and without anything else to apply, KubeVirt's defaults are all there is.
            if vm["spec"].get("instancetype") or vm["spec"].get("preference"):
                found = self._matched(_in_namespace(vm, namespace))
                if isinstance(found, list):
                    return found
                instancetype, preference = found
                conflicts = apply(
                    instance,
                    instancetype,
                    preference,
                    field="spec.template.spec",
                    metadata=template.get("metadata"),
                )
                if conflicts:
                    return conflicts.causes()
            default_instance_spec(instance, configuration)
            if preference is not None:
                missing = check_requirements(instance, instancetype, preference)
                if missing is not None:
                    text, fields = missing
                    return [
                        Cause(f"failure checking preference requirements: {text}", ", ".join(fields), NOT_FOUND)
                    ]
        return (
            machine.validate_machine_spec(expanded, configuration, user=user)
            or machine.validate_template_namespaces(vm, namespace, old)
            or machine.validate_in_progress(vm, old)
        )

    def _matched(self, vm: Object) -> list[Cause] | tuple[Object | None, Object | None]:
        found: list[Object | None] = []
        for matcher in ("instancetype", "preference"):
            try:
                found.append(self._world.finder.find_spec(vm, matcher))
            except ApiError as error:
                if not self._world.configuration.release.live_update:
                    return [Cause(f"Failure to find {matcher}: {error.message}", f"spec.{matcher}", NOT_FOUND)]
                # Since v1.6 a VM may come before what it refers to; its controller waits.
                found.append(None)
        return found[0], found[1]

    # --- instances -------------------------------------------------------------------------------------

    def mutate_vmi(self, request: AdmissionRequest, vmi: Object) -> Object:
        """The instance mutator."""
        decoded = self._decode(vmi, self._world.types.vmi, VMI_MUTATOR, "VirtualMachineInstanceSpec")
        if request.operation != "CREATE":
            return decoded
        return self.default_instance(decoded)

    def default_instance(self, vmi: Object) -> Object:
        """What the mutator fills in on a new instance, in place."""
        for preset in self._presets(vmi):
            _apply_preset(vmi, preset)
        return default_instance(vmi, self._world.configuration, at=format_time(self._world.clock.now()))

    def _presets(self, vmi: Object) -> list[Object]:
        metadata = vmi.get("metadata") or {}
        labels = metadata.get("labels") or {}
        preset_type = self._world.types.preset
        store = self._world.store
        if not labels or not store.count(preset_type, metadata.get("namespace", "")):
            return []
        return [
            preset
            for preset in store.list(preset_type, metadata.get("namespace", ""))
            if matches(preset["spec"].get("selector"), labels)
        ]

    def validate_vmi(self, request: AdmissionRequest, vmi: Object, old: Object | None) -> None:
        """The instance validators."""
        if request.operation == "CREATE":
            self.check_new_instance(vmi, user=request.user.name)
        elif request.operation == "UPDATE" and old is not None and not spec.is_kubevirt_account(request.user.name):
            if vmi.get("spec") != old.get("spec"):
                raise denied(
                    VMI_UPDATE_VALIDATOR, [Cause("update of VMI object is restricted", "", NOT_SUPPORTED)]
                )
            before, now = ((each["metadata"].get("labels") or {}) for each in (old, vmi))
            if spec.reserved_labels(before) != spec.reserved_labels(now):
                text = "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited"
                raise denied(VMI_UPDATE_VALIDATOR, [Cause(text, "", NOT_SUPPORTED)])

    def check_new_instance(self, vmi: Object, *, user: str) -> None:
        """What the create validator demands.

        Raises:
            ApiError: 422.
        """
        configuration = self._world.configuration
        gates = configuration.gates
        try:
            causes = [
                *spec.validate_spec(vmi["spec"], "spec", gates=gates, live_update=configuration.live_update),
                *spec.validate_instance_only(vmi["spec"], "spec"),
                *spec.validate_metadata(vmi["metadata"], "metadata", user=user, gates=gates),
            ]
        except BadQuantity as error:
            raise failed(VMI_CREATE_VALIDATOR, str(error)) from None
        if causes:
            raise denied(VMI_CREATE_VALIDATOR, causes)

    # --- migrations ------------------------------------------------------------------------------------

    def mutate_migration(self, request: AdmissionRequest, migration: Object) -> Object:
        """Marks the migration with its instance, and holds it until its controller is done."""
        if request.operation != "CREATE" or request.subresource:
            return migration
        metadata = migration.setdefault("metadata", {})
        name = str((migration.get("spec") or {}).get("vmiName", ""))
        if name:
            metadata.setdefault("labels", {})["kubevirt.io/vmi-name"] = name[:63]
        finalizers = metadata.setdefault("finalizers", [])
        if "kubevirt.io/migrationJobFinalize" not in finalizers:
            finalizers.append("kubevirt.io/migrationJobFinalize")
        return migration

    def validate_migration(self, request: AdmissionRequest, migration: Object, old: Object | None) -> None:
        """A running, migratable instance, and no migration of it under way."""
        if request.subresource or request.operation == "DELETE":
            return
        if old is not None:
            if migration.get("spec") != old.get("spec"):
                text = "update of Migration object's spec is restricted"
                raise denied(MIGRATION_UPDATE_VALIDATOR, [Cause(text, "", NOT_SUPPORTED)])
            return
        self.check_migration(migration, request.namespace)

    def check_migration(self, migration: Object, namespace: str) -> None:
        """What the migration validator demands.

        Raises:
            ApiError: 422 or 400.
        """
        name = str((migration.get("spec") or {}).get("vmiName", ""))
        if not name:
            raise denied(MIGRATION_VALIDATOR, [Cause("vmiName is missing", "spec.vmiName", REQUIRED)])
        vmi = self._world.store.find(self._world.types.vmi, namespace, name)
        if vmi is None:
            raise failed(MIGRATION_VALIDATOR, f'the VMI "{namespace}/{name}" does not exist')
        status = vmi.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed"):
            raise failed(MIGRATION_VALIDATOR, "Cannot migrate VMI in finalized state.")
        for condition in status.get("conditions") or []:
            if condition.get("type") == "LiveMigratable" and condition.get("status") == "False":
                raise failed(
                    MIGRATION_VALIDATOR,
                    f"Cannot migrate VMI, Reason: {condition.get('reason', '')}, "
                    f"Message: {condition.get('message', '')}",
                )
        for other in self._world.store.list(self._world.types.migration, namespace):
            phase = (other.get("status") or {}).get("phase")
            if (other.get("spec") or {}).get("vmiName") == name and phase not in ("Succeeded", "Failed"):
                raise failed(
                    MIGRATION_VALIDATOR,
                    "in-flight migration detected. Active migration job "
                    f"({other['metadata']['uid']}) is currently already in progress for VMI {name}.",
                )

    # --- what is made of machines ----------------------------------------------------------------------

    def validate_replica_set(self, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
        """A template that could be an instance, and a selector that matches it."""
        template = obj["spec"].get("template") or {}
        instance: Object = _copy(_encode(template.get("spec") or {}))
        default_instance_spec(instance, self._world.configuration)
        causes = spec.validate_spec(
            instance,
            "spec.template.spec",
            gates=self._world.configuration.gates,
            live_update=self._world.configuration.live_update,
        )
        causes += _selector_causes(
            obj["spec"].get("selector"), (template.get("metadata") or {}).get("labels") or {}
        )
        if causes:
            raise denied("virtualmachinereplicaset-validator.kubevirt.io", causes)

    def mutate_pool(self, request: AdmissionRequest, pool: Object) -> Object:
        """Fills in the pool's template as if it were a VM (without an identity, which each VM gets for itself)."""
        return pool

    def validate_pool(self, request: AdmissionRequest, pool: Object, old: Object | None) -> None:
        """A template that could be a VM, and a selector that matches it and stays as it is."""
        webhook = "virtualmachinepool-validator.kubevirt.io"
        template = pool["spec"].get("virtualMachineTemplate")
        if template is None:
            raise denied(webhook, [Cause("missing virtual machine template.", "spec.template", REQUIRED)])
        vm_spec: Object = _copy(_encode(template.get("spec") or {}))
        if isinstance(vm_spec.get("template"), dict) and not vm_spec.get("instancetype"):
            default_instance_spec(vm_spec["template"].setdefault("spec", {}), self._world.configuration)
        causes = machine.validate_machine_spec(
            vm_spec, self._world.configuration, user=request.user.name, field="spec.virtualMachineTemplate.spec"
        )
        selector = pool["spec"].get("selector")
        causes += _selector_causes(selector, (template.get("metadata") or {}).get("labels") or {})
        if old is not None and selector != old["spec"].get("selector"):
            causes.append(Cause("selector is immutable after creation.", "spec.selector"))
        if causes:
            raise denied(webhook, causes)

    def validate_snapshot(self, request: AdmissionRequest, snapshot: Object, old: Object | None) -> None:
        """A snapshot is of a VirtualMachine, and of the same one for ever."""
        webhook = "virtualmachinesnapshot-validator.snapshot.kubevirt.io"
        _check_reference(snapshot, old, "source", webhook)

    def validate_restore(self, request: AdmissionRequest, restore: Object, old: Object | None) -> None:
        """A restore is into a VirtualMachine, one at a time."""
        webhook = "virtualmachinerestore-validator.snapshot.kubevirt.io"
        _check_reference(restore, old, "target", webhook)
        if old is not None:
            return
        causes = [
            Cause(f'VirtualMachineRestore "{other["metadata"]["name"]}" in progress', "spec.target")
            for other in self._world.store.list(self._world.types.restore, request.namespace)
            if other["spec"].get("target") == restore["spec"].get("target")
            and not (other.get("status") or {}).get("complete")
        ]
        if causes:
            raise denied(webhook, causes)

    def mutate_clone(self, request: AdmissionRequest, clone: Object) -> Object:
        """Names the target where the clone does not."""
        if request.operation != "CREATE" or request.subresource:
            return clone
        spec_ = clone.setdefault("spec", {})
        source = spec_.get("source")
        if isinstance(source, dict) and not spec_.get("target"):
            name = f"clone-{source.get('name', '')}-{self._world.store.new_suffix()}"
            spec_["target"] = {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": name}
        elif isinstance(spec_.get("target"), dict) and not spec_["target"].get("name"):
            name = f"clone-{(source or {}).get('name', '')}-{self._world.store.new_suffix()}"
            spec_["target"]["name"] = name
        return clone

    def validate_clone(self, request: AdmissionRequest, clone: Object, old: Object | None) -> None:
        """A source that can be cloned into another VM (vmclone-admitter.go)."""
        causes = []
        source, target = clone["spec"].get("source"), clone["spec"].get("target") or {}
        if not isinstance(source, dict):
            causes.append(Cause("Source cannot be nil", "spec.Source"))
        else:
            if source.get("kind") not in ("VirtualMachine", "VirtualMachineSnapshot"):
                causes.append(Cause("Source kind is not supported", "spec.Source.Kind"))
            if target and target.get("kind") != "VirtualMachine":
                causes.append(Cause("Target kind is not supported", "spec.Target.Kind"))
            if not source.get("apiGroup"):
                causes.append(Cause("Source's APIGroup cannot be empty", "spec.Source.APIGroup"))
            if not source.get("kind"):
                causes.append(Cause("Source's Kind cannot be empty", "spec.Source"))
            if not source.get("name"):
                causes.append(Cause("Source's name cannot be empty", "spec.Source.Name"))
            if source.get("kind") == target.get("kind") == "VirtualMachine" and source.get("name") == target.get(
                "name"
            ):
                causes.append(
                    Cause(
                        "Target name cannot be equal to source name when both are VirtualMachines",
                        "spec.target.name",
                    )
                )
        if causes:
            raise denied("vm-clone-validator.kubevirt.io", causes)

    # --- inside ----------------------------------------------------------------------------------------

    def _decode(self, obj: Object, rtype: ResourceType, webhook: str, struct: str) -> Object:
        if rtype.schema is None:
            return obj
        schema = load_schema(rtype.schema)["properties"].get("spec") or {}
        try:
            return {**obj, "spec": round_trip(obj["spec"], schema, struct=struct)} if "spec" in obj else obj
        except DecodeError as error:
            raise failed(webhook, str(error)) from None


def _in_use(check: Callable[[AdmissionRequest, Object, Object | None], None]) -> Callable[..., None]:
    """Only for what users write: not for deletions, and not for subresources."""

    def validate(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
        if request.operation == "DELETE" or request.subresource or "deletionTimestamp" in obj["metadata"]:
            return
        if isinstance(obj.get("spec"), dict):
            check(request, obj, old)

    return validate


def _check_reference(obj: Object, old: Object | None, key: str, webhook: str) -> None:
    if old is not None:
        if obj["spec"] != old["spec"]:
            raise denied(webhook, [Cause("spec in immutable after creation", "spec", INVALID)])
        return
    reference = obj["spec"].get(key) or {}
    field = f"spec.{key}"
    if not reference.get("apiGroup"):
        raise denied(webhook, [Cause("missing apiGroup", f"{field}.apiGroup", NOT_FOUND)])
    if reference["apiGroup"] != "kubevirt.io":
        raise denied(webhook, [Cause("invalid apiGroup", f"{field}.apiGroup")])
    if reference.get("kind") != "VirtualMachine":
        raise denied(webhook, [Cause("invalid kind", f"{field}.kind")])


def _selector_causes(selector: Object | None, labels: Object) -> list[Cause]:
    try:
        matching = bool(selector) and matches(selector, labels)
    except BadSelector as error:
        return [Cause(str(error), "spec.selector")]
    return [] if matching else [Cause("selector does not match labels.", "spec.selector")]


def _in_namespace(vm: Object, namespace: str) -> Object:
    return {**vm, "metadata": {**(vm.get("metadata") or {}), "namespace": namespace}}


def _apply_preset(vmi: Object, preset: Object) -> None:
    """Merges a preset's domain into an instance; what the instance sets itself stays."""

    def merge(into: Object, source: Object) -> None:
        for key, value in source.items():
            if key not in into:
                into[key] = value
            elif isinstance(value, dict) and isinstance(into[key], dict):
                merge(into[key], value)

    merge(vmi.setdefault("spec", {}).setdefault("domain", {}), preset["spec"].get("domain") or {})
    name = preset["metadata"]["name"]
    annotations = vmi.setdefault("metadata", {}).setdefault("annotations", {})
    annotations[f"virtualmachinepreset.kubevirt.io/{name}"] = preset.get("apiVersion", "kubevirt.io/v1")
