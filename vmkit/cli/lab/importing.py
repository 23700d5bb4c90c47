"""``vmkit lab import``: a real cluster's VMs in a practice cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect
from vmkit.cli.lab.group import lab
from vmkit.cli.options import option, pass_app
from vmkit.errors import ExitCode, Forbidden, MissingApi, NotFound

if TYPE_CHECKING:
    from vmkit.cluster.session import Session

_AT_ONCE = 500


@lab.command("import")
@option("--context", metavar="NAME", help="The context of the real cluster; by default the current one.")
@option(
    "--kubeconfig", type=click.Path(dir_okay=False), metavar="FILE", help="The kubeconfig of the real cluster."
)
@option("--names-only", is_flag=True, help="Only names, namespaces, run strategies and sizes.")
@option("--name", default="lab", show_default=True, metavar="NAME", help="The practice cluster to import into.")
@pass_app
def import_(app: App, *, context: str | None, kubeconfig: str | None, names_only: bool, name: str) -> ExitCode:
    """Take over the VMs of a real cluster.

    Nothing is changed there. VMs come with their namespaces, disks and instance types. Secrets, cloud-init texts
    and tokens are left out. What runs there is started here.
    """
    from vmkit.api import Vmkit
    from vmkit.lab.importing import prepare_import

    remote = connect(name, None)
    with Vmkit.connect(kubeconfig=kubeconfig, context=context) as vk:
        objects = _read(app, vk.session)
    prepared = prepare_import(objects, names_only=names_only)
    for start in range(0, len(prepared), _AT_ONCE):
        remote.put_objects(prepared[start : start + _AT_ONCE], more=True)
    taken = remote.put_objects([])["taken"]
    vms = sum(each["kind"] == "VirtualMachine" for each in prepared)
    app.console.report(f"{vms} VMs imported, {taken} objects in all; Secrets and cloud-init texts were left out")
    return ExitCode.OK


def _read(app: App, session: Session) -> list[dict[str, Any]]:
    """The objects of every kind that is imported; kinds that cannot be read are told and left out."""
    from vmkit.lab.importing import KINDS

    objects: list[dict[str, Any]] = []
    for api_version, kind in KINDS:
        try:
            resource = session.discover(api_version, kind)
            found = [{**item, "apiVersion": api_version, "kind": kind} for item in session.list(resource)]
        except (MissingApi, NotFound):
            continue
        except Forbidden as error:
            app.console.warn(f"{kind} objects are left out: {error.message}")
            continue
        objects += found
    return objects
