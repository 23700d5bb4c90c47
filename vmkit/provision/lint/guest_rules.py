"""Rules about run strategy, CPU, memory, firmware, cloud-init and life cycle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from vmkit.errors import InputError
from vmkit.provision.cloudconfig import INLINE_LIMIT_BYTES, VOLUME_KINDS, cloud_init_parts
from vmkit.provision.lint.model import Said, Severity, Subject, rule
from vmkit.provision.walk import as_list, as_mapping, as_text, dig
from vmkit.units import parse_quantity

_TEMPLATE: Final = "spec.template.spec"
_DOMAIN: Final = f"{_TEMPLATE}.domain"
_VM_ADMITTER: Final = "KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/vms-admitter.go"
_VMI_ADMITTER: Final = "KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go"
_STRATEGIES: Final = ("Always", "Halted", "Manual", "RerunOnFailure", "Once", "WaitAsReceiver")
_EVICTION: Final = ("None", "LiveMigrate", "LiveMigrateIfPossible", "External")
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SHORT_GRACE_SECONDS: Final = 120
"""Since KubeVirt 1.5 a shutdown asks the guest agent first, which alone can take 60 s (kubevirt#18721)."""


@rule("no-template", Severity.ERROR, "A VirtualMachine has a template with a domain", _VM_ADMITTER)
def _no_template(vm: Subject) -> Iterator[Said]:
    if not vm.template:
        yield "spec.template", "the virtual machine has no template", "add spec.template.spec.domain"
    elif not isinstance(vm.guest.get("domain"), dict):
        yield _DOMAIN, "the template has no domain", "add spec.template.spec.domain"


@rule("run-strategy", Severity.ERROR, "Exactly one of runStrategy and running, with a known value", _VM_ADMITTER)
def _run_strategy(vm: Subject) -> Iterator[Said]:
    strategy, running = vm.spec.get("runStrategy"), vm.spec.get("running")
    if strategy is not None and running is not None:
        yield "spec.running", "running and runStrategy exclude each other", "remove running"
    if strategy is None and running is None:
        yield "spec.runStrategy", "there is no runStrategy", f"give one of {', '.join(_STRATEGIES[:5])}"
    if strategy is not None and strategy not in _STRATEGIES:
        yield (
            "spec.runStrategy",
            f"there is no run strategy {strategy!r}",
            f"give one of {', '.join(_STRATEGIES[:5])}",
        )


@rule("running-deprecated", Severity.WARNING, "spec.running is deprecated", _VM_ADMITTER)
def _running_deprecated(vm: Subject) -> Iterator[Said]:
    if "running" in vm.spec and "runStrategy" not in vm.spec:
        strategy = "Always" if vm.spec["running"] is True else "Halted"
        yield "spec.running", "running is deprecated", f"write runStrategy: {strategy}"


@rule(
    "size-with-instancetype",
    Severity.ERROR,
    "With an instancetype, the VM itself sets neither cpu nor memory",
    "KubeVirt pkg/instancetype/conflict",
)
def _size_with_instancetype(vm: Subject) -> Iterator[Said]:
    if not as_mapping(vm.spec.get("instancetype")):
        return
    conflicts = [key for key in ("cpu", "memory") if key in vm.domain]
    resources = as_mapping(vm.domain.get("resources"))
    for part in ("requests", "limits"):
        conflicts += [
            f"resources.{part}.{key}" for key in ("cpu", "memory") if key in as_mapping(resources.get(part))
        ]
    for conflict in conflicts:
        yield (
            f"{_DOMAIN}.{conflict}",
            f"{conflict} stands beside an instancetype, which sets it",
            "remove one of them",
        )


@rule(
    "no-memory",
    Severity.ERROR,
    "Without memory and without an instancetype a VM is accepted and never starts",
    _VMI_ADMITTER,
)
def _no_memory(vm: Subject) -> Iterator[Said]:
    if vm.spec.get("instancetype") or not vm.domain:
        return
    memory = as_mapping(vm.domain.get("memory"))
    resources = as_mapping(vm.domain.get("resources"))
    found = (
        memory.get("guest"),
        memory.get("hugepages"),
        dig(resources, "requests", "memory"),
        dig(resources, "limits", "memory"),
    )
    if not any(found):
        yield f"{_DOMAIN}.memory", "no memory is asked for", "add memory: {guest: 2Gi}, or an instancetype"


@rule("quantity", Severity.ERROR, "Sizes are Kubernetes quantities, and memory is 1M or more", _VMI_ADMITTER)
def _quantity(vm: Subject) -> Iterator[Said]:
    sizes: list[tuple[str, Any]] = [(f"{_DOMAIN}.memory.guest", dig(vm.domain, "memory", "guest"))]
    for part in ("requests", "limits"):
        for key, value in as_mapping(dig(vm.domain, "resources", part)).items():
            sizes.append((f"{_DOMAIN}.resources.{part}.{key}", value))
    for index, volume in enumerate(vm.volumes):
        capacity = dig(volume, "emptyDisk", "capacity")
        sizes.append((f"{_TEMPLATE}.volumes[{index}].emptyDisk.capacity", capacity))
    for path, value in sizes:
        if value is None:
            continue
        try:
            quantity = parse_quantity(value)
        except InputError as problem:
            yield path, problem.message, problem.hint
            continue
        if path.endswith(("memory", "memory.guest")) and quantity < 10**6:
            yield path, f"{value!r} is less than 1M of memory", 'did you forget the unit? Write "2Gi"'


@rule("cpu-count", Severity.ERROR, "sockets, cores and threads are whole numbers of 1 or more", _VMI_ADMITTER)
def _cpu_count(vm: Subject) -> Iterator[Said]:
    cpu = as_mapping(vm.domain.get("cpu"))
    for key in ("sockets", "cores", "threads", "maxSockets"):
        value = cpu.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            yield f"{_DOMAIN}.cpu.{key}", f"{value!r} is no number of {key}", "give a whole number of 1 or more"
    if cpu.get("dedicatedCpuPlacement") and isinstance(cpu.get("threads"), int) and cpu["threads"] > 2:
        yield f"{_DOMAIN}.cpu.threads", "dedicated CPUs have at most two threads", "use threads: 1 or 2"
    if cpu.get("isolateEmulatorThread") and not cpu.get("dedicatedCpuPlacement"):
        yield (
            f"{_DOMAIN}.cpu.isolateEmulatorThread", "it works with dedicated CPUs only",
            "add dedicatedCpuPlacement: true",
        )  # fmt: skip


@rule("secure-boot", Severity.ERROR, "Secure Boot needs SMM; a VM boots by EFI or by BIOS", _VMI_ADMITTER)
def _secure_boot(vm: Subject) -> Iterator[Said]:
    bootloader = as_mapping(dig(vm.domain, "firmware", "bootloader"))
    efi = bootloader.get("efi")
    if efi is not None and bootloader.get("bios") is not None:
        yield f"{_DOMAIN}.firmware.bootloader", "both efi and bios are asked for", "keep one of them"
    if not isinstance(efi, dict) or efi.get("secureBoot") is False:
        return
    smm = dig(vm.domain, "features", "smm")
    if smm is None or as_mapping(smm).get("enabled") is False:
        yield (
            f"{_DOMAIN}.features.smm", "EFI with Secure Boot, which is the default, needs SMM",
            "add features: {smm: {}}, or set secureBoot: false",
        )  # fmt: skip


@rule("cloud-init-too-long", Severity.ERROR, "Inline cloud-init is at most 2048 bytes", _VMI_ADMITTER)
def _cloud_init_too_long(vm: Subject) -> Iterator[Said]:
    for part in cloud_init_parts(vm.manifest):
        if part.data is not None and len(part.data) > INLINE_LIMIT_BYTES:
            yield (
                f"{part.path}.{part.field}",
                f"{part.field} has {len(part.data)} bytes; KubeVirt takes {INLINE_LIMIT_BYTES} inline",
                f"put it into a Secret and name that in {part.reference}; vmkit create does so by itself",
            )


@rule(
    "cloud-init-source",
    Severity.ERROR,
    "A cloud-init volume has one source of user data, and it is readable",
    _VMI_ADMITTER,
)
def _cloud_init_source(vm: Subject) -> Iterator[Said]:
    for index, volume in enumerate(vm.volumes):
        for kind in VOLUME_KINDS:
            if kind not in volume:
                continue
            source, path = as_mapping(volume[kind]), f"{_TEMPLATE}.volumes[{index}].{kind}"
            user = [key for key in ("userData", "userDataBase64", "secretRef") if source.get(key)]
            network = [
                key for key in ("networkData", "networkDataBase64", "networkDataSecretRef") if source.get(key)
            ]
            if not user and not network:
                yield path, "it has neither user data nor network data", "add userData, or remove the volume"
            for keys in (user, network):
                if len(keys) > 1:
                    yield path, f"it has {' and '.join(keys)} at once", "keep one of them"
    for part in cloud_init_parts(vm.manifest):
        if part.data is None:
            yield f"{part.path}.{part.field}", f"{part.field} is not base64", "encode it, or use the plain field"


@rule(
    "cloud-init-password",
    Severity.WARNING,
    "A password in inline cloud-init is readable by all who may read VMs",
    "KubeVirt user guide, startup scripts",
)
def _cloud_init_password(vm: Subject) -> Iterator[Said]:
    pattern = re.compile(r"(?m)^\s*(?:- )?(?:password|passwd|plain_text_passwd|hashed_passwd)\s*:\s*\S")
    for part in cloud_init_parts(vm.manifest):
        if part.data is not None and pattern.search(part.data.decode(errors="replace")):
            yield (
                f"{part.path}.{part.field}", f"{part.field} holds a password",
                f"put it into a Secret and name that in {part.reference}",
            )  # fmt: skip


@rule(
    "no-guest-agent",
    Severity.INFO,
    "Without the guest agent, clean shutdown and idle detection know less",
    "KubeVirt user guide, guest agent",
)
def _no_guest_agent(vm: Subject) -> Iterator[Said]:
    parts = [part for part in cloud_init_parts(vm.manifest) if part.key == "userdata" and part.data is not None]
    for part in parts:
        if b"guest-agent" not in (part.data or b""):
            yield part.path, "cloud-init does not install the guest agent", "add packages: [qemu-guest-agent]"


@rule("access-credentials", Severity.ERROR, "Access credentials have one source and one way in", _VMI_ADMITTER)
def _access_credentials(vm: Subject) -> Iterator[Said]:
    kinds = {kind for volume in vm.volumes for kind in VOLUME_KINDS if kind in volume}
    needs = {"noCloud": "cloudInitNoCloud", "configDrive": "cloudInitConfigDrive"}
    for index, item in enumerate(as_list(vm.guest.get("accessCredentials"))):
        for kind in ("sshPublicKey", "userPassword"):
            credential = as_mapping(as_mapping(item).get(kind))
            if not credential:
                continue
            path = f"{_TEMPLATE}.accessCredentials[{index}].{kind}"
            if not dig(credential, "source", "secret", "secretName"):
                yield path, "it has no source", "name a Secret in source.secret.secretName"
            methods = list(as_mapping(credential.get("propagationMethod")))
            if len(methods) != 1:
                yield path, "it has to have exactly one propagationMethod", "keep one of them"
            for method, volume in needs.items():
                if method in methods and volume not in kinds:
                    yield path, f"{method} needs a {volume} volume", f"add a volume of type {volume}"


@rule("short-grace", Severity.WARNING, "A short grace period ends in a hard power-off", "kubevirt#18721")
def _short_grace(vm: Subject) -> Iterator[Said]:
    grace = vm.guest.get("terminationGracePeriodSeconds")
    path = f"{_TEMPLATE}.terminationGracePeriodSeconds"
    if not vm.domain or ("containerDisk" in {key for volume in vm.volumes for key in volume} and grace == 0):
        return
    if grace is None:
        yield path, "without a grace period KubeVirt cuts the power after 30 s", "give 180"
    elif isinstance(grace, int) and grace < SHORT_GRACE_SECONDS:
        yield path, f"{grace} s can be too short to shut down cleanly; the power is cut then", "give 180"


@rule("eviction-strategy", Severity.ERROR, "evictionStrategy has a known value", _VMI_ADMITTER)
def _eviction_strategy(vm: Subject) -> Iterator[Said]:
    value = vm.guest.get("evictionStrategy")
    if value is not None and value not in _EVICTION:
        yield f"{_TEMPLATE}.evictionStrategy", f"there is no strategy {value!r}", f"use {', '.join(_EVICTION)}"


@rule(
    "eviction-unset",
    Severity.INFO,
    "Without an evictionStrategy a drained node stops the VM",
    "KubeVirt user guide, node maintenance",
)
def _eviction_unset(vm: Subject) -> Iterator[Said]:
    if vm.domain and "evictionStrategy" not in vm.guest:
        yield f"{_TEMPLATE}.evictionStrategy", "a drained node stops the VM", "write LiveMigrateIfPossible"


@rule(
    "name-too-long",
    Severity.WARNING,
    "A VM's name becomes a host name and a label: 63 characters, no dots",
    "kubevirt#1222, #1223",
)
def _name_too_long(vm: Subject) -> Iterator[Said]:
    if vm.name and not _DNS_LABEL.fullmatch(vm.name):
        yield "metadata.name", f"{vm.name[:70]!r} is no DNS label of at most 63 characters", "choose a shorter one"


@rule("hostname", Severity.ERROR, "hostname and subdomain are DNS names", _VMI_ADMITTER)
def _hostname(vm: Subject) -> Iterator[Said]:
    for key in ("hostname", "subdomain"):
        value = vm.guest.get(key)
        if value is not None and not (
            isinstance(value, str) and all(_DNS_LABEL.fullmatch(part) for part in value.split("."))
        ):
            yield f"{_TEMPLATE}.{key}", f"{value!r} is no DNS name", "lower-case letters, digits and '-'"


@rule("reserved-label", Severity.ERROR, "Some kubevirt.io labels are KubeVirt's own", _VMI_ADMITTER)
def _reserved_label(vm: Subject) -> Iterator[Said]:
    reserved = {
        "kubevirt.io/created-by", "kubevirt.io/migrationJobUID", "kubevirt.io/nodeName",
        "kubevirt.io/migrationTargetNodeName", "kubevirt.io/schedulable", "kubevirt.io/install-strategy",
    }  # fmt: skip
    labels = as_mapping(as_mapping(vm.template.get("metadata")).get("labels"))
    for label in sorted(reserved & set(labels)):
        yield f"spec.template.metadata.labels[{label}]", f"{label} is set by KubeVirt itself", "remove it"


@rule(
    "label-value",
    Severity.ERROR,
    "Labels are texts of at most 63 characters",
    "Kubernetes apimachinery validation",
    kinds=("VirtualMachine", "DataVolume", "Secret", "Service", "ConfigMap", "PersistentVolumeClaim"),
)
def _label_value(subject: Subject) -> Iterator[Said]:
    pattern = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
    for path, labels in (
        ("metadata.labels", subject.metadata.get("labels")),
        ("spec.template.metadata.labels", as_mapping(subject.template.get("metadata")).get("labels")),
    ):
        for key, value in as_mapping(labels).items():
            if not isinstance(value, str):
                yield f"{path}[{key}]", f"the value {value!r} is no text", f'quote it: "{value}"'
            elif not pattern.fullmatch(value):
                yield (
                    f"{path}[{key}]",
                    f"{value[:70]!r} cannot be a label's value",
                    "63 letters, digits, '-', '_', '.'",
                )
    for key, value in as_mapping(subject.metadata.get("annotations")).items():
        if not isinstance(value, str):
            yield f"metadata.annotations[{key}]", f"the value {value!r} is no text", f'quote it: "{value}"'


@rule(
    "live-pause-probe",
    Severity.WARNING,
    "With a liveness probe other than guestAgentPing a VM cannot be paused",
    "KubeVirt pkg/virt-api/rest/subresource.go",
)
def _live_pause_probe(vm: Subject) -> Iterator[Said]:
    probe = as_mapping(vm.guest.get("livenessProbe"))
    if probe and "guestAgentPing" not in probe:
        yield f"{_TEMPLATE}.livenessProbe", "KubeVirt refuses to pause such a VM", "use guestAgentPing: {}"


@rule(
    "instancetype-matcher",
    Severity.ERROR,
    "instancetype and preference give a name or inferFromVolume",
    "KubeVirt pkg/instancetype",
)
def _instancetype_matcher(vm: Subject) -> Iterator[Said]:
    volumes = {as_text(volume.get("name")) for volume in vm.volumes}
    for key in ("instancetype", "preference"):
        matcher = vm.spec.get(key)
        if matcher is None:
            continue
        matcher = as_mapping(matcher)
        infer = as_text(matcher.get("inferFromVolume"))
        if bool(matcher.get("name")) == bool(infer):
            yield f"spec.{key}", "it has to give either name or inferFromVolume", "keep one of them"
        elif infer and infer not in volumes:
            yield f"spec.{key}.inferFromVolume", f"there is no volume {infer!r}", "name a volume of this VM"
