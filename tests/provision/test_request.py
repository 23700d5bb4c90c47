"""What is asked for: counts, duplicates, fleets, and what a request changes in manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vmkit.errors import AnswerError, InvalidName, ManifestError, QuantityError, UsageError, VmkitError
from vmkit.provision.adjust import adjust_manifests, merge_answers
from vmkit.provision.catalog import Catalog
from vmkit.provision.cloudconfig import INLINE_LIMIT_BYTES, spill_cloud_init
from vmkit.provision.render import RenderContext, render_template
from vmkit.provision.request import CreateRequest, check_requests, expand_count, parse_fleet
from vmkit.provision.storage import StorageChoice

CATALOG = Catalog(project=Path("/nonexistent"), user=Path("/nonexistent"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample1 ada@example"


@pytest.mark.parametrize(
    ("name", "count", "names"),
    [
        ("web", 1, ["web"]),
        ("web", 3, ["web-1", "web-2", "web-3"]),
        ("web-1", 2, ["web-1", "web-2"]),
        ("web-08", 3, ["web-08", "web-09", "web-10"]),
        ("web-099", 2, ["web-099", "web-100"]),
    ],
)
def test_a_count_numbers_the_names(name: str, count: int, names: list[str]):
    requests = expand_count(CreateRequest(name, "debian"), count)
    assert [request.name for request in requests] == names
    assert [request.index for request in requests] == list(range(count))


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_count_that_cannot_be_is_refused(count: int):
    with pytest.raises(UsageError):
        expand_count(CreateRequest("web", "debian"), count)


@pytest.mark.parametrize(
    ("requests", "error"),
    [
        ([CreateRequest("Web", "t")], InvalidName),
        ([CreateRequest("a" * 64, "t")], InvalidName),
        ([CreateRequest("a", "t"), CreateRequest("a", "u")], UsageError),
        ([CreateRequest("a", "t"), CreateRequest("a", "t", namespace="default")], UsageError),
        ([CreateRequest("a", "t", namespace="Not")], UsageError),
        ([CreateRequest("a", "t", disks={"data": "10GB"})], QuantityError),
        ([CreateRequest("a", "t", disks={"data": "100"})], UsageError),
        ([CreateRequest("a", "t", disks={"Data": "1Gi"})], UsageError),
    ],
)
def test_what_cannot_be_created_is_refused_before_anything_is_sent(
    requests: list[CreateRequest], error: type[VmkitError]
):
    with pytest.raises(error):
        check_requests(requests, default_namespace="default")


def test_one_name_in_two_namespaces_is_two_vms():
    check_requests([CreateRequest("a", "t"), CreateRequest("a", "t", namespace="b")], default_namespace="c")


FLEET = f"""apiVersion: vmkit.io/v1
kind: Fleet
defaults:
  template: debian
  namespace: prod
  set: {{cpu: 2, memory: 4Gi}}
  ssh_keys: ["{KEY}"]
vms:
  - name: web
    count: 2
  - name: db
    template: database
    namespace: data
    set: {{cpu: 8}}
    disks: {{data: 100Gi}}
