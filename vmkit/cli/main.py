"""The ``vmkit`` command: which command lives where, and what every failure looks like.

A command's module is imported when the command is run, completed or asked for its help, never for
``vmkit --help``; what that shows stands in `COMMANDS`, and a test holds it to what the commands say themselves.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import click

from vmkit import __version__
from vmkit.cli.app import App
from vmkit.cli.options import Group, connection_options
from vmkit.errors import ExitCode, UsageError, VmkitError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives ("module:attribute"), the heading it stands under in help, and its summary."""

    home: str
    heading: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "create": Entry("vmkit.cli.create:create", "Create", "Create VMs from a template."),
    "clone": Entry("vmkit.cli.create:clone", "Create", "Create VMs as copies of an existing one."),
    "template": Entry("vmkit.cli.template:template", "Create", "List, show, check, render and write templates."),
    "start": Entry("vmkit.cli.power:start", "Power", "Start VMs."),
    "stop": Entry("vmkit.cli.power:stop", "Power", "Stop VMs."),
    "restart": Entry("vmkit.cli.power:restart", "Power", "Stop running VMs and start them again."),
    "pause": Entry("vmkit.cli.power:pause", "Power", "Freeze running VMs in memory."),
    "unpause": Entry("vmkit.cli.power:unpause", "Power", "Let paused VMs run on."),
    "live-migrate": Entry("vmkit.cli.power:live_migrate", "Power", "Move running VMs to other nodes."),
    "schedule": Entry(
        "vmkit.cli.schedule:schedule", "Schedule", "Start and stop VMs by their schedules, and see what those say."
    ),
    "stop-idle": Entry("vmkit.cli.stop_idle:stop_idle", "Schedule", "Find VMs that nobody uses, and stop them."),
    "ledger": Entry(
        "vmkit.cli.ledger_book:ledger", "Schedule", "Show what vmkit turned off, and what that returned."
    ),
    "history": Entry("vmkit.cli.schedule.history:history", "Schedule", "Tell what schedules did to VMs."),
    "undo": Entry("vmkit.cli.schedule.history:undo", "Schedule", "Take back what a scheduled run did."),
    "install": Entry("vmkit.cli.install:install", "Schedule", "Write the manifests of what runs in a cluster."),
    "get": Entry("vmkit.cli.get:get", "Look", "List VMs."),
    "describe": Entry("vmkit.cli.describe:describe", "Look", "Show everything about VMs."),
    "doctor": Entry("vmkit.cli.doctor:doctor", "Look", "Find what is missing or wrong, and what mends it."),
    "report": Entry("vmkit.cli.report:report", "Look", "See what VMs really need, and what they take."),
    "rightsize": Entry(
        "vmkit.cli.rightsize:rightsize", "Modernize", "Say what size VMs should have, and give it to them."
    ),
    "migrate": Entry(
        "vmkit.cli.migrate:migrate",
        "Modernize",
        "Look into VMs' disks and judge what may become a container or wasm.",
    ),
    "delete": Entry("vmkit.cli.delete:delete", "Remove", "Delete VMs and keep their disks."),
    "lab": Entry("vmkit.cli.lab:lab", "Practice", "Run a practice cluster on this machine."),
    "completion": Entry("vmkit.cli.completion:completion", "Shell", "Write the completion script of a shell."),
}


class Main(Group):
    """The outermost group: loads commands when they are needed, and turns every failure into lines and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.home.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for heading in dict.fromkeys(entry.heading for entry in COMMANDS.values()):
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(width), entry.summary)
                        for name, entry in COMMANDS.items()
                        if entry.heading == heading
                    ]
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        # Without importing the commands: a shell asks at every press of the key.
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs the command line and ends the process with the code of docs/exit-codes.md."""
        arguments = list(sys.argv[1:] if args is None else args)
        app = extra.pop("obj", None) or App()
        self._complete({**extra, "obj": app}, complete_var)
        code = self._run(app, arguments, **extra)
        try:
            app.console.close()
        except BrokenPipeError:
            code = code or ExitCode.PIPE_CLOSED
            app.console.give_up_stdout()
        except VmkitError as error:
            app.console.error(error)
            code = code or error.exit_code
            app.console.give_up_stdout()
        if app.console.stdout_closed:
            code = code or ExitCode.PIPE_CLOSED
            app.console.give_up_stdout()
        sys.exit(int(code))

    def _complete(self, extra: MutableMapping[str, Any], complete_var: str | None) -> None:
        # The name of the variable is part of the scripts that "vmkit completion" wrote into people's shells.
        self._main_shell_completion(extra, "vmkit", complete_var or "_VMKIT_COMPLETE")

    def _run(self, app: App, arguments: list[str], **extra: Any) -> int:
        command = _command_of(arguments)
        try:
            begun = time.monotonic()
            with self.make_context("vmkit", arguments, obj=app, **extra) as ctx:
                returned = self.invoke(ctx)
            app.console.debug(f"took {time.monotonic() - begun:.2f} s")
            return int(returned) if isinstance(returned, int) else ExitCode.OK
        except click.exceptions.Exit as leave:
            return leave.exit_code
        except click.exceptions.NoArgsIsHelpError as asked:
            app.console.data(asked.ctx.get_help())
            return ExitCode.OK
        except click.ClickException as error:
            return _fail(app, _usage_error(error, command), arguments, command)
        except VmkitError as error:
            return _fail(app, error, arguments, command)
        except BrokenPipeError:
            app.console.stdout_closed = True
            return ExitCode.PIPE_CLOSED
        except OSError as error:
            # click writes help by itself.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                return _crash(app, error)
            app.console.problem(f"stdout cannot be written: {error.strerror}")
            app.console.give_up_stdout()
            return ExitCode.SOME_FAILED
        except (KeyboardInterrupt, click.Abort):
            app.console.problem("interrupted")
            return ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line and a report to send
            return _crash(app, error)


