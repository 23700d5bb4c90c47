"""What a VM is doing, read from its VirtualMachine and, where at hand, its instance.

`read_vm` never raises: an object with fields missing or of the wrong type becomes a view whose ``problem`` says
so, and one bad object in a list never stops the list.

Source of the facts: KubeVirt staging/src/kubevirt.io/api/core/v1/types.go and setPrintableStatus in
pkg/virt-controller/watch/vm/vm.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from vmkit.errors import QuantityError
from vmkit.units import parse_bytes
from vmkit.vm.reference import VmRef
from vmkit.vm.strategy import RunStrategy, read_run_strategy
from vmkit.vm.views import Condition, InstanceView, Owner, PowerState, VmView, Volume

__all__ = [
    "TROUBLE",
    "Condition",
    "InstanceView",
    "Owner",
    "PowerState",
    "VmView",
    "Volume",
    "read_instance",
    "read_vm",
]

# printableStatus to power state. The error states are those of a VM on its way up.
_POWER_OF: Final[Mapping[str, PowerState]] = {
    "Running": PowerState.RUNNING,
    "Paused": PowerState.PAUSED,
    "Migrating": PowerState.MIGRATING,
    "Stopped": PowerState.STOPPED,
    "Stopping": PowerState.STOPPING,
    "Terminating": PowerState.DELETING,
    "Starting": PowerState.STARTING,
    "Provisioning": PowerState.STARTING,
    "WaitingForVolumeBinding": PowerState.STARTING,
    "WaitingForReceiver": PowerState.STARTING,
    "ErrorUnschedulable": PowerState.STARTING,
    "ErrorPvcNotFound": PowerState.STARTING,
    "DataVolumeError": PowerState.STARTING,
    "ErrImagePull": PowerState.STARTING,
    "ImagePullBackOff": PowerState.STARTING,
    "CrashLoopBackOff": PowerState.STARTING,
}

TROUBLE: Final = frozenset({
    "ErrorUnschedulable", "ErrorPvcNotFound", "DataVolumeError", "ErrImagePull", "ImagePullBackOff",
    "CrashLoopBackOff",
})  # fmt: skip
"""The printable statuses that name what keeps a VM from running."""

# With these a VM nobody has looked at yet has no instance, and gets none unasked.
_RESTING: Final = frozenset({RunStrategy.HALTED, RunStrategy.MANUAL})

_PHASE_POWER: Final[Mapping[str, PowerState]] = {
    "Running": PowerState.RUNNING,
    "Succeeded": PowerState.STOPPED,
    "Failed": PowerState.STOPPED,
    "": PowerState.STARTING,
    "Pending": PowerState.STARTING,
    "Scheduling": PowerState.STARTING,
    "Scheduled": PowerState.STARTING,
    "WaitingForSync": PowerState.STARTING,
}


def read_vm(vm: Mapping[str, Any], vmi: Mapping[str, Any] | None = None) -> VmView:
    """Reads a VirtualMachine, and its instance where it is at hand.

    Without the instance, node, addresses and uptime stay empty; the power state comes from the VM's own status,
    which the controller writes. With it, the instance's phase decides where the VM's status says nothing.

    Never raises. What is wrong with the object is in the view's ``problem``.
    """
    problems: list[str] = []
    metadata = _mapping(vm, "metadata", problems)
    spec = _mapping(vm, "spec", problems)
    status = _mapping(vm, "status", problems, optional=True)
    name = _text(metadata, "name")
    if not name:
        problems.append("metadata.name is missing or no text")
    strategy = read_run_strategy(spec)
    if strategy is None and not problems:
        problems.append(_strategy_problem(spec))
    template = _mapping(spec, "template", problems, path="spec.template") if spec else {}
    template_spec = _mapping(template, "spec", problems, path="spec.template.spec") if template else {}
    printable = _text(status, "printableStatus")
    deleted_at = _time(metadata.get("deletionTimestamp"))
    instance = read_instance(vmi) if vmi is not None else None
    cores, memory = _size(template_spec, problems)
    grace = template_spec.get("terminationGracePeriodSeconds")
    created = status.get("created") is True
    return VmView(
        ref=VmRef(_text(metadata, "namespace"), name),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
        run_strategy=strategy,
        power=_power(printable, strategy, deleted_at is not None, created, instance),
        printable_status=printable,
        ready=status.get("ready") is True,
        created=created,
        created_at=_time(metadata.get("creationTimestamp")),
        deleted_at=deleted_at,
        node=instance.node if instance else "",
        addresses=instance.addresses if instance else (),
        cpu_cores=cores,
        memory_bytes=memory,
        instancetype=_text(_plain(spec.get("instancetype")), "name"),
        preference=_text(_plain(spec.get("preference")), "name"),
        conditions=_conditions(status.get("conditions")),
        owners=_owners(metadata.get("ownerReferences")),
        volumes=_volumes(spec, template_spec),
        requests=tuple(
            action
            for request in _entries(status.get("stateChangeRequests"))
            if (action := _text(request, "action"))
        ),
        observed_strategy=_text(status, "runStrategy"),
        start_failure=failure if isinstance(failure := status.get("startFailure"), dict) else None,
        busy=_busy(status),
        grace_seconds=grace if isinstance(grace, int) and not isinstance(grace, bool) and grace >= 0 else None,
        managers=frozenset(_text(entry, "manager") for entry in _entries(metadata.get("managedFields"))),
        instance=instance,
        problem="; ".join(problems),
    )


def read_instance(vmi: Mapping[str, Any]) -> InstanceView:
    """Reads a VirtualMachineInstance; what is missing or mistyped is left empty."""
    metadata, spec, status = (_plain(vmi.get(key)) for key in ("metadata", "spec", "status"))
    grace = spec.get("terminationGracePeriodSeconds")
    migration = status.get("migrationState")
    return InstanceView(
        uid=_text(metadata, "uid"),
        phase=_text(status, "phase"),
        resource_version=_text(metadata, "resourceVersion"),
        node=_text(status, "nodeName"),
        addresses=tuple(_addresses(status)),
        conditions=_conditions(status.get("conditions")),
        deleting=bool(metadata.get("deletionTimestamp")),
        grace_seconds=grace if isinstance(grace, int) and not isinstance(grace, bool) and grace >= 0 else None,
        started_at=_started_at(status),
        migration=migration if isinstance(migration, dict) else None,
    )


def _power(
    printable: str, strategy: RunStrategy | None, deleting: bool, created: bool, instance: InstanceView | None
) -> PowerState:
    if deleting:
        return PowerState.DELETING
    known = _POWER_OF.get(printable)
    if known is not None:
        return known
    # The controller has not spoken (a VM just made) or says Unknown: the instance may tell.
    if instance is None:
        if printable or created or strategy is None:
            return PowerState.UNKNOWN
        return PowerState.STOPPED if strategy in _RESTING else PowerState.STARTING
    if instance.deleting:
        return PowerState.STOPPING
    if instance.paused:
        return PowerState.PAUSED
    return _PHASE_POWER.get(instance.phase, PowerState.UNKNOWN)


def _busy(status: Mapping[str, Any]) -> str:
    # The signals of work that a stop would spoil or that KubeVirt would refuse a stop for.
    if name := _text(status, "snapshotInProgress"):
        return f"snapshot {name} is in progress"
    if name := _text(status, "restoreInProgress"):
        return f"restore {name} is in progress"
    dump = _plain(status.get("memoryDumpRequest"))
    if dump and _text(dump, "phase") not in {"", "Completed", "Failed"}:
        return "a memory dump is in progress"
    if _plain(_plain(status.get("volumeUpdateState")).get("volumeMigrationState")):
        return "its volumes are being migrated"
    return ""


def _strategy_problem(spec: Mapping[str, Any]) -> str:
    value = spec.get("runStrategy", spec.get("running"))
    if value is None:
        return "spec.runStrategy is missing"
    return f"spec.runStrategy is {_brief(value)}, which this vmkit does not know"


def _size(template_spec: Mapping[str, Any], problems: list[str]) -> tuple[int | None, int | None]:
    domain = _plain(template_spec.get("domain"))
    cores = _cores(_plain(domain.get("cpu")))
    resources = _plain(domain.get("resources"))
    requests, limits = _plain(resources.get("requests")), _plain(resources.get("limits"))
    # KubeVirt's own order: guest memory, else what is requested, else the limit.
    text = _plain(domain.get("memory")).get("guest") or requests.get("memory") or limits.get("memory")
    if text is None:
        return cores, None
    memory = _bytes(text) if isinstance(text, str | int | float) else f"{_brief(text)} is not a quantity"
    if isinstance(memory, str):
        problems.append(f"guest memory: {memory}")
        return cores, None
    return cores, memory


@lru_cache(maxsize=512)
def _bytes(text: str | int | float) -> int | str:
    """The bytes, or what is wrong. Kept, because thousands of VMs share a handful of sizes."""
    try:
        return parse_bytes(text)  # type: ignore[arg-type]  # it says itself what it does not take
    except QuantityError as error:
        return error.message


def _cores(cpu: Mapping[str, Any]) -> int | None:
    if not cpu:
        return None
    product = 1
    for key in ("cores", "sockets", "threads"):
        count = cpu.get(key, 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return None
        product *= count or 1
    return product


def _volumes(spec: Mapping[str, Any], template_spec: Mapping[str, Any]) -> tuple[Volume, ...]:
    templates = _entries(spec.get("dataVolumeTemplates"))
    templated = {_text(_plain(entry.get("metadata")), "name") for entry in templates}
    found: list[Volume] = []
    for entry in _entries(template_spec.get("volumes")):
        kind = next((key for key in entry if key != "name"), "")
        body = _plain(entry.get(kind))
        source = next((text for key in _SOURCE_KEYS if (text := _text(body, key))), "")
        found.append(Volume(_text(entry, "name"), kind, source, kind == "dataVolume" and source in templated))
    return tuple(found)


_SOURCE_KEYS: Final = ("name", "claimName", "image", "secretName", "path")


def _addresses(status: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    for interface in _entries(status.get("interfaces")):
        several = interface.get("ipAddresses")
        texts = [_text(interface, "ipAddress"), *(several if isinstance(several, list) else ())]
        for text in texts:
            if isinstance(text, str) and text and text not in seen:
                seen.add(text)
                yield text


def _started_at(status: Mapping[str, Any]) -> datetime | None:
    times = [
        _time(entry.get("phaseTransitionTimestamp"))
        for entry in _entries(status.get("phaseTransitionTimestamps"))
        if entry.get("phase") == "Running"
    ]
    return max((time for time in times if time is not None), default=None)


def _conditions(value: Any) -> tuple[Condition, ...]:
    if not isinstance(value, list):
        return ()
    return tuple([
        Condition(
            _text(entry, "type"),
            _text(entry, "status"),
            _text(entry, "reason"),
            _text(entry, "message"),
            _time(entry.get("lastTransitionTime")),
        )
        for entry in value
        if isinstance(entry, dict)
    ])  # fmt: skip


def _owners(value: Any) -> tuple[Owner, ...]:
    return tuple(
        Owner(
            kind=_text(entry, "kind"),
            name=_text(entry, "name"),
            uid=_text(entry, "uid"),
            controller=entry.get("controller") is True,
        )
        for entry in _entries(value)
    )


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict):
                yield entry


def _mapping(
    parent: Mapping[str, Any], key: str, problems: list[str], *, path: str = "", optional: bool = False
) -> Mapping[str, Any]:
    value = parent.get(key)
    if isinstance(value, dict):
        return value
    if value is not None:
        problems.append(f"{path or key} is {_brief(value)} where an object belongs")
    elif not optional:
        problems.append(f"{path or key} is missing")
    return {}


def _plain(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(key, str) and isinstance(text, str)}


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
