"""``vmkit start``, ``stop``, ``restart``, ``pause``, ``unpause``, ``live-migrate``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from vmkit.cli.app import App
from vmkit.cli.options import (
    SAFETY,
    SECONDS,
    command,
    concurrency_option,
    connection_options,
    dry_run_option,
    max_changes_option,
    option,
    output_option,
    pass_app,
    waiting_options,
    yes_option,
)
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode

if TYPE_CHECKING:
    from vmkit.plan.model import Outcome, Plan, Result

F = TypeVar("F", bound=Callable[..., Any])


def run_options(function: F) -> F:
    """What every command takes that changes VMs."""
    for decorate in (
        connection_options,
        output_option(help_text="How to write the result; by default one line for each VM."),
        waiting_options,
        concurrency_option,
        option(
            "--despite-gitops",
            is_flag=True,
            heading=SAFETY,
            help="Act on VMs that Argo CD or Flux would change back.",
        ),
        max_changes_option,
        yes_option,
        dry_run_option,
        selection_options(),
    ):
        function = decorate(function)
    return function


def grace_option(function: F) -> F:
    """--grace SECONDS."""
    decorated: F = option(
        "--grace",
        "grace_seconds",
        metavar="SECONDS",
        type=SECONDS,
        help='How long a guest has to shut down, as "90" or "2m"; by default what the VM says.',
    )(function)
    return decorated


def run(
    app: App,
    verb: str,
    chosen: Chosen,
    *,
    output: str | None,
    yes: bool,
    always_ask: bool = False,
    concurrency: int,
    timeout: timedelta | None,
    wait: bool,
    **options: Any,
) -> ExitCode:
    """Runs one verb over what was chosen, and shows what came of it."""
    from vmkit.cli.ledger import Ledger
    from vmkit.plan.model import Status

    chosen.check(may_be_empty=False)
    with app.connect(connections=concurrency) as vk:
        refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
        method: Callable[..., Result] = getattr(vk, verb.replace("-", "_"))
        write, ledger = app.outcome_writer(output), Ledger(verb)
        # VMs named one by one are the consent; a selection can turn out larger than meant.
        consent = app.confirmer(yes=yes, by_name=chosen.by_name, always=always_ask)
        with app.console.progress(verb) as progress:

            def confirm(plan: Plan) -> None:
                consent(plan)
                ledger.planned(plan)
                progress.update(total=len(plan))

            def on_outcome(outcome: Outcome) -> None:
                ledger.heard(outcome)
                write(outcome)
                if outcome.status not in (Status.UNCHANGED, Status.SKIPPED):
                    progress.advance()

            result = ledger.run(
                lambda: method(
                    *refs,
                    selector=chosen.selector,
                    all_namespaces=chosen.all_namespaces,
                    everything=chosen.everything,
                    confirm=confirm,
                    on_outcome=on_outcome,
                    on_progress=lambda ref, text: progress.update(text=f"{ref}: {text}"),
                    concurrency=concurrency,
                    wait=wait,
                    timeout_seconds=None if timeout is None else timeout.total_seconds(),
                    **options,
                ),
                on_outcome=write,
            )
    return app.show(result, output=output)


@command("start")
@run_options
@pass_app
def start(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Start VMs.

    A VM that runs already is left as it is. The run strategy that a stop replaced comes back.

    \b
    vmkit start web-1 web-2 --wait
    vmkit start -l app=web
    """
    return run(app, "start", chosen, **options)


@command("stop")
@grace_option
@option(
    "--force",
    is_flag=True,
    help="End guests that do not shut down, as pulling the plug does. Overrides nothing else.",
)
@run_options
@pass_app
def stop(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Stop VMs.

    A VM that is stopped already is left as it is. Its own run strategy comes back with the next start.

    \b
    vmkit stop web-1 --wait --timeout 5m
    vmkit stop -A -l tier=test --dry-run client
    """
    return run(app, "stop", chosen, **options)


@command("restart")
@grace_option
@option("--force", is_flag=True, help="End guests that do not shut down, as pulling the plug does.")
@run_options
@pass_app
def restart(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Stop running VMs and start them again.

    A VM that is stopped is not started: that is an error.
    """
    return run(app, "restart", chosen, **options)


@command("pause")
@run_options
@pass_app
def pause(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Freeze running VMs in memory.

    The guest stands still and keeps its memory and its node.
    """
    return run(app, "pause", chosen, **options)


@command("unpause")
@run_options
@pass_app
def unpause(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Let paused VMs run on."""
    return run(app, "unpause", chosen, **options)


@command("live-migrate")
@run_options
@pass_app
def live_migrate(app: App, chosen: Chosen, **options: Any) -> ExitCode:
    """Move running VMs to other nodes.

    The guest runs on while its memory is copied. To leave virtual machines behind, see "vmkit migrate".
    """
    return run(app, "live-migrate", chosen, **options)
