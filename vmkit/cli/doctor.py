"""``vmkit doctor``."""

from __future__ import annotations

from vmkit.cli.app import App
from vmkit.cli.monitoring import Monitoring, monitoring_options
from vmkit.cli.options import click_choice, command, connection_options, option, output_option, pass_app
from vmkit.errors import ExitCode


@command("doctor")
@option("--check", "checks", multiple=True, metavar="NAME", help="Only this check; may be given several times.")
@option("--for", "commands", multiple=True, metavar="COMMAND", help="A command that must be allowed all it does.")
@option("--list", "listing", is_flag=True, help="List the checks, and look at nothing.")
@option(
    "--fail-on",
    type=click_choice(("problem", "warning", "unknown", "never")),
    default="problem",
    show_default=True,
    help="From which severity on the exit code is 1.",
)
@monitoring_options
@output_option(
    formats=("table", "wide", "json", "yaml", "csv"),
    default="table",
    help_text="How to write it; json and yaml are the envelope of docs/output.md.",
)
@connection_options
@pass_app
def doctor(
    app: App,
    *,
    checks: tuple[str, ...],
    commands: tuple[str, ...],
    listing: bool,
    fail_on: str,
    monitoring: Monitoring,
    output: str,
) -> ExitCode:
    """Find what is missing or wrong, and what mends it.

    Looks at everything that vmkit builds on, and at vmkit's own rights. Each finding says what, why it matters,
    and the command or YAML that mends it. Nothing is changed. docs/doctor.md lists every finding.

    \b
    vmkit doctor
    vmkit doctor --check rook --check kubevirt -o wide
    vmkit doctor --check permissions --for stop-idle
    """
    from vmkit.doctor.model import Severity
    from vmkit.doctor.run import choose_checks
    from vmkit.doctor.show import render_checks, render_findings, summarize
    from vmkit.report.envelope import build_envelope, render_document

    chosen = choose_checks(checks)
    if listing:
        app.console.data(render_checks(chosen))
        return ExitCode.OK
    with app.connect() as vk:
        found = vk.doctor(
            checks=checks, commands=commands, prometheus=monitoring.open(vk) if monitoring.url else None
        )
    failed = fail_on != "never" and found.worst.rank >= Severity(fail_on).rank
    code = ExitCode.SOME_FAILED if failed else ExitCode.OK
    if output in ("json", "yaml"):
        rows = (one.to_dict() for one in found.findings)
        app.console.data(render_document(build_envelope("Doctor", "doctor", rows, exit_code=code), output))
    else:
        app.console.data(render_findings(found, output))
    app.console.note(summarize(found))
    return code
