"""What KubeVirt's validating webhook demands of a VirtualMachine (vms-admitter.go, pkg/storage/admitters)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkit.lab.kubevirt.admission import compute, spec, storage
from vmkit.lab.kubevirt.admission.causes import INVALID, NOT_FOUND, NOT_SUPPORTED, REQUIRED, Cause
from vmkit.lab.kubevirt.configuration import Configuration

Object = dict[str, Any]

RUN_STRATEGIES: Final = ("Halted", "Manual", "Always", "RerunOnFailure", "Once")
WAIT_AS_RECEIVER: Final = "WaitAsReceiver"
_RUNNING_WARNING: Final = "spec.running is deprecated, please use spec.runStrategy instead."


def run_strategy(vm: Mapping[str, Any]) -> str:
    """The run strategy of a VM: spec.runStrategy, or what spec.running stands for; "" when neither says."""
    spec_ = vm.get("spec") or {}
    strategy = spec_.get("runStrategy")
    if strategy is not None:
        return str(strategy)
    running = spec_.get("running")
    return "" if running is None else "Always" if running else "Halted"


def validate_machine_spec(
    vm_spec: Object, configuration: Configuration, *, user: str, field: str = "spec"
) -> list[Cause]:
    """The causes a VirtualMachine's spec gives, with defaults and instance type applied to its template."""
    template = vm_spec.get("template")
    if template is None:
        return [Cause("missing virtual machine template.", f"{field}.template", REQUIRED)]
    instance = template.get("spec") or {}
    gates = configuration.gates
    return [
        *spec.validate_metadata(
            template.get("metadata") or {}, f"{field}.template.metadata", user=user, gates=gates
        ),
        *spec.validate_spec(
            instance, f"{field}.template.spec", gates=gates, live_update=configuration.live_update
        ),
        *storage.validate_data_volume_templates(vm_spec, field),
        *_run_strategy(vm_spec, configuration, field),
        *_live_update(instance, configuration, f"{field}.template.spec"),
    ]


def _run_strategy(vm_spec: Object, configuration: Configuration, field: str) -> list[Cause]:
    running, strategy = vm_spec.get("running"), vm_spec.get("runStrategy")
    causes = []
    if running is not None and strategy is not None:
        causes.append(
            Cause(
                "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use "
                "RunStrategy instead",
                f"{field}.running",
            )
        )
    if running is None and strategy is None:
        causes.append(Cause("RunStrategy must be specified", f"{field}.running"))
    if strategy == WAIT_AS_RECEIVER and configuration.release.wait_as_receiver:
        if not configuration.wait_as_receiver:
            causes.append(
                Cause(
                    f"Invalid RunStrategy ({strategy}), DecentralizedLiveMigration feature gate is not enabled in "
                    "kubevirt resource",
                    f"{field}.runStrategy",
                )
            )
    elif strategy is not None and strategy not in RUN_STRATEGIES:
        causes.append(Cause(f"Invalid RunStrategy ({strategy})", f"{field}.runStrategy"))
    return causes


def _live_update(instance: Object, configuration: Configuration, field: str) -> list[Cause]:
    domain = instance.get("domain") or {}
    if not configuration.live_update or "maxGuest" not in (domain.get("memory") or {}):
        return []
    return compute.validate_hotplug_memory(domain, str(instance.get("architecture", "")), field)


def validate_template_namespaces(vm: Object, namespace: str, old: Object | None) -> list[Cause]:
    """Data volume templates belong into the VM's own namespace."""
    templates = vm["spec"].get("dataVolumeTemplates") or []
    if old is not None and templates == (old["spec"].get("dataVolumeTemplates") or []):
        return []
    causes = []
    for index, template in enumerate(templates):
        given = (template.get("metadata") or {}).get("namespace", "")
        if given and given != namespace:
            causes.append(
                Cause(
                    f"Embedded DataVolume namespace {given} differs from VM namespace {namespace}",
                    f"spec.dataVolumeTemplates[{index}]",
                )
            )
    return causes


def validate_in_progress(vm: Object, old: Object | None) -> list[Cause]:
    """What may not change while a snapshot or a restore runs."""
    if old is None:
        return []
    status = vm.get("status") or {}
    snapshot, restore = status.get("snapshotInProgress"), status.get("restoreInProgress")
    if snapshot is not None:
        if _volumes(old) != _volumes(vm):
            return [
                Cause(
                    f'Cannot update VM disks or volumes until snapshot "{snapshot}" completes',
                    "spec",
                    NOT_SUPPORTED,
                )
            ]
        if _running_part(old) != _running_part(vm):
            return [
                Cause(
                    f'Cannot update VM running state until snapshot "{snapshot}" completes', "spec", NOT_SUPPORTED
                )
            ]
    if restore is not None and old.get("spec") != vm.get("spec") and run_strategy(vm) != "Halted":
        return [Cause(f'Cannot update VM runStrategy until restore "{restore}" completes', "spec", NOT_SUPPORTED)]
    return []


def _volumes(vm: Object) -> Any:
    return vm["spec"].get("template", {}).get("spec", {}).get("volumes") or []


def _running_part(vm: Object) -> tuple[Any, Any]:
    return vm["spec"].get("running"), vm["spec"].get("runStrategy")


def validate_matchers(vm: Object, old: Object | None) -> list[Cause]:
    """spec.instancetype and spec.preference by themselves (pkg/instancetype/webhooks/vm)."""
    spec_ = vm.get("spec") or {}
    for kind, word in (("instancetype", "Instancetype"), ("preference", "Preference")):
        matcher = spec_.get(kind)
        if matcher is None:
            continue
        before = ((old or {}).get("spec") or {}).get(kind) or {}
        pinned = before.get("revisionName")
        if pinned and matcher.get("name") != before.get("name") and matcher.get("revisionName") == pinned:
            text = "the Matcher Name has been updated without updating the RevisionName"
            return [Cause(text, f"spec.{kind}.revisionName")]
        causes = _matcher(matcher, f"spec.{kind}", word)
        if causes:
            return causes
    return []


def _matcher(matcher: Object, field: str, word: str) -> list[Cause]:
    name, volume = matcher.get("name", ""), matcher.get("inferFromVolume", "")
    causes = []
    if not name and not volume:
        causes.append(
            Cause(f"Either Name or InferFromVolume should be provided within the {word}Matcher", field, NOT_FOUND)
        )
    if volume:
        if name:
            causes.append(
                Cause(
                    f"Name should not be provided when InferFromVolume is used within the {word}Matcher",
                    f"{field}.name",
                    NOT_FOUND,
                )
            )
        if matcher.get("kind"):
            causes.append(
                Cause(
                    f"Kind should not be provided when InferFromVolume is used within the {word}Matcher",
                    f"{field}.kind",
                    NOT_FOUND,
                )
            )
    policy = matcher.get("inferFromVolumeFailurePolicy")
    if policy not in (None, "Ignore", "Reject"):
        causes.append(
            Cause(
                f"Invalid value '{policy}' for InferFromVolumeFailurePolicy",
                f"{field}.inferFromVolumeFailurePolicy",
                INVALID,
            )
        )
    return causes


def warnings(vm: Object) -> list[str]:
    """What the webhook warns of."""
    return [_RUNNING_WARNING] if vm["spec"].get("running") is not None else []
