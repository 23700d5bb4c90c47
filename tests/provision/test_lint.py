"""Lint: every rule fires on what it is about, and on nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmkit.provision.lint import ClassFacts, Severity, Surroundings, all_rules, lint_manifests, lint_template
from vmkit.provision.lint.run import lint_documents
from vmkit.provision.loader import parse_template
from vmkit.provision.yamlread import read_documents

ROOT = Path(__file__).parent.parent.parent

GOOD: dict[str, Any] = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "web-1", "namespace": "prod"},
    "spec": {
        "runStrategy": "Always",
        "dataVolumeTemplates": [
            {
                "metadata": {"name": "web-1-root"},
                "spec": {
                    "source": {"registry": {"url": "docker://r/x"}},
                    "storage": {
                        "storageClassName": "rook-ceph-block",
                        "accessModes": ["ReadWriteMany"],
                        "volumeMode": "Block",
                        "resources": {"requests": {"storage": "20Gi"}},
                    },
                },
            }
        ],
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "domain": {
                    "cpu": {"sockets": 2},
                    "memory": {"guest": "2Gi"},
                    "devices": {
                        "disks": [
                            {"name": "root", "bootOrder": 1, "disk": {"bus": "virtio"}},
                            {"name": "cloudinit", "disk": {"bus": "virtio"}},
                        ],
                        "interfaces": [{"name": "default", "masquerade": {}, "macAddress": "02:00:00:00:00:01"}],
                    },
                },
                "networks": [{"name": "default", "pod": {}}],
                "evictionStrategy": "LiveMigrateIfPossible",
                "terminationGracePeriodSeconds": 180,
                "volumes": [
                    {"name": "root", "dataVolume": {"name": "web-1-root"}},
                    {
                        "name": "cloudinit",
                        "cloudInitNoCloud": {"userData": "#cloud-config\npackages: [guest-agent]\n"},
                    },
                ],
            },
        },
    },
}

Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def guest(vm: dict[str, Any]) -> dict[str, Any]:
    return vm["spec"]["template"]["spec"]


def storage(vm: dict[str, Any]) -> dict[str, Any]:
    return vm["spec"]["dataVolumeTemplates"][0]["spec"]


CASES: dict[str, Change] = {
    "disk-without-volume": lambda vm, g: g["volumes"].pop(1),
    "volume-without-disk": lambda vm, g: g["domain"]["devices"]["disks"].pop(1),
    "duplicate-disk": lambda vm, g: g["domain"]["devices"]["disks"].append({"name": "root"}),
    "duplicate-volume": lambda vm, g: g["volumes"].append({"name": "root", "emptyDisk": {"capacity": "1Gi"}}),
    "volume-source": lambda vm, g: g["volumes"][0].pop("dataVolume"),
    "disk-target": lambda vm, g: g["domain"]["devices"]["disks"][0].update(cdrom={"bus": "virtio"}),
    "boot-order": lambda vm, g: g["domain"]["devices"]["interfaces"][0].update(bootOrder=1),
    "slow-disk-bus": lambda vm, g: g["domain"]["devices"]["disks"][0]["disk"].update(bus="sata"),
    "ephemeral-disk": lambda vm, g: g["volumes"].__setitem__(0, {"name": "root", "containerDisk": {"image": "x"}}),
    "interface-without-network": lambda vm, g: g["networks"].clear(),
    "interface-binding": lambda vm, g: g["domain"]["devices"]["interfaces"][0].update(bridge={}),
    "interface-shape": lambda vm, g: g["domain"]["devices"]["interfaces"][0].update(macAddress="zz"),
    "network-source": lambda vm, g: g["networks"][0].update(multus={"networkName": "x"}),
    "bridge-on-pod-network": lambda vm, g: g["domain"]["devices"].update(
        interfaces=[{"name": "default", "bridge": {}, "macAddress": "02:00:00:00:00:01"}]
    ),
    "mac-not-pinned": lambda vm, g: g["domain"]["devices"]["interfaces"][0].pop("macAddress"),
    "no-template": lambda vm, g: g.pop("domain"),
    "run-strategy": lambda vm, g: vm["spec"].update(runStrategy="Sometimes"),
    "running-deprecated": lambda vm, g: (vm["spec"].pop("runStrategy"), vm["spec"].update(running=True)),
    "size-with-instancetype": lambda vm, g: vm["spec"].update(instancetype={"name": "u1.small"}),
    "no-memory": lambda vm, g: g["domain"].pop("memory"),
    "quantity": lambda vm, g: g["domain"]["memory"].update(guest="2GB"),
    "cpu-count": lambda vm, g: g["domain"]["cpu"].update(maxSockets=-1),
    "secure-boot": lambda vm, g: g["domain"].update(firmware={"bootloader": {"efi": {}}}),
    "cloud-init-too-long": lambda vm, g: g["volumes"][1]["cloudInitNoCloud"].update(userData="x" * 2049),
    "cloud-init-source": lambda vm, g: g["volumes"][1].update(cloudInitNoCloud={}),
    "cloud-init-password": lambda vm, g: g["volumes"][1]["cloudInitNoCloud"].update(
        userData="#cloud-config\npassword: x\n"
    ),
    "no-guest-agent": lambda vm, g: g["volumes"][1]["cloudInitNoCloud"].update(userData="#cloud-config\n"),
    "access-credentials": lambda vm, g: g.update(accessCredentials=[{"sshPublicKey": {"propagationMethod": {}}}]),
    "short-grace": lambda vm, g: g.update(terminationGracePeriodSeconds=30),
    "eviction-strategy": lambda vm, g: g.update(evictionStrategy="Sometimes"),
    "eviction-unset": lambda vm, g: g.pop("evictionStrategy"),
    "name-too-long": lambda vm, g: vm["metadata"].update(name="n" * 64),
    "hostname": lambda vm, g: g.update(hostname="Not_A_Name"),
    "reserved-label": lambda vm, g: vm["spec"]["template"]["metadata"].update(
        labels={"kubevirt.io/nodeName": "n"}
    ),
    "label-value": lambda vm, g: vm["metadata"].update(labels={"count": 5}),
    "live-pause-probe": lambda vm, g: g.update(livenessProbe={"tcpSocket": {"port": 1}}),
    "instancetype-matcher": lambda vm, g: vm["spec"].update(preference={}),
    "unknown-field": lambda vm, g: g["domain"].update(turbo=True),
    "rbd-rwx-filesystem": lambda vm, g: storage(vm)["storage"].update(volumeMode="Filesystem"),
    "claim-size": lambda vm, g: storage(vm)["storage"]["resources"]["requests"].update(storage="20"),
    "claim-modes": lambda vm, g: storage(vm)["storage"].update(accessModes=["Everything"]),
    "data-volume-source": lambda vm, g: storage(vm).update(sourceRef={"kind": "DataSource", "name": "x"}),
    "data-volume-template": lambda vm, g: vm["spec"]["dataVolumeTemplates"][0]["metadata"].update(name="other"),
    "data-volume-name": lambda vm, g: g["volumes"].__setitem__(0, {"name": "root", "dataVolume": {}}),
    "not-migratable": lambda vm, g: (
        g.update(evictionStrategy="LiveMigrate"), storage(vm)["storage"].update(accessModes=["ReadWriteOnce"]),
    ),
    "windows-on-rbd": lambda vm, g: vm["spec"].update(preference={"name": "windows.2k25"}),
    "pvc-verbatim": lambda vm, g: storage(vm).update(pvc=storage(vm).pop("storage")),
}  # fmt: skip

OTHER_KINDS: dict[str, dict[str, Any]] = {
    "rbd-class-features": {
        "kind": "StorageClass", "metadata": {"name": "x"}, "provisioner": "a.rbd.csi.ceph.com",
        "parameters": {"imageFeatures": "layering"}, "allowVolumeExpansion": True,
    },
    "one-replica": {"kind": "CephBlockPool", "metadata": {"name": "x"}, "spec": {"replicated": {"size": 1}}},
}  # fmt: skip


def rules_of(*manifests: dict[str, Any], surroundings: Surroundings | None = None) -> set[str]:
    return {finding.rule for finding in lint_manifests(manifests, surroundings)}


def test_a_good_vm_has_no_findings():
    assert lint_manifests([GOOD]) == []


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_what_it_is_about(rule: str):
    vm = copy.deepcopy(GOOD)
    CASES[rule](vm, guest(vm))
    findings = [finding for finding in lint_manifests([vm]) if finding.rule == rule]
    assert findings
    assert all(finding.text and finding.remedy and finding.path for finding in findings)


@pytest.mark.parametrize("rule", OTHER_KINDS)
def test_a_rule_about_another_kind_finds_what_it_is_about(rule: str):
    assert rule in rules_of(OTHER_KINDS[rule])


def test_the_snapshot_class_needs_the_driver_of_a_class_beside_it():
    snapshot = {"kind": "VolumeSnapshotClass", "metadata": {"name": "s"}, "driver": "other"}
    assert "snapshot-class-driver" in rules_of(snapshot, OTHER_KINDS["rbd-class-features"])
    assert "snapshot-class-driver" not in rules_of(snapshot)


def test_every_rule_about_manifests_has_a_case():
    tested = {*CASES, *OTHER_KINDS, "snapshot-class-driver"}
    assert tested == {rule for rule, _, _, source in all_rules() if source != "vmkit"}


def test_the_documentation_lists_every_rule_with_its_severity():
    text = (ROOT / "docs" / "lint.md").read_text()
    for rule, severity, title, _ in all_rules():
        assert f"| `{rule}` | {severity} | {title} |" in text


def test_a_class_that_is_known_decides_what_is_rbd():
    vm = copy.deepcopy(GOOD)
    storage(vm)["storage"].update(volumeMode="Filesystem", storageClassName="shared")
    rbd = Surroundings({"shared": ClassFacts("x.rbd.csi.ceph.com")})
    nfs = Surroundings({"shared": ClassFacts("nfs.csi.k8s.io")})
    assert "rbd-rwx-filesystem" in rules_of(vm, surroundings=rbd)
    assert "rbd-rwx-filesystem" not in rules_of(vm, surroundings=nfs)


def test_windows_on_a_class_with_rxbounce_is_fine():
    vm = copy.deepcopy(GOOD)
    vm["spec"]["preference"] = {"name": "windows.2k25"}
    facts = Surroundings({"rook-ceph-block": ClassFacts("a.rbd.csi.ceph.com", {"mapOptions": "krbd:rxbounce"})})
    assert "windows-on-rbd" not in rules_of(vm, surroundings=facts)


@pytest.mark.parametrize("broken", [None, 5, "x", [], {}, [None], {"a": None}])
@pytest.mark.parametrize(
    "path", ["metadata", "spec", "spec.template", "spec.template.spec", "spec.template.spec.volumes",
             "spec.template.spec.domain.devices", "spec.template.spec.domain.devices.disks",
             "spec.dataVolumeTemplates", "spec.template.spec.networks", "spec.template.spec.domain.cpu"],
)  # fmt: skip
def test_a_part_of_the_wrong_type_stops_no_rule(path: str, broken: Any):
    vm = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    parent: Any = vm
    for key in parents:
        parent = parent[key]
    parent[last] = broken
    lint_manifests([vm])


ADMISSION = json.loads((ROOT / "tests" / "data" / "admission.json").read_text())


@pytest.mark.parametrize("case", ADMISSION, ids=lambda case: case["step"])
def test_what_kubevirts_admission_refused_is_an_error_and_what_it_took_is_not(case: dict[str, Any]):
    errors = [f for f in lint_manifests([case["body"]]) if f.severity is Severity.ERROR]
    # Without memory the VM is taken and its instance refused: that is an error as well.
    refused = case["status"] >= 400 or case["step"] == "no memory"
    assert bool(errors) == refused, errors


def test_findings_of_a_file_have_its_lines():
    text = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: x\nspec:\n  runStrategy: Never\n"
    findings = lint_documents(read_documents(text, where="vm.yaml"), "vm.yaml")
    lines = {finding.rule: finding.line for finding in findings}
    assert lines["run-strategy"] == 6
    assert lint_documents(read_documents("a: 1\n", where="x"), "x")[0].severity is Severity.ERROR


# --- templates ---------------------------------------------------------------------------------------------------

HEAD = "apiVersion: vmkit.io/v1\nkind: Template\nname: t\ntitle: T\n"
BODY = (
    "objects:\n  - name: c\n    body: |\n      apiVersion: v1\n      kind: ConfigMap\n      metadata:\n"
    "        name: {}\n"
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (HEAD + "parameters:\n  - {name: unused, help: h, default: a}\n" + BODY.format("x"), "parameter-unused"),
        (HEAD + "parameters:\n  - {name: p, default: a}\n" + BODY.format("{{ p }}"), "parameter-without-help"),
        (HEAD + "parameters:\n  - {name: db_password, help: h, default: a}\n" + BODY.format("{{ db_password }}"),
         "plain-secret"),
        (HEAD + "parameters:\n  - {name: p, help: h, pattern: 'x+'}\n" + BODY.format("{{ p }}"), "no-example"),
        (HEAD + BODY.format("{{ nope }}"), "does-not-render"),
        (HEAD + BODY.format("{{ name | bytes }}"), "does-not-render"),
        (HEAD + "objects:\n  - name: vm\n    body: |\n      apiVersion: kubevirt.io/v1\n"
         "      kind: VirtualMachine\n      metadata: {name: fixed}\n      spec: {}\n", "fixed-name"),
    ],
)  # fmt: skip
def test_a_rule_about_templates_finds_what_it_is_about(text: str, rule: str):
    assert rule in {finding.rule for finding in lint_template(parse_template(text))}


def test_lint_goes_through_every_choice():
    body = (
        "objects:\n  - name: vm\n    body: |\n      apiVersion: kubevirt.io/v1\n      kind: VirtualMachine\n"
        "      metadata:\n        name: {{ name }}\n      spec:\n        runStrategy: {{ s }}\n"
    )
    text = (
        HEAD + "parameters:\n  - {name: s, type: choice, choices: [Always, Sometimes], default: Always, help: h}\n"
    )
    assert "run-strategy" in {finding.rule for finding in lint_template(parse_template(text + body))}
