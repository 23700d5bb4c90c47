"""``vmkit lab guest``, ``ceph`` and ``node``: how the things inside a practice cluster behave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import argument, option, pass_app
from vmkit.errors import ExitCode, InputError, NotFound, UsageError

if TYPE_CHECKING:
    from vmkit.lab.remote import RemoteLab


@lab.command("guest")
@argument("vm", metavar="VM")
@argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@option("-n", "--namespace", default="default", show_default=True, metavar="NAME", help="The VM's namespace.")
@which_lab
@pass_app
def guest(
    app: App, *, vm: str, settings: tuple[str, ...], namespace: str, name: str, lab_kubeconfig: str | None
) -> ExitCode:
    """Say how a VM's guest behaves.

    Names are boot-seconds, shutdown-seconds, ignores-acpi, agent, crash, exit, users, os and filesystem-used,
    and load for the shape of its work; an empty value takes one back. Without any, they are shown.

    \b
    vmkit lab guest web-1 ignores-acpi=true users=alice,bob
    vmkit lab guest web-1 load=nightly
    """
    remote = connect(name, lab_kubeconfig)
    annotations = annotate(
        remote, f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{vm}", _guest_annotations(settings)
    )
    for key in sorted(annotations):
        if key.startswith("lab.vmkit.io/"):
            short = key.removeprefix("lab.vmkit.io/").removeprefix("guest-")
            app.console.report(f"{short}={annotations[key]}")
    return ExitCode.OK


def _guest_annotations(settings: tuple[str, ...]) -> dict[str, str | None]:
    annotations: dict[str, str | None] = {}
    for each in settings:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise UsageError(f"{each!r} is not NAME=VALUE", hint="as in users=alice,bob")
        full = "lab.vmkit.io/load" if key == "load" else f"lab.vmkit.io/guest-{key}"
        annotations[full] = value or None
    return annotations


@lab.command("ceph")
@option(
    "--trouble",
    "troubles",
    multiple=True,
    metavar="CHECK",
    help="A failing health check, as MON_DOWN or HEALTH_ERR.",
)
@option("--used", metavar="SIZE|SHARE", help='What others have stored, as "10Ti" or "86%".')
@option("--capacity", metavar="SIZE", help="The raw size of all its disks.")
@option("--well", is_flag=True, help="Everything is as it should be again.")
@which_lab
@pass_app
def ceph(
    app: App, *, troubles: tuple[str, ...], used: str | None, capacity: str | None, well: bool, name: str,
    lab_kubeconfig: str | None,
) -> ExitCode:  # fmt: skip
    """Make the Ceph cluster ill, full or well; show its health.

    \b
    vmkit lab ceph --trouble MON_DOWN
    vmkit lab ceph --used 86%
    vmkit lab ceph --well
    """
    if well and (troubles or used):
        raise UsageError("--well takes troubles back", hint="give it alone")
    change: dict[str, str | None] = {}
    if troubles or well:
        change["lab.vmkit.io/ceph-troubles"] = ",".join(troubles) or None
    if used or well:
        change["lab.vmkit.io/ceph-used"] = used
    if capacity:
        change["lab.vmkit.io/ceph-capacity"] = capacity
    remote = connect(name, lab_kubeconfig)
    path = "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph"
    annotate(remote, path, change)
    found = read_object(remote, path)["status"]["ceph"]
    sizes = found["capacity"]
    share = sizes["bytesUsed"] / sizes["bytesTotal"] if sizes["bytesTotal"] else 1.0
    checks = " ".join(sorted(found.get("details", {})))
    app.console.report(f"{found['health']} {share:.0%} used {checks}".rstrip())
    return ExitCode.OK


@lab.command("node")
@argument("node", metavar="NODE")
@argument("what", type=click.Choice(["silent", "back"]))
@which_lab
@pass_app
def node(app: App, *, node: str, what: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Let a node fall silent, or come back.

    A silent node is not ready after 40 seconds of the cluster's clock; what runs on it runs on, unseen.
    """
    remote = connect(name, lab_kubeconfig)
    annotate(remote, f"/api/v1/nodes/{node}", {"lab.vmkit.io/silent": "true" if what == "silent" else None})
    app.console.report(f"{node} {'falls silent' if what == 'silent' else 'is back'}")
    return ExitCode.OK


def annotate(remote: RemoteLab, path: str, annotations: Mapping[str, str | None]) -> dict[str, str]:
    """Sets annotations of an object (None takes one back) and returns all it has then."""

    body = json.dumps({"metadata": {"annotations": annotations}}).encode()
    status, answer = remote.request("PATCH", path, body, content_type="application/merge-patch+json")
    document = json.loads(answer)
    if status == 404:
        raise NotFound(document["message"])
    if status >= 300:
        raise InputError(document["message"])
    found: dict[str, str] = document["metadata"].get("annotations") or {}
    return found


def read_object(remote: RemoteLab, path: str) -> dict[str, Any]:

    _, answer = remote.request("GET", path)
    document: dict[str, Any] = json.loads(answer)
    return document
