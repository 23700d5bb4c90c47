"""The whole of a VMI spec, in the order in which KubeVirt looks at it (vmi-create-admitter.go)."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from vmkit.lab.kubevirt.admission import compute, storage
from vmkit.lab.kubevirt.admission.causes import NOT_SUPPORTED, REQUIRED, Cause
from vmkit.lab.kubevirt.admission.network import validate_network
from vmkit.lab.kubevirt.quantities import whole

Object = dict[str, Any]

_RESERVED_LABELS: Final = frozenset({
    "kubevirt.io/created-by", "kubevirt.io/migrationJobUID", "kubevirt.io/nodeName",
    "kubevirt.io/migrationTargetNodeName", "kubevirt.io/schedulable", "kubevirt.io/install-strategy",
})  # fmt: skip
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_EVICTION: Final = (None, "None", "LiveMigrate", "LiveMigrateIfPossible", "External")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_KUBEVIRT_ACCOUNTS: Final = frozenset(
    f"system:serviceaccount:kubevirt:kubevirt-{name}" for name in ("apiserver", "handler", "controller")
)


def is_kubevirt_account(user: str) -> bool:
    """Whether a user is one of KubeVirt's own components."""
    return user in _KUBEVIRT_ACCOUNTS


def reserved_labels(labels: Object) -> Object:
    """The labels only KubeVirt itself may write."""
    return {key: value for key, value in labels.items() if key in _RESERVED_LABELS}


def validate_metadata(metadata: Object, field: str, *, user: str, gates: frozenset[str]) -> list[Cause]:
    """Labels and annotations of an instance or a template; ``field`` is the path of the metadata."""
    causes = []
    if not is_kubevirt_account(user) and reserved_labels(metadata.get("labels") or {}):
        causes.append(
            Cause(
                "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited",
                f"{field}.labels",
                NOT_SUPPORTED,
            )
        )
    annotations = metadata.get("annotations") or {}
    for key, gate, text in (
        ("kubevirt.io/ignitiondata", "ExperimentalIgnitionSupport", "ExperimentalIgnitionSupport"),
        ("hooks.kubevirt.io/hookSidecars", "Sidecar", "sidecar"),
    ):
        if annotations.get(key) and gate not in gates:
            causes.append(
                Cause(
                    f"{text} feature gate is not enabled in kubevirt-config, invalid entry "
                    f"{field}.annotations.{key}",
                    f"{field}.annotations",
                )
            )
    return causes


def validate_spec(spec: Object, field: str, *, gates: frozenset[str], live_update: bool) -> list[Cause]:
    """Everything KubeVirt demands of a VMI spec, for VMs and instances alike.

    Args:
        spec: the spec, defaults filled in.
        field: its path, "spec" or "spec.template.spec".
        gates: the feature gates that are on.
        live_update: whether vmRolloutStrategy is LiveUpdate.
    """
    too_long = storage.validate_lists(spec, field)
    if too_long:
        return too_long
    domain: Object = spec.get("domain") or {}
    volumes: list[Object] = spec.get("volumes") or []
    return [
        *_names(spec, field),
        *compute.validate_memory(spec, field, live_update=live_update),
        *compute.validate_machine(spec, field),
        *compute.validate_serial(spec, field),
        *compute.validate_cpu(spec, field),
        *_start_strategy(spec, field),
        *compute.validate_realtime(spec, field),
        *validate_network(spec, field),
        *storage.validate_boot_order(spec, field),
        *_inputs(domain, field),
        *_io_threads(domain, field),
        *_probes(spec, field),
        *storage.validate_disks((domain.get("devices") or {}).get("disks") or [], f"{field}.domain.devices.disks"),
        *compute.validate_firmware(domain, f"{field}.domain"),
        *storage.validate_volumes(volumes, f"{field}.volumes", gates),
        *storage.validate_container_disks(volumes, f"{field}.volumes"),
        *_credentials(spec.get("accessCredentials") or [], volumes, f"{field}.accessCredentials"),
        *_dns(spec, field),
        *_eviction(spec, field),
        *_gated_devices(domain, field, gates),
    ]


