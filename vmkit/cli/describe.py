"""``vmkit describe``: everything about VMs."""

from __future__ import annotations

from vmkit.cli.app import App
from vmkit.cli.options import command, connection_options, output_option, pass_app
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode


@command("describe")
@selection_options()
@output_option(formats=("text", "json", "yaml"), default="text", help_text="How to write it.")
@connection_options
@pass_app
def describe(app: App, *, chosen: Chosen, output: str) -> ExitCode:
    """Show everything about VMs.

    State, size, conditions, disks with the progress of their imports, events, who owns the VM, and what start and
    stop will do to it.

    \b
    vmkit describe web-1
    vmkit describe -l app=web -o json
    """
    from vmkit.inventory.text import render_descriptions
    from vmkit.report.envelope import render_envelope

    chosen.check(may_be_empty=False)
    with app.connect() as vk:
        refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
        found = vk.describe(*refs, selector=chosen.selector, all_namespaces=chosen.all_namespaces)
        at = vk.now
    if output in ("json", "yaml"):
        app.console.pieces(render_envelope(found.envelope(), found.rows(), output))
    elif found.vms:
        app.console.data(render_descriptions(found.vms, at=at))
    app.say(found.errors, found.notices)
    return found.exit_code
