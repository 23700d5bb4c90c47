"""What is refused, in KubeVirt's words; more than the recorded refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
Change = Callable[[Object, Object], Any]
VMS = "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines"
VMIS = "/apis/kubevirt.io/v1/namespaces/lab/virtualmachineinstances"
AT = "spec.template.spec"
DEVICES = f"{AT}.domain.devices"


def devices(spec: Object) -> Object:
    found: Object = spec["domain"]["devices"]
    return found


def set_in(spec: Object, path: str, value: Any) -> None:
    """Sets a field of the template's spec: "domain.cpu.sockets"."""
    *parents, last = path.split(".")
    for name in parents:
        spec = spec[int(name)] if isinstance(spec, list) else spec.setdefault(name, {})
    spec[last] = value


def put(path: str, value: Any) -> Change:
    return lambda vm, spec: set_in(spec, path, value)


def put_vm(path: str, value: Any) -> Change:
    return lambda vm, spec: set_in(vm["spec"], path, value)


CASES: list[tuple[str, Change, str, str]] = [
    (
        "empty probe",
        put("readinessProbe", {}),
        f"{AT}.readinessProbe",
        f"either {AT}.readinessProbe.tcpSocket, {AT}.readinessProbe.exec or {AT}.readinessProbe.httpGet must be "
        f"set if a {AT}.readinessProbe is specified",
    ),
    ("no volume", put("volumes", []), f"{DEVICES}.disks[0].name", f"{DEVICES}.disks[0].Name 'root' not found."),
    (
        "a volume twice",
        lambda vm, spec: spec["volumes"].append(spec["volumes"][0]),
        f"{AT}.volumes[1].name",
        f"{AT}.volumes[1] and {AT}.volumes[0] must not have the same Name.",
    ),
    (
        "a disk twice",
        lambda vm, spec: devices(spec)["disks"].append(devices(spec)["disks"][0]),
        f"{DEVICES}.disks[1].name",
        f"{DEVICES}.disks[1] and {DEVICES}.disks[0] must not have the same Name.",
    ),
    (
        "two sources",
        put("volumes.0.emptyDisk", {"capacity": "1Gi"}),
        f"{AT}.volumes[0]",
        f"{AT}.volumes[0] must have exactly one source type set",
    ),
    (
        "a network without interface",
        put("domain.devices.interfaces", []),
        f"{AT}.networks[0].name",
        f"{AT}.networks[0].name 'default' not found.",
    ),
    (
        "a malformed address",
        put("domain.devices.interfaces.0.macAddress", "xx"),
        f"{DEVICES}.interfaces[0].macAddress",
        f"interface {DEVICES}.interfaces[0].name has malformed MAC address (xx).",
    ),
    (
        "an unknown model",
        put("domain.devices.interfaces.0.model", "foo"),
        f"{DEVICES}.interfaces[0].model",
        f"interface {DEVICES}.interfaces[0].name uses model foo that is not supported.",
    ),
    (
        "an unknown bus",
        put("domain.devices.disks.0.disk", {"bus": "foo"}),
        f"{DEVICES}.disks[0].disk.bus",
        f"{DEVICES}.disks[0] is set with an unrecognized bus foo, must be one of: [virtio scsi sata usb]",
    ),
    (
        "boot order zero",
        put("domain.devices.disks.0.bootOrder", 0),
        f"{DEVICES}.disks[0].bootOrder",
        f"{DEVICES}.disks[0] must have a boot order > 0, if supplied",
    ),
    (
        "a boot order twice",
        lambda vm, spec: [devices(spec)[kind][0].update(bootOrder=1) for kind in ("disks", "interfaces")],
        f"{DEVICES}.interfaces[0].bootOrder",
        f"Boot order for {DEVICES}.interfaces[0].bootOrder already set for a different device.",
    ),
    (
        "more asked for than allowed",
        put("domain.resources", {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}),
        f"{AT}.domain.resources.requests.memory",
        f"{AT}.domain.resources.requests.memory '1Gi' is greater than {AT}.domain.resources.limits.memory '512Mi'",
    ),
    (
        "negative processors",
        put("domain.resources", {"requests": {"cpu": "-1"}}),
        f"{AT}.domain.resources.requests.cpu",
        f"{AT}.domain.resources.requests.cpu '-1': must be greater than or equal to 0.",
    ),
    (
        "more sockets than the most",
        put("domain.cpu", {"sockets": 2, "maxSockets": 1}),
        f"{AT}.domain.cpu.sockets",
        "Number of sockets in CPU topology is greater than the maximum sockets allowed",
    ),
    (
        "both ways to run",
        put_vm("running", True),
        "spec.running",
        "Running and RunStrategy are mutually exclusive. "
        "Note that Running is deprecated, please use RunStrategy instead",
    ),
    (
        "no way to run",
        lambda vm, spec: vm["spec"].pop("runStrategy"),
        "spec.running",
        "RunStrategy must be specified",
    ),
    ("an unknown strategy", put_vm("runStrategy", "Foo"), "spec.runStrategy", "Invalid RunStrategy (Foo)"),
    (
        "a template without use",
        put_vm("dataVolumeTemplates", [{"metadata": {"name": "x"}, "spec": {"source": {"blank": {}}, "pvc": {}}}]),
        "spec.dataVolumeTemplate[0]",
        "DataVolumeTemplate entry spec.dataVolumeTemplate[0] must be referenced "
        "in the VMI template's 'volumes' list",
    ),
    (
        "an empty cloud-init",
        put("volumes", [{"name": "root", "cloudInitNoCloud": {}}]),
        f"{AT}.volumes[0].cloudInitNoCloud",
        f"{AT}.volumes[0].cloudInitNoCloud must have at least one userdatasource or one networkdatasource set.",
    ),
    (
        "an unknown eviction strategy",
        put("evictionStrategy", "Foo"),
        f"{AT}.evictionStrategy",
        f"{AT}.evictionStrategy is set with an unrecognized option: Foo",
    ),
    (
        "an unknown machine",
        put("domain.machine", {"type": "foo"}),
        f"{AT}.domain.machine.type",
        f"{AT}.domain.machine.type is not supported: foo (allowed values: [q35* pc-q35*])",
    ),
    (
        "secure boot without SMM",
        put("domain.firmware", {"bootloader": {"efi": {}}}),
        f"{AT}.domain",
        f"{AT}.domain has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.",
    ),
]


