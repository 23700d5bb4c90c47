"""What WebAssembly components need to run: SpinKube, runtime classes, shims; see `vmkit.migrate.runtime`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vmkit.cluster.resources import NODES, Resource
from vmkit.doctor.look import Look, Object, mapping, name_of
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.migrate.runtime import Severity as Grade
from vmkit.migrate.runtime import Surroundings, decide_checks

CLASSES: Final = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
SHIMS: Final = Resource("runtime.spinkube.dev", "v1alpha1", "shims", "Shim", namespaced=False)
EXECUTORS: Final = Resource("core.spinkube.dev", "v1alpha1", "spinappexecutors", "SpinAppExecutor")
APPS: Final = Resource("core.spinkube.dev", "v1alpha1", "spinapps", "SpinApp")
_WAITS: Final = "pods of components wait: no runtime for their handler is configured"

READY = Kind("wasm.ready", Severity.OK, "A part of what components need is in place.")
ABSENT = Kind(
    "wasm.absent",
    Severity.INFO,
    "SpinKube is not installed.",
    why="vmkit migrate can turn services into containers here, and not into components",
    mend="install spin-operator with its CRDs and runtime-class-manager, if components are wanted",
)
EXECUTOR = Kind(
    "wasm.executor",
    Severity.PROBLEM,
    "A SpinAppExecutor names no runtime class, or one that is not there; or a SpinApp asks for an executor that "
    "its namespace does not have.",
    why=_WAITS,
    mend="set spec.deploymentConfig.runtimeClassName to a RuntimeClass that is there",
)
NO_EXECUTOR = Kind(
    "wasm.no-executor",
    Severity.INFO,
    "The namespace has no SpinAppExecutor.",
    why="SpinApps find no executor of another namespace",
    mend="kubectl apply the spinapp.yaml that vmkit migrate generate writes: it brings one",
)
CLASS = Kind(
    "wasm.runtime-class",
    Severity.PROBLEM,
    "SpinKube is installed, and no RuntimeClass has a handler for Spin.",
    why=_WAITS,
    mend="vmkit migrate generate --handler NAME writes the RuntimeClass",
)
SHIM = Kind(
    "wasm.shim",
    Severity.PROBLEM,
    "A Shim installs a handler that no RuntimeClass names.",
    why=_WAITS,
    mend="let a RuntimeClass name the Shim's handler",
)
SHIM_UNREADY = Kind(
    "wasm.shim-unready",
    Severity.WARNING,
    "A Shim is not ready on all its nodes, or runtime-class-manager is not installed.",
    why="whether nodes know the handler cannot be told, or some do not",
    mend="kubectl get jobs -A -l spinkube.dev/shimName",
)
PLACE = Kind(
    "wasm.nodes",
    Severity.PROBLEM,
    "No ready node has the labels that a RuntimeClass asks for.",
    why="pods of components stay pending",
    mend="label the nodes that have the shim",
)
HANDLER = Kind(
    "wasm.handler",
    Severity.PROBLEM,
    "Pods may be placed on nodes where the Shim is not provisioned.",
    why=_WAITS,
    mend="wait until the nodes are provisioned, or look at the Shim's Jobs",
)
HANDLER_UNSURE = Kind(
    "wasm.handler-unsure",
    Severity.WARNING,
    "No Shim installs the handler of a RuntimeClass.",
    why=_WAITS,
    mend="see that the containerd of its nodes has the handler",
)
KWASM = Kind(
    "wasm.kwasm",
    Severity.WARNING,
    "Nodes got their shim from kwasm-operator, which is retired.",
    why="nobody updates it: nodes that are added or replaced may get no shim, and no fixes",
    mend="install runtime-class-manager with a Shim for the same handler, then remove kwasm-operator",
)

_KINDS: Final[Mapping[tuple[str, Grade], Kind]] = {
    ("executor", Grade.ERROR): EXECUTOR,
    ("executor", Grade.WARNING): NO_EXECUTOR,
    ("runtime-class", Grade.ERROR): CLASS,
    ("shim", Grade.ERROR): SHIM,
    ("shim", Grade.WARNING): SHIM_UNREADY,
    ("nodes", Grade.ERROR): PLACE,
    ("handler", Grade.ERROR): HANDLER,
    ("handler", Grade.WARNING): HANDLER_UNSURE,
    ("kwasm", Grade.WARNING): KWASM,
}


def run(look: Look) -> Iterator[Finding]:
    def all_of(resource: Resource) -> list[Object] | None:
        items = look.served(resource)
        return None if items is None else [one for one in items if _is_sound(look, one, resource)]

    def here(items: list[Object] | None) -> list[Object] | None:
        if items is None:
            return None
        return [one for one in items if mapping(one, "metadata").get("namespace") == look.namespace]

    executors = all_of(EXECUTORS)
    seen = Surroundings(
        namespace=look.namespace,
        nodes=all_of(NODES),
        runtime_classes=all_of(CLASSES),
        shims=all_of(SHIMS),
        executors=here(executors),
        apps=here(all_of(APPS)),
    )
    absent = executors is None
    if absent and look.knows(EXECUTORS):
        yield ABSENT.found("the cluster does not know SpinApps")
    for one in decide_checks(seen):
        kind = READY if one.severity is Grade.OK else _KINDS.get((one.id, one.severity))
        # Without SpinKube only what was left behind is worth a word; what cannot be read is told by itself.
        if kind is not None and (not absent or kind is KWASM) and one.id != "scale-to-zero":
            yield kind.found(one.found, mend=one.remedy)


def _is_sound(look: Look, item: Object, resource: Resource) -> bool:
    """Whether an object has the shape that its kind has; one that has not is told, and left out."""
    parts = [(item, "metadata"), (item, "spec"), (item, "status"), (item, "scheduling")]
    parts += [(mapping(item, "metadata"), key) for key in ("labels", "annotations")]
    parts += [(mapping(item, "spec"), key) for key in ("deploymentConfig", "runtimeClass")]
    conditions = mapping(item, "status").get("conditions") or []
    sound = all(isinstance(parent.get(key) or {}, Mapping) for parent, key in parts) and all(
        isinstance(one, Mapping) for one in conditions
    )
    if not sound:
        look.miss(f"{resource.kind} {name_of(item)} cannot be understood")
    return sound


CHECK = Check(
    "wasm",
    "SpinKube, runtime classes against handlers and nodes, runtime-class-manager, kwasm-operator.",
    (READY, ABSENT, EXECUTOR, NO_EXECUTOR, CLASS, SHIM, SHIM_UNREADY, PLACE, HANDLER, HANDLER_UNSURE, KWASM),
    run,
)