def validate_instance_only(spec: Object, field: str) -> list[Cause]:
    """What is demanded of an instance but not of a VM: every volume is used, and some memory is asked for."""
    domain: Object = spec.get("domain") or {}
    devices = domain.get("devices") or {}
    used = {item.get("name") for kind in ("disks", "filesystems") for item in devices.get(kind) or []}
    causes = []
    for index, volume in enumerate(spec.get("volumes") or []):
        if "memoryDump" not in volume and volume.get("name") not in used:
            at = f"{field}.domain.volumes[{index}].name"
            causes.append(Cause(f"{at} '{volume.get('name', '')}' not found.", at))
    memory = domain.get("memory") or {}
    requests = (domain.get("resources") or {}).get("requests") or {}
    if not whole(requests.get("memory")) and "guest" not in memory and "hugepages" not in memory:
        causes.append(
            Cause(
                f"no memory requested, at least one of '{field}.domain.memory.guest', "
                f"'{field}.domain.memory.hugepages.size' or "
                f"'{field}.domain.resources.requests.memory' must be set",
                "",
                REQUIRED,
            )
        )
    return causes


def _names(spec: Object, field: str) -> list[Cause]:
    causes = []
    hostname, subdomain = spec.get("hostname", ""), spec.get("subdomain", "")
    faults = storage.label_faults(hostname) if hostname else []
    if faults:
        at = f"{field}.hostname"
        causes.append(Cause(f"{at} does not conform to the kubernetes DNS_LABEL rules : {', '.join(faults)}", at))
    if subdomain and not (_SUBDOMAIN.fullmatch(subdomain) and len(subdomain) <= 253):
        at = f"{field}.subdomain"
        faults = ["must be no more than 253 bytes"] if len(subdomain) > 253 else []
        if not _SUBDOMAIN.fullmatch(subdomain):
            faults.append(_SUBDOMAIN_TEXT)
        causes.append(
            Cause(f"{at} does not conform to the kubernetes DNS_SUBDOMAIN rules : {', '.join(faults)}", at)
        )
    return causes


def _start_strategy(spec: Object, field: str) -> list[Cause]:
    strategy, at = spec.get("startStrategy"), f"{field}.startStrategy"
    if strategy is None:
        return []
    if strategy != "Paused":
        return [Cause(f"{at} is set with an unrecognized option: {strategy}", at)]
    if spec.get("livenessProbe") is not None:
        return [
            Cause(
                f"either {at} or {field}.livenessProbe should be provided.Pausing VMI with LivenessProbe is not "
                "supported",
                at,
            )
        ]
    return []


def _inputs(domain: Object, field: str) -> list[Cause]:
    causes = []
    for index, device in enumerate((domain.get("devices") or {}).get("inputs") or []):
        at = f"{field}.domain.devices.inputs[{index}]"
        if device.get("bus", "") not in ("", "virtio", "usb"):
            causes.append(Cause("Input device can have only virtio or usb bus.", f"{at}.bus"))
        if device.get("type") != "tablet":
            causes.append(Cause("Input device can have only tablet type.", f"{at}.type"))
    return causes


def _io_threads(domain: Object, field: str) -> list[Cause]:
    policy = domain.get("ioThreadsPolicy")
    if policy in (None, "shared", "auto", "supplementalPool"):
        return []
    return [Cause(f"Invalid IOThreadsPolicy ({policy})", f"{field}.domain.ioThreadsPolicy")]


def _probes(spec: Object, field: str) -> list[Cause]:
    causes = []
    probes = [
        (f"{field}.{name}", spec[name])
        for name in ("readinessProbe", "livenessProbe")
        if spec.get(name) is not None
    ]
    for at, probe in probes:
        kinds = sum(kind in probe for kind in ("httpGet", "tcpSocket", "exec", "guestAgentPing"))
        if kinds > 1:
            causes.append(Cause(f"{at} must have exactly one probe type set", at))
        if kinds < 1:
            causes.append(
                Cause(
                    f"either {at}.tcpSocket, {at}.exec or {at}.httpGet must be set if a {at} is specified",
                    at,
                    REQUIRED,
                )
            )
    if not any("pod" in network for network in spec.get("networks") or []):
        causes += [
            Cause(f"{at}.{kind} is only allowed if the Pod Network is attached", f"{at}.{kind}")
            for at, probe in probes
            for kind in ("httpGet", "tcpSocket")
            if kind in probe
        ]
    return causes


def _credentials(credentials: list[Object], volumes: list[Object], field: str) -> list[Cause]:
    if len(credentials) > 256:
        return [Cause(f"{field} list exceeds the 256 element limit in length", field)]
    causes = []
    for index, credential in enumerate(credentials):
        at = f"{field}[{index}]"
        kinds = [kind for kind in ("sshPublicKey", "userPassword") if kind in credential]
        for kind in kinds:
            causes += _credential(credential[kind], kind, at, volumes)
        if len(kinds) != 1:
            causes.append(Cause(f"{at} must have exactly one access credential type set", at))
    return causes


