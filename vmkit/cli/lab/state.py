"""``vmkit lab save`` and ``load``."""

from __future__ import annotations

from pathlib import Path

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import argument, pass_app
from vmkit.errors import ConfigError, ExitCode, UsageError


@lab.command("save")
@argument("file", type=click.Path(dir_okay=False))
@which_lab
@pass_app
def save(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Write everything in a practice cluster to a file.

    Its Secrets are in there too; the file is readable by you alone.
    """
    from vmkit.lab.kubeconfig import write_private

    state = connect(name, lab_kubeconfig).save()
    try:
        write_private(Path(file), state)
    except OSError as error:
        raise UsageError(f"cannot write the state: {error.strerror or error}", where=file) from error
    app.console.report(f"{file} written, {len(state)} bytes")
    return ExitCode.OK


@lab.command("load")
@argument("file", type=click.Path(dir_okay=False))
@which_lab
@pass_app
def load(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Replace everything in a practice cluster by what "vmkit lab save" wrote."""
    try:
        state = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the state: {error.strerror or error}", where=file) from error
    remote = connect(name, lab_kubeconfig)
    remote.load(state)
    app.console.report(f"{file} loaded; it is {remote.clock()['now']}")
    return ExitCode.OK
