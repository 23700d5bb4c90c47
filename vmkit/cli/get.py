"""``vmkit get``: VMs as a list."""

from __future__ import annotations

from vmkit.cli.app import App
from vmkit.cli.options import OUTPUT, click_choice, command, connection_options, option, output_option, pass_app
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode

_SORT_KEYS = ("name", "namespace", "status", "age", "node", "template", "cpu", "memory")


@command("get")
@selection_options(everything=False)
@output_option(
    default="table", help_text="How to write the list; json and yaml are the envelope of docs/output.md."
)
@option("--no-headers", is_flag=True, heading=OUTPUT, help="Leave the line of headings out.")
@option(
    "--sort-by",
    type=click_choice(_SORT_KEYS),
    heading=OUTPUT,
    help='The order of the rows; "age" is oldest first, "cpu" and "memory" largest first.',
)
@connection_options
@pass_app
def get(app: App, *, chosen: Chosen, output: str, no_headers: bool, sort_by: str | None) -> ExitCode:
    """List VMs.

    Without names: every VM of the namespace. A VM object that cannot be understood is a row with its problem, and
    the exit code says so.

    \b
    vmkit get
    vmkit get web-1 web-2 -o wide
    vmkit get -A -l app=web --sort-by age
    """
    from vmkit.report.envelope import render_envelope
    from vmkit.report.vms import SORT_KEYS, render_vms

    chosen.check(may_be_empty=True)
    with app.connect() as vk:
        refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
        found = vk.get(*refs, selector=chosen.selector, all_namespaces=chosen.all_namespaces)
        namespace, at = vk.namespace, vk.now
    if sort_by is not None:
        found = found.sorted_by(SORT_KEYS[sort_by])
    if output in ("json", "yaml"):
        app.console.pieces(render_envelope(found.envelope(), found.rows(), output))
    elif found.vms:
        several = chosen.all_namespaces or any(vm.ref.namespace != namespace for vm in found.vms)
        app.console.data(render_vms(found.vms, output, at=at, namespaces=several, headers=not no_headers))
    elif not found.errors:
        where = "any namespace" if chosen.all_namespaces else f"namespace {namespace}"
        matching = f" matches {chosen.selector}" if chosen.selector else ""
        app.console.note(f"there is no VM in {where}{' that' if matching else ''}{matching}")
    app.say(found.errors, found.notices)
    return found.exit_code