def _credential(credential: Object, kind: str, at: str, volumes: list[Object]) -> list[Cause]:
    methods = credential.get("propagationMethod") or {}
    causes = []
    count = 0
    if kind == "sshPublicKey":
        for method, volume in (("noCloud", "cloudInitNoCloud"), ("configDrive", "cloudInitConfigDrive")):
            if method not in methods:
                continue
            count += 1
            if not any(volume in each for each in volumes):
                causes.append(
                    Cause(
                        f"{at} requires a {method} volume to exist when the {method} propagationMethod is in use.",
                        f"{at}.{kind}.propagationMethod",
                    )
                )
    if "qemuGuestAgent" in methods:
        count += 1
        if kind == "sshPublicKey" and not (methods["qemuGuestAgent"] or {}).get("users"):
            causes.append(
                Cause(
                    f"{at} requires at least one user to be present in the users list",
                    f"{at}.{kind}.propagationMethod.qemuGuestAgent.users",
                )
            )
    if "secret" not in (credential.get("source") or {}):
        causes.append(Cause(f"{at} must have exactly one source set", f"{at}.{kind}.source"))
    if count != 1:
        causes.append(Cause(f"{at} must have exactly one propagationMethod set", f"{at}.{kind}.propagationMethod"))
    return causes


def _dns(spec: Object, field: str) -> list[Cause]:
    policy, config = spec.get("dnsPolicy", ""), spec.get("dnsConfig")
    at = f"{field}.dnsConfig"
    causes = []
    if policy and policy not in _DNS_POLICIES:
        causes.append(
            Cause(
                f"DNSPolicy: {policy} is not supported, valid values: [{' '.join(_DNS_POLICIES)} ]",
                f"{field}.dnsPolicy",
                NOT_SUPPORTED,
            )
        )
    if policy == "None":
        if config is None:
            return [*causes, Cause("must provide `dnsConfig` when `dnsPolicy` is None", at, REQUIRED)]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [*causes, Cause(text, "nameservers", REQUIRED)]
    if config is None:
        return causes
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        causes.append(Cause(f"must not have more than 3 nameservers: [{' '.join(servers)}]", "nameservers"))
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            causes.append(Cause(f"must be valid IP address: {server}", "nameservers"))
    if len(searches) > 6:
        causes.append(Cause("must not have more than 6 search paths", "searchDomains"))
    if len(" ".join(searches)) > 256:
        causes.append(
            Cause("must not have more than 256 characters (including spaces) in the search list", "searchDomains")
        )
    causes += [Cause(_SUBDOMAIN_TEXT, "searchDomains") for search in searches if not _SUBDOMAIN.fullmatch(search)]
    causes += [
        Cause("Option.Name must not be empty", "options")
        for option in config.get("options") or []
        if not option.get("name")
    ]
    return causes


def _eviction(spec: Object, field: str) -> list[Cause]:
    strategy, at = spec.get("evictionStrategy"), f"{field}.evictionStrategy"
    if strategy in _EVICTION:
        return []
    return [Cause(f"{at} is set with an unrecognized option: {strategy}", at)]


def _gated_devices(domain: Object, field: str, gates: frozenset[str]) -> list[Cause]:
    devices = domain.get("devices") or {}
    causes = []
    if "hostDevices" in devices and "HostDevices" not in gates:
        causes.append(Cause("Host Devices feature gate is not enabled in kubevirt-config", f"{field}.HostDevices"))
    sound = devices.get("sound")
    if sound is not None:
        if sound.get("model", "") not in ("", "ich9", "ac97"):
            causes.append(Cause("Sound device type is not supported. Options: 'ich9' or 'ac97'", f"{field}.Sound"))
        if not sound.get("name"):
            causes.append(Cause("Sound device requires a name field.", f"{field}.Sound"))
    if "launchSecurity" in domain and "WorkloadEncryptionSEV" not in gates:
        causes.append(
            Cause(
                "WorkloadEncryptionSEV feature gate is not enabled in kubevirt-config", f"{field}.launchSecurity"
            )
        )
    if devices.get("autoattachVSOCK") and "VSOCK" not in gates:
        causes.append(
            Cause(
                "VSOCK feature gate is not enabled in kubevirt-config", f"{field}.domain.devices.autoattachVSOCK"
            )
        )
    if "downwardMetrics" in devices and "DownwardMetrics" not in gates:
        causes.append(
            Cause(
                "downwardMetrics virtio serial is not allowed: DownwardMetrics feature gate is not enabled",
                f"{field}.domain.devices.downwardMetrics",
            )
        )
    return causes