def _usage_error(error: click.ClickException, command: str) -> UsageError:
    """A click error in the project's own words: message, and a hint."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.NoSuchOption):
        from difflib import get_close_matches

        params = ctx.command.params if ctx is not None else []
        known = [name for param in params for name in (*param.opts, *param.secondary_opts)]
        near = get_close_matches(error.option_name, known, n=2, cutoff=0.7)
        message = f"there is no option {error.option_name}"
        hint = f"did you mean {' or '.join(near)}?" if near else ""
    else:
        message = error.format_message().rstrip(".")
        message, hint = message[:1].lower() + message[1:], ""
    path = ctx.command_path if ctx is not None else f"vmkit {command}".strip()
    return UsageError(message.replace("\n", " "), hint=hint or f"{path} --help shows how it is written")


def _fail(app: App, error: VmkitError, arguments: Sequence[str], command: str) -> int:
    app.console.error(error)
    format_asked = _output_of(arguments, command)
    if format_asked in ("json", "yaml"):
        from vmkit.report.envelope import render_failure

        # A program reads stdout: it gets the same envelope whether a command failed before or while it ran.
        app.console.report_document(render_failure(command, error, format_asked))
    return error.exit_code


def _output_of(arguments: Sequence[str], command: str) -> str | None:
    """The value of -o, read from the bare arguments: the error may be that they could not be understood."""
    names = ("-o", "--output")
    found: str | None = None
    for index, text in enumerate(arguments):
        if text == "--":
            break
        if text in names and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif text.startswith("--output="):
            found = text.partition("=")[2]
        elif text.startswith("-o") and len(text) > 2:
            found = text[2:].lstrip("=")
    own = f"VMKIT_{command.upper().replace('-', '_').replace(' ', '_')}_OUTPUT"
    return found or os.environ.get(own) or os.environ.get("VMKIT_OUTPUT") or None


def _command_of(arguments: Sequence[str]) -> str:
    return next((text for text in arguments if text in COMMANDS), "")


def _crash(app: App, error: Exception) -> int:
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    if os.environ.get("VMKIT_DEBUG"):
        app.console.traceback(trace)
        where = "VMKIT_DEBUG shows the traceback above"
    else:
        try:
            with tempfile.NamedTemporaryFile(
                "w", prefix="vmkit-", suffix=".traceback", delete=False, encoding="utf-8"
            ) as file:
                file.write(f"vmkit {__version__}, Python {sys.version}\n{trace}")
            where = f"the traceback is in {file.name}; VMKIT_DEBUG=1 shows it here"
        except OSError:
            where = "VMKIT_DEBUG=1 shows the traceback"
    app.console.problem(f"vmkit itself failed: {type(error).__name__}: {error}")
    app.console.hint(f"this is a mistake in vmkit, please report it; {where}")
    return ExitCode.INTERNAL


@click.group("vmkit", cls=Main, no_args_is_help=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, "--version", message="vmkit %(version)s", help="Show the version.")
@connection_options
def cli() -> None:
    """The life of KubeVirt virtual machines: create, start, stop, look, delete, practise.

    "vmkit COMMAND --help" explains a command. "vmkit lab up" brings up a practice cluster to try them on.
    """


def main() -> NoReturn:
    """The entry point of the ``vmkit`` script."""
    cli.main()


if __name__ == "__main__":
    main()
