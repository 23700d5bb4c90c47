"""KubeVirt's own cluster roles (pkg/virt-operator/resource/generate/rbac/cluster.go), not covered by a recording.

They are aggregated into Kubernetes' admin, edit and view; `kubevirt.io:migrate` is not, and everybody may read the
cluster's instance types.
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["get", "delete", "create", "update", "patch", "list", "watch"]
_RBAC: Final = "rbac.authorization.k8s.io"
_SUBRESOURCES: Final = "subresources.kubevirt.io"
_GROUPS: Final[dict[str, list[str]]] = {
    "kubevirt.io": [
        "virtualmachines", "virtualmachineinstances", "virtualmachineinstancepresets",
        "virtualmachineinstancereplicasets",
    ],
    "snapshot.kubevirt.io": [
        "virtualmachinesnapshots", "virtualmachinesnapshotcontents", "virtualmachinerestores",
    ],
    "export.kubevirt.io": ["virtualmachineexports"],
    "clone.kubevirt.io": ["virtualmachineclones"],
    "instancetype.kubevirt.io": [
        "virtualmachineinstancetypes", "virtualmachineclusterinstancetypes", "virtualmachinepreferences",
        "virtualmachineclusterpreferences",
    ],
    "pool.kubevirt.io": ["virtualmachinepools"],
}  # fmt: skip
_INSTANCE_READ: Final = ["guestosinfo", "filesystemlist", "userlist"]
_INSTANCE_OPEN: Final = ["console", "vnc", "vnc/screenshot", "portforward", "usbredir"]
_INSTANCE_CHANGE: Final = [
    "pause", "unpause", "addvolume", "removevolume", "freeze", "unfreeze", "softreboot", "reset",
]  # fmt: skip
_MACHINE_CHANGE: Final = [
    "start", "stop", "restart", "addvolume", "removevolume", "memorydump", "removememorydump",
]  # fmt: skip


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _under(resource: str, parts: list[str]) -> list[str]:
    return [f"{resource}/{part}" for part in parts]


def _calls_that_read() -> list[Object]:
    return [
        _rule(_SUBRESOURCES, ["virtualmachines/expand-spec"], ["get"]),
        _rule(_SUBRESOURCES, _under("virtualmachineinstances", _INSTANCE_READ), ["get"]),
        _rule(_SUBRESOURCES, ["expand-vm-spec"], ["update"]),
    ]


def _calls_that_change() -> list[Object]:
    return [
        _rule(_SUBRESOURCES, _under("virtualmachineinstances", _INSTANCE_OPEN), ["get"]),
        _rule(_SUBRESOURCES, _under("virtualmachineinstances", _INSTANCE_CHANGE), ["update"]),
        _rule(_SUBRESOURCES, ["virtualmachines/portforward"], ["get"]),
        _rule(_SUBRESOURCES, _under("virtualmachines", _MACHINE_CHANGE), ["update"]),
    ]


def _role(name: str, rules: list[Object], *, into: str = "") -> Object:
    labels = {"kubevirt.io": ""}
    if into:
        labels[f"{_RBAC}/aggregate-to-{into}"] = "true"
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def build_roles() -> list[Object]:
    """The cluster roles, and the binding that lets everybody read instance types."""
    readable = [_rule(group, resources, _READ) for group, resources in _GROUPS.items()]
    readable.append(_rule("kubevirt.io", ["virtualmachineinstancemigrations"], _READ))
    writable = [_rule(group, resources, _WRITE) for group, resources in _GROUPS.items()]
    writable.append(_rule("kubevirt.io", ["virtualmachineinstancemigrations"], _READ))
    removable = [_rule(group, resources, ["deletecollection"]) for group, resources in _GROUPS.items()]
    change = [*_calls_that_read(), *_calls_that_change()]
    migrate = [
        _rule("kubevirt.io", ["virtualmachineinstancemigrations"], _WRITE),
        _rule(_SUBRESOURCES, ["virtualmachines/migrate"], ["update"]),
    ]
    everybody = "instancetype.kubevirt.io:view"
    cluster_wide = ["virtualmachineclusterinstancetypes", "virtualmachineclusterpreferences"]
    return [
        _role("kubevirt.io:admin", [*change, *writable, *removable], into="admin"),
        _role("kubevirt.io:edit", [*change, *writable], into="edit"),
        _role("kubevirt.io:view", [*_calls_that_read(), *readable], into="view"),
        _role("kubevirt.io:migrate", migrate),
        _role(everybody, [_rule("instancetype.kubevirt.io", cluster_wide, _READ)]),
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": everybody, "labels": {"kubevirt.io": ""}},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": everybody},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": "system:authenticated"}],
        },
    ]
