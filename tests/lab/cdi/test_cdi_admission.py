import pytest

from tests.lab.storage_world import ADMIN, World, size
from vmkit.lab.access.users import User
from vmkit.lab.cdi.admission import find_cron_causes, find_data_volume_causes
from vmkit.lab.status import ApiError

PVC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
HTTP = {"source": {"http": {"url": "https://x/y"}}}


@pytest.mark.parametrize(
    ("spec", "message", "field"),
    [
        ({**HTTP}, "Missing Data volume PVC", "spec.PVC"),
        (
            {**HTTP, "pvc": PVC, "storage": size()},
            "Duplicate storage definition, both target storage and target pvc defined",
            "spec.PVC.Storage",
        ),
        ({**HTTP, "storage": {}}, "Storage size is missing", "spec.Storage.resources.requests.size"),
        (
            {**HTTP, "storage": size("0")},
            "Storage size can't be equal or less than zero",
            "spec.Storage.resources.requests.size",
        ),
        (
            {**HTTP, "storage": size("1000")},
            "Storage size should be at least 1MiB",
            "spec.Storage.resources.requests.size",
        ),
        (
            {**HTTP, "pvc": {**PVC, "accessModes": []}},
            "Required value: at least 1 access mode is required",
            "spec.PVC.accessModes",
        ),
        (
            {**HTTP, "pvc": {**PVC, "accessModes": ["ReadWriteOnce", "ReadWriteMany"]}},
            "PVC multiple accessModes",
            "spec.PVC.accessModes",
        ),
        (
            {"storage": size()},
            "Data volume should have either Source or SourceRef, or be externally populated",
            "spec.source",
        ),
        ({"source": {}, "storage": size()}, "Missing Data volume source", "spec.source"),
        (
            {"source": {"blank": {}, "upload": {}}, "storage": size()},
            "Multiple Data volume sources",
            "spec.source",
        ),
        (
            {"source": {"http": {"url": "ftp://x"}}, "storage": size()},
            "spec.source Invalid source URL scheme: ftp://x",
            "spec.source.HTTP.url",
        ),
        (
            {"source": {"http": {"url": ""}}, "storage": size()},
            "spec.source source URL is empty",
            "spec.source.HTTP.url",
        ),
        (
            {"sourceRef": {"kind": "ConfigMap", "name": "x"}, "storage": {}},
            "Unsupported sourceRef kind ConfigMap, currently only DataSource is supported",
            "spec.sourceRef.Kind",
        ),
        ({"sourceRef": {"kind": "DataSource"}, "storage": {}}, "Missing sourceRef name", "spec.sourceRef.Name"),
        (
            {**HTTP, "storage": {**size(), "dataSource": {"kind": "VolumeSnapshot", "name": "s"}}},
            "External population is incompatible with Source and SourceRef",
            "spec.source",
        ),
        (
            {"source": {"blank": {}}, "contentType": "archive", "storage": size()},
            "SourceType cannot be blank and the contentType be archive",
            "spec.contentType",
        ),
        (
            {"source": {"registry": {"url": "https://x"}}, "storage": size()},
            "Illegal registry source URL scheme https://x",
            "spec.source.Registry.URL",
        ),
    ],
)
def test_a_data_volume_that_cdi_refuses(spec, message, field):
    causes = find_data_volume_causes("dv", spec)
    assert [(cause.message, cause.field) for cause in causes] == [(message, field)]


@pytest.mark.parametrize(
    "spec",
    [
        {**HTTP, "storage": size()},
        {"source": {"pvc": {"namespace": "a", "name": "b"}}, "storage": {}},
        {"sourceRef": {"kind": "DataSource", "name": "x"}, "storage": {}},
        {"source": {"registry": {"url": "docker://x"}}, "pvc": PVC},
        {"storage": {**size(), "dataSource": {"kind": "VolumeSnapshot", "name": "s"}}},
    ],
)
def test_a_data_volume_that_cdi_takes(spec):
    assert find_data_volume_causes("dv", spec) == []


def test_a_name_longer_than_kubernetes_allows_is_refused():
    (cause,) = find_data_volume_causes("x" * 254, {})
    assert cause.message == "Name cannot be longer than 253 characters"


def test_a_refusal_reads_like_the_api_servers():
    world = World()
    with pytest.raises(ApiError) as caught:
        world.data_volume("bad", {"storage": size()})
    assert caught.value.code == 422
    assert caught.value.message == (
        'admission webhook "datavolume-validate.cdi.kubevirt.io" denied the request: '
        "Data volume should have either Source or SourceRef, or be externally populated"
    )


def test_the_spec_of_a_data_volume_cannot_be_changed():
    world = World()
    made = world.data_volume("dv", {"source": {"blank": {}}, "storage": size()})
    changed = {**made, "spec": {**made["spec"], "storage": size("20Gi")}}
    with pytest.raises(ApiError, match="Cannot update DataVolume Spec"):
        world.admit("UPDATE", changed, made)
    labelled = {**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}}
    world.admit("UPDATE", labelled, made)


def test_a_claim_of_the_same_name_is_in_the_way():
    world = World()
    world.claim("disk", {**PVC, "storageClassName": "rook-ceph-block"})
    with pytest.raises(ApiError, match="Destination PVC a/disk already exists"):
        world.data_volume("disk", {"source": {"blank": {}}, "storage": size()})


def clone_of(namespace):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "copy", "namespace": "a"},
        "spec": {"source": {"pvc": {"namespace": namespace, "name": "gold"}}, "storage": {}},
    }


def test_cloning_from_another_namespace_needs_the_right_to():
    world = World()
    world.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "images"}})
    user = User("dana", groups=("system:authenticated",))
    with pytest.raises(ApiError) as caught:
        world.admit("CREATE", clone_of("images"), user=user)
    assert caught.value.code == 403
    assert "insufficient permissions in clone source namespace images" in caught.value.message
    world.make(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "cloner", "namespace": "images"},
            "rules": [
                {"apiGroups": ["cdi.kubevirt.io"], "resources": ["datavolumes/source"], "verbs": ["create"]}
            ],
        }
    )
    world.make(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "cloner", "namespace": "images"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cloner"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dana"}],
        }
    )
    world.admit("CREATE", clone_of("images"), user=user)


def test_cloning_within_a_namespace_needs_no_further_right():
    world = World()
    world.admit("CREATE", clone_of("a"), user=User("dana"))
    world.admit("CREATE", clone_of("elsewhere"), user=ADMIN)


CRON = {
    "schedule": "0 3 * * *",
    "managedDataSource": "debian",
    "template": {"spec": {"source": {"registry": {"url": "docker://x"}}, "storage": size()}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "often"}, "Illegal cron schedule"),
        ({"importsToKeep": -1}, "Illegal ImportsToKeep value"),
        ({"garbageCollect": "Sometimes"}, "Illegal GarbageCollect value"),
        ({"managedDataSource": ""}, "Illegal ManagedDataSource value"),
        ({"template": {"spec": {"source": {"blank": {}}, "storage": size()}}}, "Missing registry source"),
        ({"template": {"spec": {"source": {"registry": {"url": "docker://x"}}}}}, "Missing Data volume PVC"),
    ],
)
def test_a_cron_that_cdi_refuses(change, message):
    assert find_cron_causes("c", CRON) == []
    (cause,) = find_cron_causes("c", {**CRON, **change})
    assert cause.message.startswith(message)
