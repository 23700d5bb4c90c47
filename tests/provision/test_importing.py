"""Import: what people have becomes a template that renders to the same."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import ManifestError
from vmkit.provision.importing import import_manifest
from vmkit.provision.lint import Severity, lint_template
from vmkit.provision.loader import parse_template
from vmkit.provision.parameters import ParameterType
from vmkit.provision.render import RenderContext, render_template
from vmkit.provision.storage import StorageChoice

CONTEXT = RenderContext("new-1", "prod", storage=StorageChoice("here"))
RECORDED = json.loads((Path(__file__).parent.parent / "data" / "vm-from-server.json").read_text())

USER_DATA = '#cloud-config\npassword: ${PASSWORD}\nx: "{{ y }} {% z \\n ${MOTD}"\n'
VMT: dict[str, Any] = {
    "apiVersion": "template.kubevirt.io/v1beta1",
    "kind": "VirtualMachineTemplate",
    "metadata": {"name": "Fedora Large"},
    "spec": {
        "parameters": [
            {"name": "NAME", "required": True},
            {"name": "CORES", "value": "2", "description": "How many"},
            {"name": "MEMORY", "value": "4Gi"},
            {"name": "PASSWORD", "generate": "expression", "from": "[a-z]{8}"},
            {"name": "MOTD", "value": "hi"},
        ],
        "message": "connect to ${NAME}",
        "virtualMachine": {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": "${NAME}", "namespace": "elsewhere", "labels": {"of-${MOTD}": "x-${MOTD}"}},
            "spec": {
                "runStrategy": "Always",
                "template": {
                    "spec": {
                        "domain": {
                            "cpu": {"cores": "${{CORES}}"},
                            "memory": {"guest": "${MEMORY}"},
                            "devices": {"disks": [{"name": "c", "disk": {"bus": "virtio"}}]},
                        },
                        "terminationGracePeriodSeconds": 180,
                        "volumes": [
                            {
                                "name": "c",
                                "cloudInitNoCloud": {"userData": USER_DATA},
                            }
                        ],
                    }
                },
            },
        },
    },
}


def test_a_virtual_machine_template_becomes_a_template():
    imported = import_manifest(VMT, where="x")
    template = parse_template(imported.text)
    assert template.name == "fedora-large"
    assert [(p.name, p.type, p.required, p.secret) for p in template.parameters] == [
        ("cores", ParameterType.INTEGER, False, False), ("memory", ParameterType.QUANTITY, False, False),
        ("password", ParameterType.STRING, True, True), ("motd", ParameterType.STRING, False, False),
    ]  # fmt: skip
    vm = render_template(template, {"password": "pw", "cores": 8}, CONTEXT).manifests[0]
    assert vm["metadata"] == {"name": "new-1", "namespace": "prod", "labels": {"of-hi": "x-hi"}}
    guest = vm["spec"]["template"]["spec"]
    assert guest["domain"]["cpu"] == {"cores": 8}
    assert guest["domain"]["memory"] == {"guest": "4Gi"}
    user_data = guest["volumes"][0]["cloudInitNoCloud"]["userData"]
    assert user_data == '#cloud-config\npassword: pw\nx: "{{ y }} {% z \\n hi"\n'
    assert any("PASSWORD" in notice for notice in imported.notices)


def test_a_template_of_openshift_becomes_a_template():
    manifest = {
        "apiVersion": "template.openshift.io/v1", "kind": "Template", "metadata": {"name": "app"},
        "parameters": [{"name": "VM", "required": True}, {"name": "PORT", "value": "80"}],
        "objects": [
            copy.deepcopy(VMT["spec"]["virtualMachine"])
            | {"metadata": {"name": "${VM}"}, "spec": {"running": True}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "${VM}"}, "spec": {"port": "${{PORT}}"}},
        ],
    }  # fmt: skip
    template = parse_template(import_manifest(manifest, where="x").text)
    manifests = render_template(template, {}, CONTEXT).manifests
    assert {m["kind"]: m["metadata"]["name"] for m in manifests} == {"VirtualMachine": "new-1", "Service": "new-1"}
    assert next(m for m in manifests if m["kind"] == "Service")["spec"] == {"port": 80}


def test_a_vm_as_the_server_gives_it_becomes_a_template_without_what_the_server_filled_in():
    imported = import_manifest(RECORDED, where="x")
    for word in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "status", "firmware", "observed"):
        assert f"{word}:" not in imported.text
    template = parse_template(imported.text)
    vm = render_template(template, {"memory": "8Gi"}, CONTEXT).manifests[0]
    assert vm["metadata"]["name"] == "new-1"
    assert vm["spec"]["template"]["spec"]["domain"]["memory"] == {"guest": "8Gi"}
    assert vm["spec"]["template"]["spec"]["volumes"] == RECORDED["spec"]["template"]["spec"]["volumes"]
    assert [f for f in lint_template(template) if f.severity is Severity.ERROR] == []


def test_names_disks_sizes_and_classes_of_a_vm_follow_the_new_one():
    vm = copy.deepcopy(RECORDED)
    vm["spec"]["dataVolumeTemplates"] = [
        {"metadata": {"name": "sa-root", "creationTimestamp": None}, "spec": {
            "source": {"registry": {"url": "docker://r/x"}},
            "storage": {"storageClassName": "there", "resources": {"requests": {"storage": "20Gi"}}},
        }}
    ]  # fmt: skip
    vm["spec"]["template"]["spec"]["volumes"][0] = {"name": "root", "dataVolume": {"name": "sa-root"}}
    template = parse_template(import_manifest(vm, where="x").text)
    made = render_template(template, {"root_size": "40Gi"}, CONTEXT).manifests[0]
    disk = made["spec"]["dataVolumeTemplates"][0]
    assert disk["metadata"] == {"name": "new-1-root"}
    assert disk["spec"]["storage"] == {"storageClassName": "here", "resources": {"requests": {"storage": "40Gi"}}}
    assert made["spec"]["template"]["spec"]["volumes"][0]["dataVolume"] == {"name": "new-1-root"}


@given(st.text())
def test_any_text_of_a_vm_is_carried_over_exactly(text: str):
    vm = copy.deepcopy(RECORDED)
    vm["metadata"]["annotations"] = {"note": text}
    vm["spec"]["template"]["metadata"]["annotations"] = {"note": f"a\n{text}"}
    made = render_template(parse_template(import_manifest(vm, where="x").text), {}, CONTEXT).manifests[0]
    assert made["metadata"]["annotations"]["note"] in (text, "new-1")
    assert made["spec"]["template"]["metadata"]["annotations"]["note"] == f"a\n{text}"


@pytest.mark.parametrize(
    "manifest",
    [
        {"apiVersion": "v1", "kind": "Secret"},
        {},
        {"apiVersion": "template.kubevirt.io/v1beta1", "kind": "VirtualMachineTemplate"},
        {"apiVersion": "template.openshift.io/v1", "kind": "Template", "objects": []},
        {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "x"}},
    ],
)
def test_what_cannot_be_imported_says_so(manifest: dict[str, Any]):
    with pytest.raises(ManifestError):
        import_manifest(manifest, where="x")


def test_a_reference_to_no_parameter_is_an_error():
    vmt = copy.deepcopy(VMT)
    vmt["spec"]["virtualMachine"]["spec"]["x"] = "${MISSING}"
    with pytest.raises(ManifestError, match="MISSING"):
        import_manifest(vmt, where="x")
