"""``vmkit delete``."""

from __future__ import annotations

from typing import Any

from vmkit.cli.app import App
from vmkit.cli.options import command, option, pass_app
from vmkit.cli.power import grace_option, run, run_options
from vmkit.cli.selection import Chosen
from vmkit.errors import ExitCode


@command("delete")
@option(
    "--delete-disks",
    is_flag=True,
    help="Delete the VMs' DataVolumes and claims, with all data on them. Kept without this.",
)
@grace_option
@option("--force", is_flag=True, help="End guests that do not shut down, as pulling the plug does.")
@run_options
@pass_app
def delete(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Delete VMs and keep their disks.

    Stops each VM, waits until its instance is gone, takes its disks out of its ownership, then deletes it. Asks
    first, always; without a terminal to ask at it needs --yes.

    \b
    vmkit delete web-1
    vmkit delete -l tier=test --delete-disks --yes
    """
    return run(app, "delete", chosen, always_ask=True, **options)
