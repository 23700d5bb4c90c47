"""``vmkit lab``: a practice cluster on this machine, and what one can do to it while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.options import argument, group, option, output_option, pass_app
from vmkit.errors import ConfigError, ExitCode, InputError, Unreachable, UsageError

if TYPE_CHECKING:
    from vmkit.lab.directory import LabRecord
    from vmkit.lab.lab import Lab
    from vmkit.lab.remote import RemoteLab

_START_SECONDS = 60.0
_WHICH = "Which practice cluster"


@group("lab")
def lab() -> None:
    """Run a practice cluster on this machine.

    It speaks the API of Kubernetes, KubeVirt, CDI and Rook on 127.0.0.1, with a clock that can be moved. Every
    command
    of vmkit, and kubectl, work on it with the kubeconfig that "vmkit lab up" prints.
    """


# --- up and down
# --------------------------------------------------------------------------------------------------


@lab.command("up")
@option("--name", default="lab", show_default=True, metavar="NAME", help="Its name; several may run at once.")
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
@option("--tls", is_flag=True, help="Serve HTTPS (needs the extra vmkit[tls]).")
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
def up(app: App, *, name: str, background: bool, **settings: Any) -> ExitCode:
    """Bring up a practice cluster.

    The path of its kubeconfig is written to stdout; then it runs until it is interrupted.

    \b
    export KUBECONFIG=$(vmkit lab up --fleet 200 --background)
    vmkit get -A
    vmkit lab down
    """
    from vmkit.lab.directory import check_name

    check_name(name)
    running = _find_running(name)
    if running is not None:
        raise UsageError(
            f"a practice cluster named {name} runs already, at {running.url}",
            hint=f"end it with `vmkit lab down --name {name}`, or give another --name",
        )
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


def _build(name: str, settings: Mapping[str, Any]) -> Lab:
    from vmkit.lab.directory import default_kubeconfig
    from vmkit.lab.lab import Lab

    given = dict(settings)
    start, faults = given.pop("start"), given.pop("faults")
    kubeconfig = given.pop("kubeconfig") or default_kubeconfig(name)
    rules, script = _read_faults(faults) if faults else ([], [])
    cluster = Lab(
        name=name,
        kubeconfig=kubeconfig,
        clock_start=_parse_instant(start) if start else None,
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
            [sys.executable, "-m", "vmkit", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        record = _find_running(name)
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


def _which_lab(function: Any) -> Any:
    """--name and --kubeconfig of the commands that act on a running lab."""
    function = option(
        "--kubeconfig", "lab_kubeconfig", type=click.Path(dir_okay=False), metavar="FILE", heading=_WHICH,
        help="The kubeconfig it was brought up with, instead of its name.",
    )(function)  # fmt: skip
    return option("--name", default="lab", show_default=True, metavar="NAME", heading=_WHICH, help="Its name.")(
        function
    )


@lab.command("down")
@_which_lab
@pass_app
def down(app: App, *, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """End a practice cluster.

    Everything in it is gone then, unless "vmkit lab save" has kept it.
    """
    remote = _connect(name, lab_kubeconfig)
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
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.report.table import Column, render_table

    if output in ("json", "yaml"):
        return render_document(build_envelope("PracticeClusterList", "lab status", rows, exit_code=0), output)
    if output == "name":
        return "".join(f"{row['name']}\n" for row in rows)
    columns: tuple[Column[dict[str, Any]], ...] = (
        Column("NAME", lambda row: row["name"]),
        Column("URL", lambda row: row["url"]),
        Column("NOW", lambda row: row["now"]),
        Column("CLOCK", _describe_clock),
        Column("KUBEVIRT", lambda row: str(row["kubevirt"])),
        Column("VMS", lambda row: str(row["objects"].get("virtualmachines.kubevirt.io", 0))),
        Column("FAULTS", lambda row: str(row["faults"])),
        Column("KUBECONFIG", lambda row: row["kubeconfig"], wide=True),
        Column("PID", lambda row: str(row["pid"]), wide=True),
    )
    return render_table(columns, rows, wide=output == "wide")


def _describe_clock(clock: Mapping[str, Any]) -> str:
    if clock["frozen"]:
        return "frozen"
    return "runs" if clock["speed"] == 1 else f"runs x{clock['speed']:g}"


# --- the clock
# ----------------------------------------------------------------------------------------------------


@lab.command("clock", context_settings={"ignore_unknown_options": True})
@argument("move", required=False, metavar="[+DURATION|TIME|now|freeze|run]")
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="With run: how many seconds it makes of one.",
)
@_which_lab
@pass_app
def clock(app: App, *, move: str | None, speed: float | None, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Show or move the clock of a practice cluster.

    Everything that falls due on the way happens, in order.

    \b
    vmkit lab clock                        where it stands
    vmkit lab clock +8h                    eight hours on
    vmkit lab clock 2026-03-02T08:00:00Z   on to an instant
    vmkit lab clock freeze                 let it stand
    vmkit lab clock run --speed 60         a minute a second
    """
    if speed is not None and move != "run":
        raise UsageError("--speed goes with run", hint="vmkit lab clock run --speed 60")
    remote = _connect(name, lab_kubeconfig)
    if move is None or move == "now":
        stands = remote.clock()
    elif move == "freeze":
        stands = remote.move_clock(freeze=True)
    elif move == "run":
        stands = remote.move_clock(speed=1.0 if speed is None else speed)
    elif move.startswith("+"):
        from vmkit.units import parse_duration

        stands = remote.move_clock(advance_seconds=parse_duration(move[1:], where="MOVE").total_seconds())
    elif move.startswith("-"):
        raise UsageError("the clock only moves forward", hint='give "+8h"')
    else:
        stands = remote.move_clock(to=_parse_instant(move).isoformat())
    app.console.report(f"{stands['now']} {_describe_clock(stands)}")
    return ExitCode.OK


