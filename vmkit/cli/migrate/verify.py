"""``vmkit migrate verify``."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate, reading_options
from vmkit.cli.options import argument, click_choice, option, output_option, pass_app
from vmkit.errors import ExitCode, Interrupted, ManifestError, Refused, UsageError

if TYPE_CHECKING:
    from vmkit.migrate.verify.exchange import Request

_PROOF = "proof.json"


@migrate.command("verify")
@argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@option(
    "--source",
    metavar="DISK",
    type=click.Path(path_type=Path),
    help="The VM's disk: an overlay of it is booted, requests are found in its files, its state is copied into "
    "the container's volumes.",
)
@option(
    "--vm-url",
    "urls",
    multiple=True,
    metavar="[NAME=]URL",
    help="Ask the running VM instead of its disk; for one workload, or for all. Without --requests it gets only "
    "GET and HEAD.",
)
@option(
    "--requests",
    "requests_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What to ask (YAML or JSON), instead of what is found.",
)
@option(
    "--access-log",
    "logs",
    multiple=True,
    metavar="NAME=FILE",
    help="Ask what this web server's log recorded (common or combined format; GET and HEAD only).",
)
@option(
    "--tolerances",
    "tolerances_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What may differ (YAML or JSON).",
)
@option(
    "--runner",
    "runners",
    multiple=True,
    type=click_choice(["container", "wasm"]),
    help="Only this target; may be given several times.",
)
@option("--service", "only", multiple=True, metavar="NAME", help="Only this workload; may be given several times.")
@option("--vm-memory", metavar="SIZE", default="1Gi", show_default=True, help="Memory of the booted VM.")
@option("--vm-cpus", type=click.IntRange(1, 64), default=2, show_default=True, help="Processors of the booted VM.")
@option(
    "--accelerator",
    type=click_choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="How the disk is booted: KVM, or emulation (tcg); auto takes KVM where it works.",
)
@option(
    "--boot-seconds",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="How long the VM's first answer may take.",
)
@option(
    "--ready-seconds",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    help="How long the first answer of a container or component may take.",
)
@option(
    "--console",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the booted VM's console here.",
)
@reading_options
@output_option(formats=("table", "json", "yaml"), default="table")
@pass_app
def verify(
    app: App,
    *,
    folder: Path,
    source: Path | None,
    urls: Sequence[str],
    requests_file: Path | None,
    logs: Sequence[str],
    tolerances_file: Path | None,
    runners: Sequence[str],
    only: Sequence[str],
    vm_memory: str,
    vm_cpus: int,
    accelerator: str,
    boot_seconds: float,
    ready_seconds: float,
    console: Path | None,
    disks: Sequence[Path],
    follow_backing: bool,
    declared_format: str | None,
    max_seconds: float,
    scratch: Path | None,
    output: str,
) -> ExitCode:
    """Run what was generated, and compare its answers with the VM's.

    FOLDER is what generate wrote. The same requests go to the VM, to its container and to its component; status,
    headers that matter and bodies have to be equal. What could not be run is "not proven", with its reason.

    Nobody can be hurt: the disk is booted as an overlay on a network that reaches nothing, containers have no
    network at all, components neither files nor network. All of it is gone afterwards; what is left is proof.json
    in FOLDER.

    The exit code is 0 when everything is proven, 1 when an answer differs, 6 when something could not be shown.

    \b
    vmkit migrate verify ./old-web --source old-web.qcow2
    vmkit migrate verify ./old-web --source root.qcow2 --disk data.qcow2 --tolerances tolerances.yaml
    vmkit migrate verify ./old-web --vm-url notes=http://192.0.2.7:8080 --service notes
    """
    from vmkit.migrate.tree.rooted import Limits
    from vmkit.migrate.verify.machine import MachineOptions
    from vmkit.migrate.verify.proof import proof_to_dict
    from vmkit.migrate.verify.requests import parse_requests
    from vmkit.migrate.verify.run import RUNNERS, Asked, verify_artifacts
    from vmkit.migrate.verify.show import render_proof
    from vmkit.migrate.verify.tolerances import parse_tolerances
    from vmkit.report.documents import render_json
    from vmkit.report.envelope import render_document
    from vmkit.units import parse_bytes

    if disks and source is None:
        raise UsageError("--disk belongs to --source", hint="give the root disk with --source")
    requests: list[Request] = []
    if requests_file is not None:
        requests += parse_requests(_load(requests_file), where=str(requests_file))
    for log in logs:
        requests += _read_log(log)
    tolerances = (
        parse_tolerances(_load(tolerances_file), where=str(tolerances_file)) if tolerances_file is not None else []
    )
    with _ending_on_sigterm():
        verified = verify_artifacts(
            folder,
            Asked(
                source=source,
                disks=tuple(disks),
                urls=_parse_urls(urls),
                requests=tuple(requests),
                tolerances=tuple(tolerances),
                runners=tuple(dict.fromkeys(runners)) or RUNNERS,
                only=tuple(only),
                machine=MachineOptions(
                    memory_bytes=parse_bytes(vm_memory, where="--vm-memory"),
                    vcpus=vm_cpus,
                    accelerator=accelerator,
                    boot_seconds=boot_seconds,
                    scratch=scratch,
                    serial_log=console,
                ),
                ready_seconds=ready_seconds,
                limits=Limits(seconds=max_seconds),
                follow_backing=follow_backing,
                declared_format=declared_format or "",
                scratch=scratch,
            ),
            tell=app.console.note,
        )
    document = proof_to_dict(verified.proof, masked=verified.secrets)
    try:
        (folder / _PROOF).write_text(render_json(document), encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(folder / _PROOF)) from error
    app.console.data(render_proof(document) if output == "table" else render_document(document, output))
    return verified.proof.exit_code


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Within the block SIGTERM ends as Ctrl-C does: what was started is ended, what was made is removed."""

    def stop(*_: object) -> None:
        raise Interrupted("ended by SIGTERM")

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs vmkit there has the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _load(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ManifestError(
            f"is neither YAML nor JSON: {error.problem or error.context}",
            hint="texts with any of ? : , [ ] { } in them need quotation marks",
            where=str(path),
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError("is neither YAML nor JSON", where=str(path)) from error


def _read_log(given: str) -> list[Request]:
    from vmkit.migrate.verify.requests import parse_access_log

    name, found, path = given.partition("=")
    if not found or not name:
        raise UsageError(f"--access-log {given!r} names no workload", hint="--access-log NAME=FILE")
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as lines:
            requests = parse_access_log(lines, service=name, origin=path)
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=path) from error
    if not requests:
        raise ManifestError(
            "holds no GET or HEAD request in the common or combined log format",
            hint="give another log",
            where=path,
        )
    return requests


def _parse_urls(given: Sequence[str]) -> dict[str, tuple[str, int, str]]:
    """Host, port and Host header by workload's name; "" for all."""
    from urllib.parse import urlsplit

    found: dict[str, tuple[str, int, str]] = {}
    for one in given:
        name, equals, url = one.partition("=")
        if not equals or "://" in name:
            name, url = "", one
        hint = "--vm-url http://192.0.2.7:8080, or --vm-url NAME=http://192.0.2.7:8080"
        try:
            parts = urlsplit(url)
            port = parts.port or 80
        except ValueError as error:
            raise UsageError(f"--vm-url {url!r} is no URL: {error}", hint=hint) from error
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.username:
            raise UsageError(f"--vm-url {url!r} is no http://HOST:PORT", hint=hint)
        if name in found:
            raise UsageError(f"--vm-url is given twice for {name or 'all workloads'}", hint=hint)
        found[name] = (parts.hostname, port, parts.netloc)
    return found
