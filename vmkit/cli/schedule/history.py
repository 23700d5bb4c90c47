"""``vmkit history`` and ``vmkit undo``."""

from __future__ import annotations

from typing import Any

from vmkit.cli.app import App
from vmkit.cli.options import (
    SAFETY,
    SELECTION,
    argument,
    command,
    complete_vms,
    concurrency_option,
    connection_options,
    option,
    output_option,
    pass_app,
    yes_option,
)
from vmkit.errors import ExitCode, VmkitError


@command("history")
@argument("names", nargs=-1, required=True, metavar="VM...", shell_complete=complete_vms)
@output_option(formats=("table", "json", "yaml", "csv"), default="table")
@connection_options
@pass_app
def history(app: App, *, names: tuple[str, ...], output: str) -> ExitCode:
    """Tell what schedules did to VMs.

    Oldest first: when, what, why, and by which run; a VM carries its last sixteen entries with it.
    """
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.report.table import Column, render_csv, render_table
    from vmkit.vm.reference import parse_vm_ref

    rows: list[dict[str, Any]] = []
    errors: list[VmkitError] = []
    with app.connect() as vk:
        for name in names:
            ref = parse_vm_ref(name, default_namespace=vk.namespace)
            try:
                entries = vk.schedule.history(ref).entries
            except VmkitError as error:
                errors.append(error)
                continue
            rows += [{"namespace": ref.namespace, "name": ref.name, **entry.to_dict()} for entry in entries]
    code = ExitCode.OK if not errors else ExitCode.SOME_FAILED if rows else errors[0].exit_code
    columns: list[Column[dict[str, Any]]] = [
        Column("NAMESPACE", lambda row: row["namespace"]),
        Column("NAME", lambda row: row["name"]),
        Column("AT", lambda row: row["at"]),
        Column("DID", lambda row: row["verb"]),
        Column("RUN", lambda row: row["run"]),
        Column("WHY", lambda row: row["text"]),
    ]
    if output in ("json", "yaml"):
        envelope = build_envelope("History", "history", rows, errors=errors, exit_code=code)
        app.console.data(render_document(envelope, output))
    elif output == "csv":
        app.console.data(render_csv(columns, rows))
    elif rows:
        app.console.data(render_table(columns, rows))
    elif not errors:
        app.console.note("schedules have done nothing to it yet")
    app.say(errors, ())
    return code


@command("undo")
@argument("run_id", metavar="RUN")
@option("-A", "--all-namespaces", is_flag=True, heading=SELECTION, help="In all namespaces.")
@option("--dry-run", is_flag=True, heading=SAFETY, help="Show what would be done; do nothing.")
@concurrency_option
@yes_option
@output_option(help_text="How to write the result; by default one line for each VM.")
@connection_options
@pass_app
def undo(
    app: App, *, run_id: str, all_namespaces: bool, dry_run: bool, concurrency: int, yes: bool, output: str | None
) -> ExitCode:
    """Take back what a scheduled run did.

    Starts what it stopped and stops what it started. A VM that somebody has touched since is left as it is.
    """
    with app.connect(connections=concurrency) as vk:
        result = vk.schedule.undo(
            run_id,
            namespace=None if all_namespaces else vk.namespace,
            dry_run=dry_run,
            concurrency=concurrency,
            confirm=app.confirmer(yes=yes),
            on_outcome=app.outcome_writer(output),
        )
    return app.show(result, output=output)
