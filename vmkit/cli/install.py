"""``vmkit install``: manifests of what runs in a cluster."""

from __future__ import annotations

from vmkit.cli.app import App
from vmkit.cli.options import argument, group, option, pass_app
from vmkit.errors import ExitCode


@group("install")
def install() -> None:
    """Write the manifests of what runs in a cluster.

    Nothing is applied: read them, keep them in Git, give them to kubectl.
    """


@install.command("schedule")
@argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@option(
    "--namespace",
    metavar="NAME",
    default="vmkit",
    show_default=True,
    env=False,
    help="Where the job, its account and the switch that suspends it live.",
)
@option("--image", metavar="IMAGE", required=True, help="The image that holds vmkit.")
@option(
    "--every",
    "every_minutes",
    metavar="MINUTES",
    type=int,
    default=5,
    show_default=True,
    help="How often a pass is made; a divisor of 60.",
)
@pass_app
def schedule(app: App, *, arguments: tuple[str, ...], namespace: str, image: str, every_minutes: int) -> ExitCode:
    """Write the manifests of a CronJob that makes a pass over all VMs every few minutes.

    An account with the rights a pass needs and no others, an admission policy that confines it to vmkit's
    annotations and the run strategy, a network policy, and the CronJob. What follows "--" is given to
    "vmkit schedule run".

    \b
    vmkit install schedule --image registry.example/vmkit:1.0 -- --max-changes 50%
    """
    from vmkit.report.documents import render_yaml_documents
    from vmkit.schedule.install import InstallOptions, build_manifests

    options = InstallOptions(namespace=namespace, image=image, every_minutes=every_minutes, arguments=arguments)
    app.console.data(render_yaml_documents(build_manifests(options)))
    return ExitCode.OK
