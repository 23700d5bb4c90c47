"""Whether a cluster can run Spin components, and what to do where it cannot. Pure.

What people meet is a pod that waits with 'no runtime for "spin" is configured' (spin-operator issues 289 and 209).
Its causes can be read from the cluster beforehand: no RuntimeClass, a handler that no node has, a Shim that is not
installed yet, an executor that names another class, nodes that only kwasm-operator (retired in 2026) provisions.

Sources: spin-operator api/v1alpha1 and its webhooks (the executor is looked for in the app's own namespace);
runtime-class-manager api/v1alpha1 (the label NAME=provisioned on nodes); kwasm-operator's annotation and label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Object = Mapping[str, Any]
SPIN_HANDLERS: Final = ("spin", "spin-v2")
_KWASM_ANNOTATION: Final = "kwasm.sh/kwasm-node"
_KWASM_LABEL: Final = "kwasm.sh/kwasm-provisioned"
_PROVISIONED: Final = "provisioned"


class Severity(StrEnum):
    """An error keeps components from running; a warning may, or will."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: a stable id, what was found, and what to do."""

    id: str
    severity: Severity
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a cluster has. ``None`` where its API does not serve the kind, or it may not be read.

    Attributes:
        executors: of the namespace that components will run in; ``apps`` likewise.
        kinds: which of the optional APIs are served: "HTTPScaledObject", "ScaledObject".
    """

    namespace: str
    nodes: Sequence[Object] | None
    runtime_classes: Sequence[Object] | None
    shims: Sequence[Object] | None
    executors: Sequence[Object] | None
    apps: Sequence[Object] | None = ()
    kinds: frozenset[str] = frozenset()


def decide_checks(seen: Surroundings) -> list[Check]:
    """Looks at everything a Spin component needs, in the order in which it needs it."""
    found = [_operator(seen)]
    classes = _spin_classes(seen)
    if seen.executors is not None:
        found += _executors(seen)
    found += _runtime_classes(seen, classes)
    found += _shims(seen)
    found += _nodes(seen, classes)
    found += _kwasm(seen)
    found.append(_zero(seen))
    return [one for one in found if one.found]


def _name(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))


def _spin_classes(seen: Surroundings) -> list[Object]:
    named = {_class_of(one) for one in seen.executors or ()}
    return [
        one
        for one in seen.runtime_classes or ()
        if _name(one) in named or one.get("handler") in SPIN_HANDLERS or "spin" in str(one.get("handler"))
    ]


def _class_of(executor: Object) -> str:
    config = (executor.get("spec") or {}).get("deploymentConfig") or {}
    return str(config.get("runtimeClassName") or "")


def _operator(seen: Surroundings) -> Check:
    if seen.executors is None:
        return Check(
            "spin-operator",
            Severity.ERROR,
            "the cluster does not know SpinApps",
            "install spin-operator with its CRDs (spinframework/spin-operator), or use the container",
        )
    return Check("spin-operator", Severity.OK, "the cluster knows SpinApps")


def _executors(seen: Surroundings) -> Iterable[Check]:
    if not seen.executors:
        yield Check(
            "executor",
            Severity.WARNING,
            f"there is no SpinAppExecutor in namespace {seen.namespace}; apps find no other namespace's",
            "the generated spinapp.yaml brings one",
        )
        return
    known = {_name(one) for one in seen.runtime_classes or ()}
    for one in seen.executors:
        wanted = _class_of(one)
        config = (one.get("spec") or {}).get("deploymentConfig") or {}
        if not (one.get("spec") or {}).get("createDeployment", False):
            continue
        if not wanted and not config.get("spinImage"):
            yield Check(
                "executor",
                Severity.ERROR,
                f"SpinAppExecutor {_name(one)} names no runtime class",
                "set spec.deploymentConfig.runtimeClassName",
            )
        elif wanted and seen.runtime_classes is not None and wanted not in known:
            yield Check(
                "executor",
                Severity.ERROR,
                f"SpinAppExecutor {_name(one)} names RuntimeClass {wanted}, which is not there",
                f"create it, or name one that is: {', '.join(sorted(known)) or 'there is none'}",
            )
        else:
            yield Check(
                "executor", Severity.OK, f"SpinAppExecutor {_name(one)} uses {wanted or config['spinImage']}"
            )
    names = {_name(one) for one in seen.executors}
    for app in seen.apps or ():
        asked = str((app.get("spec") or {}).get("executor") or "")
        if asked and asked not in names:
            yield Check(
                "executor",
                Severity.ERROR,
                f"SpinApp {_name(app)} asks for executor {asked}, which namespace {seen.namespace} does not have",
                f"it has {', '.join(sorted(names))}",
            )


def _runtime_classes(seen: Surroundings, classes: Sequence[Object]) -> Iterable[Check]:
    if seen.runtime_classes is None:
        yield Check(
            "runtime-class",
            Severity.WARNING,
            "runtime classes cannot be read",
            "ask for the right to list runtimeclasses of node.k8s.io",
        )
    elif not classes:
        yield Check(
            "runtime-class",
            Severity.ERROR,
            "no RuntimeClass has a handler for Spin",
            "install runtime-class-manager and a Shim, or the shim on the nodes; then "
            "vmkit migrate generate --handler NAME writes the RuntimeClass",
        )
    for one in classes:
        yield Check("runtime-class", Severity.OK, f"RuntimeClass {_name(one)} has handler {one.get('handler')}")


def _shims(seen: Surroundings) -> Iterable[Check]:
    if seen.shims is None:
        yield Check(
            "shim",
            Severity.WARNING,
            "runtime-class-manager is not installed: whether nodes know the handler cannot be told",
            "look for the handler in /etc/containerd/config.toml of each node, or install runtime-class-manager",
        )
        return
    handlers = {str(one.get("handler")): _name(one) for one in seen.runtime_classes or ()}
    for one in seen.shims:
        spec, status = one.get("spec") or {}, one.get("status") or {}
        runtime = spec.get("runtimeClass") or {}
        nodes, ready = int(status.get("nodes") or 0), int(status.get("nodesReady") or 0)
        if runtime.get("handler") and handlers and str(runtime["handler"]) not in handlers:
            yield Check(
                "shim",
                Severity.ERROR,
                f"Shim {_name(one)} installs handler {runtime['handler']}, which no RuntimeClass names",
                f"runtime classes name {', '.join(sorted(handlers))}; let one name {runtime['handler']}",
            )
        elif status and ready < nodes:
            yield Check(
                "shim",
                Severity.WARNING,
                f"Shim {_name(one)} is ready on {ready} of {nodes} nodes",
                "look at the Jobs of runtime-class-manager: kubectl get jobs -A -l spinkube.dev/shimName",
            )
        else:
            yield Check("shim", Severity.OK, f"Shim {_name(one)} installs handler {runtime.get('handler')}")


def _nodes(seen: Surroundings, classes: Sequence[Object]) -> Iterable[Check]:
    if seen.nodes is None:
        yield Check("nodes", Severity.WARNING, "nodes cannot be read", "ask for the right to list nodes")
        return
    by_handler = {
        str(((one.get("spec") or {}).get("runtimeClass") or {}).get("handler")): one for one in seen.shims or ()
    }
    for one in classes:
        wanted = dict((one.get("scheduling") or {}).get("nodeSelector") or {})
        chosen = [node for node in seen.nodes if _is_ready(node) and _matches(node, wanted)]
        selector = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        if not chosen:
            yield Check(
                "nodes",
                Severity.ERROR,
                f"no ready node has the labels that RuntimeClass {_name(one)} asks for: {selector or 'none'}",
                f"label the nodes that have the shim: kubectl label node NODE {selector}",
            )
            continue
        shim = by_handler.get(str(one.get("handler")))
        if seen.shims is not None and shim is None:
            yield Check(
                "handler",
                Severity.WARNING,
                f"no Shim installs handler {one.get('handler')} of RuntimeClass {_name(one)}",
                f"see that the containerd of {_names(chosen)} has it; else pods wait with "
                f'no runtime for "{one.get("handler")}" is configured',
            )
        elif shim is not None:
            lacking = [node for node in chosen if _labels(node).get(_name(shim), _PROVISIONED) != _PROVISIONED]
            if lacking:
                yield Check(
                    "handler",
                    Severity.ERROR,
                    f"Shim {_name(shim)} is not on {_names(lacking)}, where pods of {_name(one)} may be placed",
                    "wait until the nodes are provisioned, or look at its Jobs",
                )
            else:
                yield Check("nodes", Severity.OK, f"{len(chosen)} nodes run {_name(one)}")
        else:
            yield Check("nodes", Severity.OK, f"{len(chosen)} nodes are chosen by {_name(one)}")


def _labels(node: Object) -> Mapping[str, str]:
    return (node.get("metadata") or {}).get("labels") or {}


def _names(nodes: Sequence[Object]) -> str:
    names = sorted(map(_name, nodes))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _matches(node: Object, wanted: Mapping[str, str]) -> bool:
    labels = _labels(node)
    return all(labels.get(key) == value for key, value in wanted.items())


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable", False)


def _kwasm(seen: Surroundings) -> Iterable[Check]:
    marked = [
        node
        for node in seen.nodes or ()
        if _KWASM_LABEL in _labels(node)
        or _KWASM_ANNOTATION in ((node.get("metadata") or {}).get("annotations") or {})
    ]
    if marked:
        yield Check(
            "kwasm",
            Severity.WARNING,
            f"{_names(marked)} got the shim from kwasm-operator, which is retired",
            "install runtime-class-manager with a Shim for the same handler, then remove kwasm-operator and its "
            "annotations",
        )


def _zero(seen: Surroundings) -> Check:
    if "HTTPScaledObject" in seen.kinds:
        return Check("scale-to-zero", Severity.OK, "KEDA's HTTP add-on is installed: --scaling zero works")
    return Check(
        "scale-to-zero",
        Severity.OK,
        "KEDA's HTTP add-on is not installed: --scaling zero needs it, --scaling cpu does not",
    )


def choose_runtime_class(seen: Surroundings) -> tuple[str, str]:
    """The name and handler of the RuntimeClass that components should use; ("", "") where there is none."""
    classes = _spin_classes(seen)
    named = [_class_of(one) for one in seen.executors or ()]
    best = sorted(classes, key=lambda one: (_name(one) not in named, _name(one)))
    return (_name(best[0]), str(best[0].get("handler"))) if best else ("", "")
