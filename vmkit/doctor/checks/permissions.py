"""Whether vmkit's commands may do what they do, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vmkit.cluster.resources import Resource
from vmkit.doctor.look import Look
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.idle.install import CLUSTER_RULES as IDLE_RULES
from vmkit.schedule.install import CLUSTER_RULES as SCHEDULE_RULES

Rules = Sequence[Mapping[str, Any]]


def _rule(group: str, resources: str, verbs: str) -> Mapping[str, Any]:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}


_DISKS: Final = (_rule("cdi.kubevirt.io", "datavolumes", "get"), _rule("", "persistentvolumeclaims", "get"))
_LOOK: Final = (
    _rule("kubevirt.io", "virtualmachines virtualmachineinstances", "get list"),
    _rule("", "events", "list"),
    *_DISKS,
)
_USE: Final = (
    _rule("kubevirt.io", "virtualmachines virtualmachineinstances kubevirts", "list"),
    _rule("", "pods nodes services", "list"),
    _rule("", "services/proxy", "create"),
    _rule("instancetype.kubevirt.io", "virtualmachineinstancetypes virtualmachineclusterinstancetypes", "list"),
    _rule("autoscaling.k8s.io", "verticalpodautoscalers", "list"),
)
_VERBS: Final = ("start", "stop", "restart", "migrate")
_FREEZE: Final = ("pause", "unpause")
COMMANDS: Final[Mapping[str, Rules]] = {
    "get": _LOOK,
    "create": (
        _rule("kubevirt.io", "virtualmachines", "get list watch create patch"),
        _rule("kubevirt.io", "virtualmachineinstances", "list watch"),
        _rule("cdi.kubevirt.io", "datavolumes", "list watch"),
        _rule("cdi.kubevirt.io", "datasources", "get"),
        _rule("cdi.kubevirt.io", "storageprofiles", "list"),
        _rule("storage.k8s.io", "storageclasses", "list"),
        _rule("ceph.rook.io", "cephclusters", "list"),
        _rule("", "persistentvolumeclaims", "list watch"),
        _rule("", "secrets", "get create patch"),
    ),
    "power": (
        _rule("kubevirt.io", "virtualmachines", "get list watch patch"),
        _rule("kubevirt.io", "virtualmachineinstances", "get list watch"),
        _rule("kubevirt.io", "virtualmachineinstancemigrations", "list watch"),
        *(_rule("subresources.kubevirt.io", f"virtualmachines/{verb}", "update") for verb in _VERBS),
        *(_rule("subresources.kubevirt.io", f"virtualmachineinstances/{verb}", "update") for verb in _FREEZE),
    ),
    "delete": (
        _rule("kubevirt.io", "virtualmachines", "get list watch patch delete"),
        _rule("subresources.kubevirt.io", "virtualmachines/stop", "update"),
        _rule("kubevirt.io", "virtualmachineinstances", "get list watch"),
        _rule("cdi.kubevirt.io", "datavolumes", "get list patch"),
        _rule("", "persistentvolumeclaims", "get list patch"),
    ),
    "schedule": SCHEDULE_RULES,
    "stop-idle": IDLE_RULES,
    "report": _USE,
    "rightsize": (*_USE, _rule("kubevirt.io", "virtualmachines", "get patch")),
}
"""What each command asks a cluster for. Schedules and stop-idle: the very rules that ``vmkit install`` writes."""

_EVERYWHERE: Final = frozenset({"schedule", "stop-idle"})
_SPREAD: Final = frozenset({"kubevirts", "services", "pods", "cephclusters"})
"""What is looked for in all namespaces, wherever the VMs are."""

ALLOWED = Kind("permissions.allowed", Severity.OK, "A command may do all that it does.")
LIMITED = Kind(
    "permissions.limited",
    Severity.INFO,
    "A command would meet a refusal. Nobody asked for that command with `--for`.",
    why="it would fail at that step, or leave out what it cannot see",
    mend="vmkit doctor --check permissions --for COMMAND writes the missing rules",
)
MISSING = Kind(
    "permissions.missing",
    Severity.PROBLEM,
    "A command named with `--for` would meet a refusal.",
    why="it would fail at that step, or leave out what it cannot see",
    mend="add the rule to the Role or ClusterRole of whoever runs it",
)


def run(look: Look) -> Iterator[Finding]:
    """Asks about each verb on each kind of object, each once."""
    asked: dict[tuple[str, str, str, str | None], bool] = {}
    for name in look.commands or COMMANDS:
        namespace = None if name in _EVERYWHERE else look.namespace
        missing = []
        for group, resource, verb in _single(COMMANDS[name]):
            spread = resource.partition("/")[0] in _SPREAD
            key = (group, resource, verb, None if spread else namespace)
            if key not in asked:
                asked[key] = _may(look, *key)
            if not asked[key] and key[:3] not in missing:
                missing.append(key[:3])
        where = "in all namespaces" if namespace is None else f"in namespace {namespace}"
        if not missing:
            yield ALLOWED.found(f"{name} is allowed all that it needs {where}", target=name)
        elif not look.commands:
            words = ", ".join(f"{verb} {resource}" for _, resource, verb in missing[:4])
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            yield LIMITED.found(
                f"{name} may not {words}{more} {where}",
                target=name,
                mend=f"vmkit doctor --check permissions --for {name}",
            )
        else:
            for group, resource, verb in missing:
                rule = f'- apiGroups: ["{group}"]\n  resources: ["{resource}"]\n  verbs: ["{verb}"]'
                everywhere = resource.partition("/")[0] in _SPREAD
                text = f"{name} may not {verb} {resource} {'in all namespaces' if everywhere else where}"
                yield MISSING.found(text, target=name, mend=rule)


def _single(rules: Rules) -> Iterator[tuple[str, str, str]]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


_CLUSTER_WIDE: Final = frozenset({
    "nodes", "namespaces", "storageclasses", "storageprofiles", "virtualmachineclusterinstancetypes",
})  # fmt: skip


def _may(look: Look, group: str, resource: str, verb: str, namespace: str | None) -> bool:
    plural, _, subresource = resource.partition("/")
    kind = Resource(group, "v1", plural, plural, namespaced=plural not in _CLUSTER_WIDE)
    return look.session.can_i(verb, kind, namespace, subresource=subresource)


CHECK = Check("permissions", "What vmkit's commands may do, rule by rule.", (ALLOWED, LIMITED, MISSING), run)
