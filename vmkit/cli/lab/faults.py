"""``vmkit lab faults``: what goes wrong on demand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import argument, option, output_option, pass_app
from vmkit.errors import ConfigError, ExitCode


@lab.group("faults")
def faults() -> None:
    """Let requests to a practice cluster fail."""


@faults.command("add")
@argument("kind", metavar="KIND")
@option("--verb", "verbs", multiple=True, metavar="VERB", help="Only such requests: get, list, watch, create ...")
@option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME",
    help='Only these resources, as "virtualmachines/start".',
)
@option("--in", "namespaces", multiple=True, metavar="NAMESPACE", help="Only in these namespaces.")
@option("--object", "names", multiple=True, metavar="NAME", help="Only on objects of these names.")
@option("--rate", type=click.FloatRange(0, 1), metavar="SHARE", help="The share of those requests that it hits.")
@option("--times", type=click.IntRange(1), metavar="N", help="So often, then no more.")
@option("--skip", type=click.IntRange(0), metavar="N", help="Let so many pass first.")
@option("--status", type=click.IntRange(400, 599), metavar="CODE", help="With error: the HTTP status.")
@option("--message", metavar="TEXT", help="With error: what it says.")
@option("--retry-after", "retry_after_seconds", type=click.IntRange(0), metavar="SECONDS", help="With throttle.")
@option("--delay", "delay_seconds", type=click.FloatRange(0), metavar="SECONDS", help="With delay.")
@which_lab
@pass_app
def add_fault(app: App, *, kind: str, name: str, lab_kubeconfig: str | None, **settings: Any) -> ExitCode:
    """Add a fault.

    KIND is one of throttle, error, reset-before, reset-after, truncate, slow, delay, webhook-timeout, stale-watch,
    cut-watch, away.

    \b
    vmkit lab faults add throttle --times 3
    vmkit lab faults add error --status 503 --verb list --rate 0.2
    """
    document: dict[str, Any] = {"kind": kind}
    for key, value in settings.items():
        if value is not None and value != ():
            document[key] = list(value) if isinstance(value, tuple) else value
    found = connect(name, lab_kubeconfig).add_fault(document)
    app.console.report(f"{len(found)} fault{'' if len(found) == 1 else 's'}")
    return ExitCode.OK


@faults.command("load")
@argument("file", type=click.Path(dir_okay=False))
@which_lab
@pass_app
def load_faults(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Add the faults of a file.

    A YAML or JSON list of faults, or a mapping with "faults" (rules) and "script" (each hits the next request).
    """
    rules, script = read_faults(file)
    remote = connect(name, lab_kubeconfig)
    for each in rules:
        remote.add_fault(each)
    if script:
        remote.add_fault({"script": script})
    app.console.report(f"{len(rules) + len(script)} faults added")
    return ExitCode.OK


@faults.command("list")
@output_option(formats=("table", "json", "yaml"), default="table")
@which_lab
@pass_app
def list_faults(app: App, *, output: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """List the faults."""
    from vmkit.report.envelope import build_envelope, render_envelope
    from vmkit.report.table import Column, render_table

    found = connect(name, lab_kubeconfig).faults()
    if output != "table":
        app.console.data(
            "".join(render_envelope(build_envelope("FaultList", "lab faults list", exit_code=0), found, output))
        )
    elif not found:
        app.console.note("nothing goes wrong")
    else:
        columns: tuple[Column[dict[str, Any]], ...] = (
            Column("KIND", lambda row: row["kind"]),
            Column("HITS", lambda row: str(row.get("hits", 0))),
            Column("OF", _describe_fault),
        )
        app.console.data(render_table(columns, found))
    return ExitCode.OK


def _describe_fault(fault: Mapping[str, Any]) -> str:
    left_out = ("kind", "hits", "seen")
    parts = [f"{key}={value}" for key, value in fault.items() if key not in left_out]
    return " ".join(parts) or "every request"


@faults.command("clear")
@which_lab
@pass_app
def clear_faults(app: App, *, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """End all faults."""
    connect(name, lab_kubeconfig).clear_faults()
    app.console.report("nothing goes wrong any more")
    return ExitCode.OK


def read_faults(file: str) -> tuple[list[Any], list[Any]]:
    """The rules and the script of a file of faults."""
    import yaml

    try:
        document = yaml.safe_load(Path(file).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the faults: {error.strerror or error}", where=file) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("the faults are no YAML", hint="write a list of {kind: ...}", where=file) from error
    if isinstance(document, list):
        document = {"faults": document}
    if not isinstance(document, dict) or set(document) - {"faults", "script"}:
        raise ConfigError("these are no faults", hint='write a list, or "faults" and "script"', where=file)
    rules, script = document.get("faults") or [], document.get("script") or []
    if not isinstance(rules, list) or not isinstance(script, list):
        raise ConfigError('"faults" and "script" are lists', where=file)
    from vmkit.lab.faults import parse_fault

    for each in (*rules, *script):
        parse_fault(each, where=file)
    return rules, script