"""


def test_a_fleet_gives_each_vm_its_own_and_the_defaults():
    web1, web2, db = parse_fleet(FLEET)
    assert (web1.name, web2.name, db.name) == ("web-1", "web-2", "db")
    assert (web1.template, web1.namespace, web1.answers) == ("debian", "prod", {"cpu": 2, "memory": "4Gi"})
    assert (db.template, db.namespace, db.answers) == ("database", "data", {"cpu": 8, "memory": "4Gi"})
    assert db.disks == {"data": "100Gi"}
    assert db.ssh_keys == (KEY,)
    assert [request.index for request in (web1, web2, db)] == [0, 1, 2]


def test_a_template_beside_the_fleet_is_found_from_anywhere():
    text = "apiVersion: vmkit.io/v1\nkind: Fleet\nvms:\n  - {name: a, template: ./own.yaml}\n"
    assert parse_fleet(text, base=Path("/srv/fleet"))[0].template == "/srv/fleet/own.yaml"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: Fleet", "kind: Flotte", 1, "not a fleet"),
        ("name: web", "name: Web_1", 9, "cannot name a VM"),
        ("count: 2", "count: none", 10, "count"),
        ("count: 2", "cout: 2", 10, "unknown key 'cout'"),
        ("  template: debian\n", "", 8, "names no template"),
        ("disks: {data: 100Gi}", "disks: {data: 100GB}", 11, "not a quantity"),
        ("disks: {data: 100Gi}", "disks: {data: 100}", 15, "has to be a text"),
        ("disks: {data: 100Gi}", "disks: big", 15, "has to be a mapping"),
        ("namespace: data", "namespace: 7", 13, "has to be a text"),
        ("vms:", "machines:", 8, "unknown key 'machines'"),
    ],
)
def test_a_mistake_in_a_fleet_has_its_line(old: str, new: str, line: int, words: str):
    with pytest.raises(ManifestError) as caught:
        parse_fleet(FLEET.replace(old, new, 1), where="fleet.yaml")
    assert words in caught.value.message
    assert (caught.value.where, caught.value.line) == ("fleet.yaml", line)


# --- what a request changes --------------------------------------------------------------------------------------


def manifests_of(request: CreateRequest, storage: StorageChoice | None = None) -> list[dict[str, Any]]:
    template = CATALOG.find(request.template)
    context = RenderContext(request.name, "prod", storage=storage)
    rendered = render_template(template, merge_answers(template, request), context)
    adjust_manifests(rendered.manifests, request, template, storage)
    return rendered.manifests


def test_a_disk_the_vm_has_gets_its_size_and_any_other_is_added_blank():
    request = CreateRequest("web-1", "debian", disks={"root": "50Gi", "data": "100Gi"})
    vm = manifests_of(request, StorageChoice("block", ("ReadWriteMany",), "Block"))[0]
    root, data = vm["spec"]["dataVolumeTemplates"]
    assert root["spec"]["storage"]["resources"] == {"requests": {"storage": "50Gi"}}
    assert data == {
        "metadata": {"name": "web-1-data"},
        "spec": {
            "source": {"blank": {}},
            "storage": {
                "storageClassName": "block",
                "accessModes": ["ReadWriteMany"],
                "volumeMode": "Block",
                "resources": {"requests": {"storage": "100Gi"}},
            },
        },
    }
    assert vm["spec"]["template"]["spec"]["volumes"][-1] == {"name": "data", "dataVolume": {"name": "web-1-data"}}
    assert vm["spec"]["template"]["spec"]["domain"]["devices"]["disks"][-1]["name"] == "data"


def test_a_disk_beside_the_vm_gets_its_size_too():
    request = CreateRequest("db", "database", answers={"password": "long enough"}, disks={"data": "1Ti"})
    volume = next(m for m in manifests_of(request) if m["kind"] == "DataVolume")
    assert volume["spec"]["storage"]["resources"] == {"requests": {"storage": "1Ti"}}


def test_a_disk_without_a_size_cannot_get_one():
    with pytest.raises(AnswerError, match="cloudinit"):
        manifests_of(CreateRequest("web-1", "debian", disks={"cloudinit": "1Gi"}))


def test_an_instancetype_takes_the_place_of_cpu_and_memory():
    vm = manifests_of(CreateRequest("a", "debian", instancetype="u1.small", preference="namespaced/mine"))[0]
    assert vm["spec"]["instancetype"] == {"kind": "VirtualMachineClusterInstancetype", "name": "u1.small"}
    assert vm["spec"]["preference"] == {"kind": "VirtualMachinePreference", "name": "mine"}
    assert not {"cpu", "memory"} & set(vm["spec"]["template"]["spec"]["domain"])
    with pytest.raises(AnswerError, match="beside an instancetype"):
        manifests_of(CreateRequest("a", "debian", {}, instancetype="u1.small", answers={"cpu": 4}))


def test_ssh_keys_reach_the_parameter_that_takes_them():
    template = CATALOG.find("debian")
    assert merge_answers(template, CreateRequest("a", "debian", ssh_keys=(KEY,)))["ssh_keys"] == [KEY]
    both = CreateRequest("a", "debian", answers={"ssh_keys": KEY}, ssh_keys=(KEY, "other"))
    assert merge_answers(template, both)["ssh_keys"] == [KEY, "other"]
    with pytest.raises(AnswerError, match="takes no SSH keys"):
        merge_answers(CATALOG.find("rook-block"), CreateRequest("a", "rook-block", ssh_keys=(KEY,)))


def test_a_template_without_a_vm_takes_no_disks():
    with pytest.raises(AnswerError, match="makes no VM"):
        manifests_of(CreateRequest("a", "rook-block", disks={"data": "1Gi"}))


# --- cloud-init --------------------------------------------------------------------------------------------------


def vm_with(**source: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {"template": {"spec": {"volumes": [{"name": "c", "cloudInitNoCloud": dict(source)}]}}},
    }


def test_cloud_init_of_exactly_the_limit_stays_and_one_byte_more_moves():
    vm = vm_with(userData="é" * (INLINE_LIMIT_BYTES // 2))
    assert spill_cloud_init(vm) is None
    vm = vm_with(userData="é" * (INLINE_LIMIT_BYTES // 2) + "x")
    secret = spill_cloud_init(vm)
    assert secret is not None
    assert list(secret["data"]) == ["userdata"]
    source = vm["spec"]["template"]["spec"]["volumes"][0]["cloudInitNoCloud"]
    assert source == {"secretRef": {"name": "a-cloudinit"}}


def test_network_data_moves_by_itself():
    secret = spill_cloud_init(vm := vm_with(userData="short", networkData="n" * 3000))
    assert secret is not None
    assert list(secret["data"]) == ["networkdata"]
    assert vm["spec"]["template"]["spec"]["volumes"][0]["cloudInitNoCloud"]["userData"] == "short"


def test_cloud_init_that_holds_a_secret_moves_however_short():
    assert spill_cloud_init(vm_with(userData="password: hunter2"), secret_texts=("hunter2",)) is not None
