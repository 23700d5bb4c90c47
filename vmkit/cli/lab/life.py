"""``vmkit lab up``, ``down`` and ``status``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.lab.faults import read_faults
from vmkit.cli.lab.finding import connect, describe_clock, find_running, parse_instant, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import option, output_option, pass_app
from vmkit.errors import ConfigError, ExitCode, InputError, Unreachable, UsageError

if TYPE_CHECKING:
    from vmkit.lab.lab import Lab
    from vmkit.lab.remote import RemoteLab

_START_SECONDS = 60.0


@lab.command("up")
@option("--name", metavar="NAME", help='Its name; by default "lab", or "lab-2" and so on while others run.')
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Where it listens; by default any free port.",
)
@option(
    "--kubeconfig",
    "kubeconfig",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Where to write its kubeconfig.",
)
@option(
    "--fleet", type=click.IntRange(0, 100_000), default=0, metavar="N", help="Fill it with so many believable VMs."
)
@option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Decides every name, address and measurement.",
)
@option(
    "--kubevirt",
    type=click.Choice(["1.2", "1.5", "1.9"]),
    default="1.9",
    show_default=True,
    help="Which release of KubeVirt it behaves like.",
)
@option(
    "--nodes",
    type=click.IntRange(1, 500),
    default=4,
    show_default=True,
    metavar="N",
    help="How many worker nodes.",
)
@option("--edge", is_flag=True, help="One more node at the edge, as KubeEdge joins them.")
@option(
    "--start",
    metavar="TIME",
    help='The first instant of its clock, as "2026-03-02T08:00:00+01:00"; by default now.',
)
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="N",
    help="How many seconds its clock makes of one.",
)
@option("--frozen", is_flag=True, help="Let its clock stand until it is moved.")
@option(
    "--tls/--no-tls",
    default=True,
    show_default=True,
    help="Serve HTTPS with a certificate of its own; kubectl sends its token over nothing else.",
)
@option(
    "--state",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help='Start from a state that "vmkit lab save" wrote.',
)
@option(
    "--faults",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="What goes wrong from the beginning (YAML or JSON).",
)
@option("--run-jobs", is_flag=True, help="Run the commands of Jobs and CronJobs as processes of this machine.")
@option("--background", is_flag=True, help='Return once it is up; "vmkit lab down" ends it.')
@pass_app
def up(app: App, *, name: str | None, background: bool, **settings: Any) -> ExitCode:
    """Bring up a practice cluster.

    The path of its kubeconfig is written to stdout; then it runs until it is interrupted.

    \b
    export KUBECONFIG=$(vmkit lab up --fleet 200 --background)
    vmkit get -A
    vmkit lab down
    """
    name = _free_name() if name is None else _check_free(name)
    if background:
        return _start_in_background(app, name)
    with _interruptible(), _build(name, settings) as cluster:
        _announce(app, cluster, name)
        try:
            cluster.wait()
        except KeyboardInterrupt:
            app.console.note("stopping")
        finally:
            _forget(cluster, name)
    return ExitCode.OK


def _check_free(name: str) -> str:
    from vmkit.lab.directory import check_name

    running = find_running(check_name(name))
    if running is not None:
        raise UsageError(
            f"a practice cluster named {name} runs already, at {running.url}",
            hint=f"end it with `vmkit lab down --name {name}`, or give another --name",
        )
    return name


def _free_name() -> str:
    from itertools import count

    from vmkit.lab.directory import DEFAULT_NAME

    names = (DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}-{number}" for number in count(1))
    return next(name for name in names if find_running(name) is None)


def _build(name: str, settings: Mapping[str, Any]) -> Lab:
    from vmkit.lab.directory import default_kubeconfig
    from vmkit.lab.lab import Lab

    given = dict(settings)
    start, faults = given.pop("start"), given.pop("faults")
    kubeconfig = given.pop("kubeconfig") or default_kubeconfig(name)
    rules, script = read_faults(faults) if faults else ([], [])
    cluster = Lab(
        name=name,
        kubeconfig=kubeconfig,
        clock_start=parse_instant(start) if start else None,
        faults=rules,
        **given,
    )
    if script:
        from vmkit.lab.faults import parse_fault

        cluster.faults.play([parse_fault(each, where=faults) for each in script])
    return cluster


def _announce(app: App, cluster: Lab, name: str) -> None:
    import os

    from vmkit.lab.directory import LabRecord, write_record

    write_record(LabRecord(name, cluster.url, cluster.kubeconfig, os.getpid()))
    app.console.report_document(cluster.kubeconfig)
    app.console.note(f"practice cluster {name} at {cluster.url}; Ctrl-C or `vmkit lab down` ends it")


def _forget(cluster: Lab, name: str) -> None:
    from vmkit.lab.directory import default_kubeconfig, read_record, remove_record

    record = read_record(name)
    if record is not None and record.url == cluster.url:
        remove_record(record)
    if Path(cluster.kubeconfig) == default_kubeconfig(name):
        default_kubeconfig(name).unlink(missing_ok=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the lab as Ctrl-C does; whoever stops a service sends those."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        # Between the answers to two signals, or before it was up: there is nothing left to end.
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_in_background(app: App, name: str) -> ExitCode:
    import subprocess
    import sys
    import time

    from vmkit.lab.directory import labs_directory

    directory = labs_directory()
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{name}.log"
    arguments = [each for each in sys.argv[1:] if each != "--background"]
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - this very command, once more
            [sys.executable, "-m", "vmkit", *arguments, "--name", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        record = find_running(name)
        if record is not None:
            app.console.report_document(record.kubeconfig)
            app.console.note(f"practice cluster {name} at {record.url}; `vmkit lab down` ends it")
            return ExitCode.OK
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        said = log.read_text(errors="replace").strip().splitlines()
        raise UsageError(f"the practice cluster did not come up: {said[0] if said else 'it said nothing'}")
    process.terminate()
    raise UsageError("the practice cluster did not come up in time", hint=f"what it said is in {log}")


@lab.command("down")
@which_lab
@pass_app
def down(app: App, *, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """End a practice cluster.

    Everything in it is gone then, unless "vmkit lab save" has kept it.
    """
    remote = connect(name, lab_kubeconfig)
    remote.down()
    _wait_until_gone(remote)
    app.console.report(f"practice cluster {remote.name} ended")
    return ExitCode.OK


def _wait_until_gone(remote: RemoteLab) -> None:
    import time

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            remote.clock()
        except (Unreachable, InputError):
            return
        time.sleep(0.02)


@lab.command("status")
@output_option(formats=("table", "wide", "name", "json", "yaml"), default="table")
@pass_app
def status(app: App, *, output: str) -> ExitCode:
    """List the practice clusters that run."""
    from vmkit.lab.directory import read_records, remove_record
    from vmkit.lab.remote import RemoteLab

    rows: list[dict[str, Any]] = []
    for record in read_records():
        try:
            found = RemoteLab.from_kubeconfig(record.kubeconfig, name=record.name).status()
        except (Unreachable, ConfigError):
            remove_record(record)  # it ended without a word
            continue
        rows.append(
            {"name": record.name, "url": record.url, "kubeconfig": record.kubeconfig, "pid": record.pid, **found}
        )
    if not rows and output in ("table", "wide"):
        app.console.note("no practice cluster runs; `vmkit lab up` brings one up")
    else:
        app.console.data(_render_status(rows, output))
    return ExitCode.OK


def _render_status(rows: list[dict[str, Any]], output: str) -> str:
    from vmkit.report.envelope import build_envelope, render_envelope
    from vmkit.report.table import Column, render_table

    if output in ("json", "yaml"):
        return "".join(
            render_envelope(build_envelope("PracticeClusterList", "lab status", exit_code=0), rows, output)
        )
    if output == "name":
        return "".join(f"{row['name']}\n" for row in rows)
    columns: tuple[Column[dict[str, Any]], ...] = (
        Column("NAME", lambda row: row["name"]),
        Column("URL", lambda row: row["url"]),
        Column("NOW", lambda row: row["now"]),
        Column("CLOCK", describe_clock),
        Column("KUBEVIRT", lambda row: str(row["kubevirt"])),
        Column("VMS", lambda row: str(row["objects"].get("virtualmachines.kubevirt.io", 0))),
        Column("FAULTS", lambda row: str(row["faults"])),
        Column("KUBECONFIG", lambda row: row["kubeconfig"], wide=True),
        Column("PID", lambda row: str(row["pid"]), wide=True),
    )
    return render_table(columns, rows, wide=output == "wide")
