from tests.lab.wire import Wire
from vmkit.lab import Lab

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def groups_of(wire, role):
    return {group for rule in wire.get(f"{ROLES}/{role}").body["rules"] for group in rule["apiGroups"]}


def test_roles_for_people_hold_what_others_add_to_them_and_lose_it_again():
    with Lab(frozen=True) as lab:
        wire = Wire(lab)
        lab.settle()
        assert {"", "apps", "kubevirt.io", "subresources.kubevirt.io"} <= groups_of(wire, "view")
        assert groups_of(wire, "view") <= groups_of(wire, "edit") <= groups_of(wire, "admin")
        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        rule = {"apiGroups": ["example.org"], "resources": ["things"], "verbs": ["get"]}
        assert wire.post(ROLES, {"metadata": {"name": "things", "labels": label}, "rules": [rule]}).status == 201
        lab.settle()
        assert "example.org" in groups_of(wire, "admin")
        assert wire.delete(f"{ROLES}/things").status == 200
        lab.settle()
        assert "example.org" not in groups_of(wire, "view")
        assert lab.call(lambda: lab.world.context.failures) == []