@pytest.mark.parametrize(
    ("change", "field", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_it_is_refused_with_its_field_and_message(
    empty_cluster: Any, make_vm: Any, change: Change, field: str, message: str
) -> None:
    vm = make_vm()
    change(vm, vm["spec"]["template"]["spec"])
    reply = empty_cluster.request("POST", VMS, vm)
    assert reply.status == 422, reply.body
    assert reply.body["reason"] == "Invalid"
    assert (
        reply.body["message"]
        == f'admission webhook "virtualmachine-validator.kubevirt.io" denied the request: {message}'
    )
    causes = [(cause["field"], cause["message"]) for cause in reply.body["details"]["causes"]]
    assert causes == [(field, message)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("hostname", 3),
            "json: cannot unmarshal number into Go struct field "
            "VirtualMachineSpec.template.spec.hostname of type string",
        ),
        (
            put("domain.cpu", {"cores": -1}),
            "json: cannot unmarshal number -1 into Go struct field "
            "VirtualMachineSpec.template.spec.domain.cpu.cores of type uint32",
        ),
        (
            put("domain.memory", {"guest": "1Gx"}),
            r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_what_does_not_fit_its_type_fails_in_the_mutating_webhook(
    empty_cluster: Any, make_vm: Any, change: Change, message: str
) -> None:
    vm = make_vm()
    change(vm, vm["spec"]["template"]["spec"])
    reply = empty_cluster.request("POST", VMS, vm)
    assert reply.status == 400, reply.body
    text = f'admission webhook "virtualmachines-mutator.kubevirt.io" denied the request: {message}'
    assert reply.body["message"] == text


def test_at_most_ten_causes_are_told(empty_cluster: Any, make_vm: Any) -> None:
    vm = make_vm()
    devices(vm["spec"]["template"]["spec"])["disks"] += [{"name": f"x{i}", "disk": {}} for i in range(15)]
    causes = empty_cluster.request("POST", VMS, vm).body["details"]["causes"]
    assert len(causes) == 10


def test_quantities_are_stored_in_their_canonical_form(empty_cluster: Any, make_vm: Any) -> None:
    reply = empty_cluster.request("POST", f"{VMS}?dryRun=All", make_vm(memory="1024Mi"))
    assert reply.body["spec"]["template"]["spec"]["domain"]["memory"] == {"guest": "1Gi"}


def test_a_dry_run_stores_nothing(empty_cluster: Any, make_vm: Any) -> None:
    assert empty_cluster.request("POST", f"{VMS}?dryRun=All", make_vm()).status == 201
    assert empty_cluster.request("GET", f"{VMS}/m").status == 404


def test_an_instances_spec_cannot_be_changed_by_users(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    vmi = cluster.request("GET", f"{VMIS}/m").body
    vmi["spec"]["domain"]["memory"]["guest"] = "2Gi"
    reply = cluster.request("PUT", f"{VMIS}/m", vmi)
    assert (reply.status, "update of VMI object is restricted" in reply.body["message"]) == (422, True)
    patch = {"metadata": {"labels": {"mine": "1"}}}
    reply = cluster.request("PATCH", f"{VMIS}/m", patch, content_type="application/merge-patch+json")
    assert reply.status == 200


def test_the_labels_of_kubevirt_are_its_own(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    patch = {"metadata": {"labels": {"kubevirt.io/nodeName": "elsewhere"}}}
    reply = cluster.request("PATCH", f"{VMIS}/m", patch, content_type="application/merge-patch+json")
    assert reply.status == 422
    assert "modification of the following reserved kubevirt.io/ labels" in reply.body["message"]


def test_an_instance_alone_needs_memory(empty_cluster: Any, make_vm: Any) -> None:
    vmi = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "alone"},
        "spec": make_vm(memory=None)["spec"]["template"]["spec"],
    }
    reply = empty_cluster.request("POST", VMIS, vmi)
    assert reply.status == 422
    [cause] = reply.body["details"]["causes"]
    assert cause["message"].startswith("no memory requested, at least one of 'spec.domain.memory.guest'")


def test_an_instance_alone_runs_and_stays_when_it_has_ended(cluster: Any, make_vm: Any) -> None:
    cluster.create(
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstance",
            "metadata": {"name": "m", "annotations": {"lab.vmkit.io/guest-exit": "30"}},
            "spec": make_vm()["spec"]["template"]["spec"],
        }
    )
    cluster.advance(4)
    assert cluster.vmi()["status"]["phase"] == "Running"
    assert cluster.instance_call("m", "pause", {}).status == 200
    assert cluster.condition(cluster.vmi(), "Paused")["status"] == "True"
    assert cluster.instance_call("m", "unpause", {}).status == 200
    cluster.advance(60)
    assert cluster.vmi()["status"]["phase"] == "Succeeded"
