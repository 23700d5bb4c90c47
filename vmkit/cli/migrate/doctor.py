"""``vmkit migrate doctor``: why components would not run on this cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate
from vmkit.cli.options import connection_options, output_option, pass_app
from vmkit.errors import ExitCode, Forbidden, MissingApi, NotFound

if TYPE_CHECKING:
    from vmkit.cluster import Session
    from vmkit.cluster.resources import Resource


@migrate.command("doctor")
@output_option(formats=("table", "json", "yaml"), default="table")
@connection_options
@pass_app
def doctor(app: App, *, output: str) -> ExitCode:
    """Find what would keep components from running, before a pod waits.

    Looks at runtime classes, their handlers and nodes, runtime-class-manager's Shims, the SpinAppExecutors of the
    namespace, and what the retired kwasm-operator left. Changes nothing. The exit code is 1 when something is
    missing.
    """
    from vmkit.cluster.resources import NODES, Resource
    from vmkit.migrate.runtime import Check, Severity, Surroundings, choose_runtime_class, decide_checks
    from vmkit.report.envelope import render_document
    from vmkit.report.table import Column, render_table

    spin = "core.spinkube.dev"
    with app.connect() as vk:
        session, namespace = vk.session, vk.namespace
        keda = Resource("http.keda.sh", "v1alpha1", "httpscaledobjects", "HTTPScaledObject")
        seen = Surroundings(
            namespace=namespace,
            nodes=_read(session, NODES, None),
            runtime_classes=_read(
                session, Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False), None
            ),
            shims=_read(
                session, Resource("runtime.spinkube.dev", "v1alpha1", "shims", "Shim", namespaced=False), None
            ),
            executors=_read(session, Resource(spin, "v1alpha1", "spinappexecutors", "SpinAppExecutor"), namespace),
            apps=_read(session, Resource(spin, "v1alpha1", "spinapps", "SpinApp"), namespace),
            kinds=frozenset({keda.kind} if _read(session, keda, namespace) is not None else ()),
        )
    checks = decide_checks(seen)
    name, handler = choose_runtime_class(seen)
    if output == "table":
        columns: list[Column[Check]] = [
            Column("STATE", lambda one: str(one.severity)),
            Column("CHECK", lambda one: one.id),
            Column("FOUND", lambda one: one.found),
            Column("WHAT TO DO", lambda one: one.remedy or "-"),
        ]
        app.console.data(render_table(columns, checks))
        if name:
            app.console.note(f"components run with: vmkit migrate generate --runtime-class {name}")
    else:
        document = {
            "runtimeClass": name,
            "handler": handler,
            "checks": [
                {"id": one.id, "severity": str(one.severity), "found": one.found, "remedy": one.remedy}
                for one in checks
            ],
        }
        app.console.data(render_document(document, output))
    return ExitCode.SOME_FAILED if any(one.severity is Severity.ERROR for one in checks) else ExitCode.OK


def _read(session: Session, resource: Resource, namespace: str | None) -> list[dict[str, Any]] | None:
    """The objects of a kind; None where the cluster has no such kind, or they may not be read."""
    try:
        return list(session.list(resource, namespace))
    except (MissingApi, NotFound, Forbidden):
        return None