# --- faults
# -------------------------------------------------------------------------------------------------------


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
@_which_lab
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
    found = _connect(name, lab_kubeconfig).add_fault(document)
    app.console.report(f"{len(found)} fault{'' if len(found) == 1 else 's'}")
    return ExitCode.OK


@faults.command("load")
@argument("file", type=click.Path(dir_okay=False))
@_which_lab
@pass_app
def load_faults(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Add the faults of a file.

    A YAML or JSON list of faults, or a mapping with "faults" (rules) and "script" (each hits the next request).
    """
    rules, script = _read_faults(file)
    remote = _connect(name, lab_kubeconfig)
    for each in rules:
        remote.add_fault(each)
    if script:
        remote.add_fault({"script": script})
    app.console.report(f"{len(rules) + len(script)} faults added")
    return ExitCode.OK


@faults.command("list")
@output_option(formats=("table", "json", "yaml"), default="table")
@_which_lab
@pass_app
def list_faults(app: App, *, output: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """List the faults."""
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.report.table import Column, render_table

    found = _connect(name, lab_kubeconfig).faults()
    if output != "table":
        app.console.data(
            render_document(build_envelope("FaultList", "lab faults list", found, exit_code=0), output)
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
@_which_lab
@pass_app
def clear_faults(app: App, *, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """End all faults."""
    _connect(name, lab_kubeconfig).clear_faults()
    app.console.report("nothing goes wrong any more")
    return ExitCode.OK


def _read_faults(file: str) -> tuple[list[Any], list[Any]]:
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


# --- state
# --------------------------------------------------------------------------------------------------------


@lab.command("save")
@argument("file", type=click.Path(dir_okay=False))
@_which_lab
@pass_app
def save(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Write everything in a practice cluster to a file.

    Its Secrets are in there too; the file is readable by you alone.
    """
    from vmkit.lab.kubeconfig import write_private

    state = _connect(name, lab_kubeconfig).save()
    try:
        write_private(Path(file), state)
    except OSError as error:
        raise UsageError(f"cannot write the state: {error.strerror or error}", where=file) from error
    app.console.report(f"{file} written, {len(state)} bytes")
    return ExitCode.OK


@lab.command("load")
@argument("file", type=click.Path(dir_okay=False))
@_which_lab
@pass_app
def load(app: App, *, file: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Replace everything in a practice cluster by what "vmkit lab save" wrote."""
    try:
        state = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the state: {error.strerror or error}", where=file) from error
    remote = _connect(name, lab_kubeconfig)
    remote.load(state)
    app.console.report(f"{file} loaded; it is {remote.clock()['now']}")
    return ExitCode.OK


# --- metrics
# ------------------------------------------------------------------------------------------------------


@lab.command("metrics", context_settings={"ignore_unknown_options": True})
@option(
    "--from",
    "start",
    metavar="-DURATION|TIME",
    help="The beginning of a range; without it, the series as they stand now.",
)
@option(
    "--to",
    "end",
    metavar="-DURATION|TIME",
    help="The end of the range; by default the present instant of its clock.",
)
@option("--step", default="5m", show_default=True, metavar="DURATION", help="The time between samples.")
@option("--only", "only", multiple=True, metavar="METRIC", help="Only these metrics.")
@option("--all", "everything", is_flag=True, help="Every metric, not only those that decide about VMs.")
@option("-n", "--namespace", metavar="NAME", help="Only the VMs of one namespace.")
@option(
    "--kepler",
    type=click.Choice(["pods", "containers", "legacy", "none"]),
    help="Which generation of Kepler measures energy.",
)
@_which_lab
@pass_app
def metrics(
    app: App, *, start: str | None, end: str | None, step: str, only: tuple[str, ...], everything: bool,
    namespace: str | None, kepler: str | None, name: str, lab_kubeconfig: str | None,
) -> ExitCode:  # fmt: skip
    """Write the metrics of a practice cluster as OpenMetrics.

    \b
    vmkit lab metrics                                       as a scrape would see them now
    vmkit lab metrics --from -14d --step 5m > fleet.om      two weeks, for promtool to load
    """
    from vmkit.lab.metrics.openmetrics import DECISIVE, sample_times
    from vmkit.lab.metrics.service import decode_facts
    from vmkit.units import parse_duration

    facts = decode_facts(
        _connect(name, lab_kubeconfig).metric_facts(namespace=namespace or "", kepler=kepler or "")
    )
    exposition = facts.exposition()
    known = {family.name for family in exposition.families()}
    if unknown := sorted(set(only) - known):
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], known, n=2)
        raise UsageError(
            f"there is no metric {unknown[0]!r}", hint=f"did you mean {' or '.join(near)}?" if near else ""
        )
    chosen = set(only) or (set() if everything else set(DECISIVE))
    if start is None:
        times = [facts.now]
    else:
        seconds = parse_duration(step, where="--step").total_seconds()
        if seconds < 1:
            raise UsageError("--step is at least a second", where="--step")
        first = _parse_moment(start, facts.now, "--from")
        last = facts.now if end is None else _parse_moment(end, facts.now, "--to")
        if last < first:
            raise UsageError("the range ends before it begins", where="--to")
        times = sample_times(first, last, seconds)
    for piece in exposition.render(times, only=chosen, stamped=start is not None):
        app.console.data(piece)
    return ExitCode.OK


def _parse_moment(text: str, now: float, where: str) -> float:
    from vmkit.units import parse_duration

    if text.startswith("-"):
        return now - parse_duration(text[1:], where=where).total_seconds()
    return _parse_instant(text).timestamp()


# --- what goes on inside
# ------------------------------------------------------------------------------------------


@lab.command("guest")
@argument("vm", metavar="VM")
@argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@option("-n", "--namespace", default="default", show_default=True, metavar="NAME", help="The VM's namespace.")
@_which_lab
@pass_app
def guest(
    app: App, *, vm: str, settings: tuple[str, ...], namespace: str, name: str, lab_kubeconfig: str | None
) -> ExitCode:
    """Say how a VM's guest behaves.

    Names are boot-seconds, shutdown-seconds, ignores-acpi, agent, crash, exit, users, os and filesystem-used,
    and load for
    the shape of its work; an empty value takes one back. Without any, they are shown.

    \b
    vmkit lab guest web-1 ignores-acpi=true users=alice,bob
    vmkit lab guest web-1 load=nightly
    """
    remote = _connect(name, lab_kubeconfig)
    annotations = _annotate(
        remote, f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{vm}", _guest_annotations(settings)
    )
    for key in sorted(annotations):
        if key.startswith("lab.vmkit.io/"):
            short = key.removeprefix("lab.vmkit.io/").removeprefix("guest-")
            app.console.report(f"{short}={annotations[key]}")
    return ExitCode.OK


def _guest_annotations(settings: tuple[str, ...]) -> dict[str, str | None]:
    annotations: dict[str, str | None] = {}
    for each in settings:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise UsageError(f"{each!r} is not NAME=VALUE", hint="as in users=alice,bob")
        full = "lab.vmkit.io/load" if key == "load" else f"lab.vmkit.io/guest-{key}"
        annotations[full] = value or None
    return annotations


@lab.command("ceph")
@option(
    "--trouble",
    "troubles",
    multiple=True,
    metavar="CHECK",
    help="A failing health check, as MON_DOWN or HEALTH_ERR.",
)
@option("--used", metavar="SIZE|SHARE", help='What others have stored, as "10Ti" or "86%".')
@option("--capacity", metavar="SIZE", help="The raw size of all its disks.")
@option("--well", is_flag=True, help="Everything is as it should be again.")
@_which_lab
@pass_app
def ceph(
    app: App, *, troubles: tuple[str, ...], used: str | None, capacity: str | None, well: bool, name: str,
    lab_kubeconfig: str | None,
) -> ExitCode:  # fmt: skip
    """Make the Ceph cluster ill, full or well; show its health.

    \b
    vmkit lab ceph --trouble MON_DOWN
    vmkit lab ceph --used 86%
    vmkit lab ceph --well
    """
    if well and (troubles or used):
        raise UsageError("--well takes troubles back", hint="give it alone")
    change: dict[str, str | None] = {}
    if troubles or well:
        change["lab.vmkit.io/ceph-troubles"] = ",".join(troubles) or None
    if used or well:
        change["lab.vmkit.io/ceph-used"] = used
    if capacity:
        change["lab.vmkit.io/ceph-capacity"] = capacity
    remote = _connect(name, lab_kubeconfig)
    path = "/apis/ceph.rook.io/v1/namespaces/rook-ceph/cephclusters/rook-ceph"
    _annotate(remote, path, change)
    found = _read_object(remote, path)["status"]["ceph"]
    sizes = found["capacity"]
    share = sizes["bytesUsed"] / sizes["bytesTotal"] if sizes["bytesTotal"] else 1.0
    checks = " ".join(sorted(found.get("details", {})))
    app.console.report(f"{found['health']} {share:.0%} used {checks}".rstrip())
    return ExitCode.OK


@lab.command("node")
@argument("node", metavar="NODE")
@argument("what", type=click.Choice(["silent", "back"]))
@_which_lab
@pass_app
def node(app: App, *, node: str, what: str, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Let a node fall silent, or come back.

    A silent node is not ready after 40 seconds of the cluster's clock; what runs on it runs on, unseen.
    """
    remote = _connect(name, lab_kubeconfig)
    _annotate(remote, f"/api/v1/nodes/{node}", {"lab.vmkit.io/silent": "true" if what == "silent" else None})
    app.console.report(f"{node} {'falls silent' if what == 'silent' else 'is back'}")
    return ExitCode.OK


def _annotate(remote: RemoteLab, path: str, annotations: Mapping[str, str | None]) -> dict[str, str]:
    """Sets annotations of an object (None takes one back) and returns all it has then."""
    import json

    from vmkit.errors import NotFound

    body = json.dumps({"metadata": {"annotations": annotations}}).encode()
    status, answer = remote.request("PATCH", path, body, content_type="application/merge-patch+json")
    document = json.loads(answer)
    if status == 404:
        raise NotFound(document["message"])
    if status >= 300:
        raise InputError(document["message"])
    found: dict[str, str] = document["metadata"].get("annotations") or {}
    return found


def _read_object(remote: RemoteLab, path: str) -> dict[str, Any]:
    import json

    _, answer = remote.request("GET", path)
    document: dict[str, Any] = json.loads(answer)
    return document


# --- finding a lab
# ------------------------------------------------------------------------------------------------


def _connect(name: str, kubeconfig: str | None) -> RemoteLab:
    """The running lab that is meant.

    Raises:
        UsageError: none of that name runs.
    """
    from vmkit.lab.directory import check_name, read_records
    from vmkit.lab.remote import RemoteLab

    if kubeconfig is not None:
        return RemoteLab.from_kubeconfig(kubeconfig)
    record = _find_running(check_name(name))
    if record is None:
        others = [each.name for each in read_records() if each.name != name]
        raise UsageError(
            f"no practice cluster named {name} runs",
            hint=f"there is {', '.join(others)}: give --name" if others else "`vmkit lab up` brings one up",
        )
    return RemoteLab.from_kubeconfig(record.kubeconfig, name=record.name)


def _find_running(name: str) -> LabRecord | None:
    """The record of a lab that answers; one that does not is forgotten."""
    from vmkit.lab.directory import read_record, remove_record
    from vmkit.lab.remote import RemoteLab

    record = read_record(name)
    if record is None:
        return None
    try:
        RemoteLab.from_kubeconfig(record.kubeconfig).clock()
    except (Unreachable, ConfigError):
        remove_record(record)
        return None
    return record


def _parse_instant(text: str) -> datetime:
    from datetime import datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no instant", hint='write it as "2026-03-02T08:00:00+01:00" or "+8h"'
        ) from error
    if at.tzinfo is None:
        raise UsageError(f"{text!r} has no time zone", hint='add "Z" or "+01:00"')
    return at
