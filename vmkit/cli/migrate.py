"""``vmkit migrate``: look into VMs' disks, and judge which workloads may become containers or wasm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.app import App
from vmkit.cli.options import (
    OUTPUT,
    SELECTION,
    Group,
    argument,
    click_choice,
    connection_options,
    option,
    output_option,
    pass_app,
)
from vmkit.errors import EvidenceError, ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.migrate.assessment import Assessed
    from vmkit.migrate.facts import Facts
    from vmkit.migrate.machine import Machine

_COMMANDS = ("inspect", "assess", "generate", "rules")
_FACTS_BYTES = 256 * 2**20


class _MigrateGroup(Group):
    """Answers ``vmkit migrate NAME`` with the two things that it could mean."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise UsageError(
                f"vmkit migrate takes one of {', '.join(_COMMANDS)}, and {name!r} is none",
                hint=f"to move a running VM to another node: vmkit live-migrate {name}; "
                "to see what its workloads could become: vmkit migrate inspect DISK",
            )
        return super().resolve_command(ctx, args)


@click.group("migrate", cls=_MigrateGroup)
def migrate() -> None:
    """Look into VMs' disks and judge what may become a container or wasm.

    Nothing here changes anything, and nothing of a guest is run: disks are read, read-only and without root.
    (Moving a running VM to another node is vmkit live-migrate.)
    """


def _reading_options(function: Any) -> Any:
    for decorate in reversed(
        [
            option(
                "--disk",
                "disks",
                multiple=True,
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="A further disk of the same machine; may be given several times, in order.",
            ),
            option(
                "--follow-backing",
                is_flag=True,
                help="Also read the backing files that a qcow2 image names. Only for images you trust: the names "
                "come out of the image.",
            ),
            option(
                "--format",
                "declared_format",
                type=click_choice(["raw", "qcow2"]),
                help="Take the image as this instead of looking.",
            ),
            option(
                "--max-seconds",
                type=click.FloatRange(min=1),
                default=900.0,
                show_default=True,
                help="Stop an inspection that takes longer.",
            ),
            option(
                "--scratch",
                type=click.Path(path_type=Path, file_okay=False),
                help="Where VMDK, VHD and compressed tars are unpacked to (the system's temporary folder).",
            ),
        ]
    ):
        function = decorate(function)
    return function


@migrate.command("inspect")
@argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@_reading_options
@output_option(formats=("table", "json", "yaml"), default="table", help_text="A summary, or the facts document.")
@pass_app
def inspect(
    app: App,
    *,
    source: Path,
    disks: Sequence[Path],
    follow_backing: bool,
    declared_format: str | None,
    max_seconds: float,
    scratch: Path | None,
    output: str,
) -> ExitCode:
    """Collect facts about a guest from its disk.

    SOURCE is a disk image (raw, qcow2; VMDK, VHD and VDI with qemu-img), a folder with a mounted root, or a tar of
    one. Nothing is changed, nothing of the guest is run, and values of secrets are never shown.

    \b
    vmkit migrate inspect web-1.qcow2
    vmkit migrate inspect root.qcow2 --disk data.qcow2 -o json > web-1.json
    vmkit migrate inspect /mnt/web-1
    """
    facts = _read_facts(
        source,
        disks=disks,
        follow_backing=follow_backing,
        declared_format=declared_format,
        max_seconds=max_seconds,
        scratch=scratch,
    )
    if output == "table":
        from vmkit.migrate.show import render_facts

        app.console.data(render_facts(facts))
    else:
        from vmkit.migrate.facts import encode_facts, facts_to_dict
        from vmkit.report.envelope import render_document

        app.console.data(
            encode_facts(facts).decode() if output == "json" else render_document(facts_to_dict(facts), output)
        )
    if facts.os is None or not facts.packages.manager:
        for note in facts.notes:
            app.console.warn(note)
    return ExitCode.OK if facts.os is not None and facts.os.family != "windows" else ExitCode.EVIDENCE


def _read_facts(
    source: Path,
    *,
    disks: Sequence[Path] = (),
    follow_backing: bool = False,
    declared_format: str | None = None,
    max_seconds: float = 900.0,
    scratch: Path | None = None,
) -> Facts:
    from vmkit.migrate.source import inspect_source
    from vmkit.migrate.tree.rooted import Limits

    return inspect_source(
        source,
        disks=disks,
        limits=Limits(seconds=max_seconds),
        follow_backing=follow_backing,
        declared_format=declared_format or "",
        scratch=scratch,
    )


@migrate.command("assess")
@argument("sources", metavar="[SOURCE]...", nargs=-1, type=click.Path(path_type=Path))
@option("-A", "--all-namespaces", is_flag=True, heading=SELECTION, help="Judge every VM of the cluster.")
@option(
    "-l", "--selector", metavar="SELECTOR", heading=SELECTION, help="Judge the cluster's VMs whose labels match."
)
@option(
    "--facts",
    "facts_folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    heading=SELECTION,
    help="Facts documents of the cluster's VMs, as NAMESPACE.NAME.json.",
)
@option("--vm", metavar="FILE", type=click.Path(path_type=Path), help="The manifest of the VM whose disk it is.")
@option(
    "--override", "overrides", multiple=True, metavar="RULE", help="Set a rule aside; the report says that it was."
)
@_reading_options
@output_option(formats=("table", "wide", "json", "yaml"), default="table")
@option(
    "--no-findings", is_flag=True, heading=OUTPUT, help="Only the table of a single guest, without its findings."
)
@connection_options
@pass_app
def assess(
    app: App,
    *,
    sources: Sequence[Path],
    all_namespaces: bool,
    selector: str | None,
    facts_folder: Path | None,
    vm: Path | None,
    overrides: Sequence[str],
    disks: Sequence[Path],
    follow_backing: bool,
    declared_format: str | None,
    max_seconds: float,
    scratch: Path | None,
    output: str,
    no_findings: bool,
) -> ExitCode:
    """Judge which workloads may become containers or wasm.

    SOURCE is what inspect takes, or a facts document that it wrote. With -A or -l the cluster's VMs are judged:
    their specifications alone can only say "No fit" or "Insufficient data"; --facts adds what inspect found.

    The exit code is 0 when everything can move, 1 when something does not fit, 6 when too little is known.

    \b
    vmkit migrate assess web-1.qcow2
    vmkit migrate assess web-1.json --override container.sysctl
    vmkit migrate assess -A --facts ./facts -o wide
    """
    from vmkit.migrate.assessment import Assessed, assessment_to_dict, fleet_to_dict
    from vmkit.migrate.show import render_assessment, render_fleet
    from vmkit.migrate.verdict import check_overrides, decide_verdict, worst_exit_code
    from vmkit.report.envelope import render_document

    check_overrides(overrides)
    of_cluster = all_namespaces or selector is not None
    if of_cluster == bool(sources):
        raise UsageError(
            "give SOURCES, or -A or -l for VMs of the cluster"
            if not sources
            else "give SOURCES or -A/-l, not both",
            hint="vmkit migrate assess web-1.qcow2, or vmkit migrate assess -A",
        )
    if vm is not None and len(sources) != 1:
        raise UsageError("--vm belongs to one source", hint="give one disk image, folder, tar or facts document")
    fleet: list[Assessed] = []
    if of_cluster:
        fleet = _assess_cluster(app, all_namespaces, selector or "", facts_folder, overrides)
        if not fleet:
            app.console.note("there is no VM")
            return ExitCode.OK
    else:
        machine = _read_manifest(vm) if vm is not None else None
        for source in sources:
            facts = _load_facts(source) or _read_facts(
                source,
                disks=disks,
                follow_backing=follow_backing,
                declared_format=declared_format,
                max_seconds=max_seconds,
                scratch=scratch,
            )
            verdict = decide_verdict(facts, machine=machine, overrides=overrides)
            fleet.append(Assessed(str(source), facts, verdict, machine))
    if output in ("json", "yaml"):
        document = fleet_to_dict(fleet) if of_cluster or len(fleet) > 1 else assessment_to_dict(fleet[0])
        app.console.data(render_document(document, output))
    elif of_cluster or len(fleet) > 1:
        app.console.data(render_fleet(fleet, wide=output == "wide"))
    else:
        app.console.data(render_assessment(fleet[0], findings=not no_findings))
    return worst_exit_code(one.verdict for one in fleet)


def _load_facts(source: Path) -> Facts | None:
    """The facts document in a file; None when it is something else."""
    from vmkit.migrate.facts import decode_facts

    try:
        if not source.is_file() or source.stat().st_size > _FACTS_BYTES:
            return None
        with source.open("rb") as file:
            head = file.read(1)
            if head != b"{":
                return None
            return decode_facts(head + file.read(_FACTS_BYTES), where=str(source))
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}", where=str(source)) from error


def _read_manifest(path: Path) -> Machine:
    import yaml

    from vmkit.errors import ManifestError
    from vmkit.migrate.machine import read_machine

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError("is neither YAML nor JSON", where=str(path)) from error
    if not isinstance(document, dict) or document.get("kind") != "VirtualMachine":
        raise ManifestError("is no VirtualMachine", hint="kubectl get vm NAME -o yaml writes one", where=str(path))
    return read_machine(document)


def _assess_cluster(
    app: App, all_namespaces: bool, selector: str, folder: Path | None, overrides: Sequence[str]
) -> list[Assessed]:
    from vmkit.cluster.resources import VIRTUAL_MACHINES
    from vmkit.migrate.assessment import Assessed
    from vmkit.migrate.facts import Facts, Source
    from vmkit.migrate.machine import read_machine
    from vmkit.migrate.verdict import decide_verdict

    found: list[Assessed] = []
    with app.connect() as vk:
        namespace = None if all_namespaces else vk.namespace
        for manifest in vk.session.list(VIRTUAL_MACHINES, namespace, label_selector=selector):
            machine = read_machine(manifest)
            name = f"{machine.namespace}/{machine.name}"
            known = _load_facts(folder / f"{machine.namespace}.{machine.name}.json") if folder else None
            facts = known or Facts(source=Source(kind="cluster", location=name))
            verdict = decide_verdict(facts, machine=machine, overrides=overrides)
            found.append(Assessed(name, facts, verdict, machine))
    return found


@migrate.command("rules")
@output_option(formats=("table", "wide", "json", "yaml"), default="table")
@pass_app
def rules(app: App, *, output: str) -> None:
    """List the rules by which workloads are judged."""
    from vmkit.migrate.assessment import rule_to_dict
    from vmkit.migrate.rules.catalogue import RULES
    from vmkit.migrate.show import render_rules
    from vmkit.report.envelope import render_document

    if output in ("json", "yaml"):
        app.console.data(render_document([rule_to_dict(rule) for rule in RULES], output))
    else:
        app.console.data(render_rules(RULES, wide=output == "wide"))


@migrate.command("generate")
@argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@option(
    "--out",
    "target",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to write; must be empty, or not there yet.",
)
@option(
    "--registry", metavar="NAME", required=True, help='What images\' names begin with, as "registry.example/shop".'
)
@option("--storage-class", metavar="NAME", help="Of the volumes; by default the cluster's default.")
@option("--service", "only", multiple=True, metavar="NAME", help="Only this workload; may be given several times.")
@option("--override", "overrides", multiple=True, metavar="RULE", help="Set a rule aside.")
@_reading_options
@pass_app
def generate(
    app: App,
    *,
    source: Path,
    target: Path,
    registry: str,
    storage_class: str | None,
    only: Sequence[str],
    overrides: Sequence[str],
    disks: Sequence[Path],
    follow_backing: bool,
    declared_format: str | None,
    max_seconds: float,
    scratch: Path | None,
) -> ExitCode:
    """Write images to build and objects to apply.

    For each workload that fits a container: a Containerfile on the guest's own distribution, a tar of the
    application's files with their owners, and Kubernetes objects that keep user, environment, state, ports, limits
    and times. State, secrets and whatever belongs to packages stay out of images; CronJobs are suspended.

    \b
    vmkit migrate generate old-web.qcow2 --out ./old-web --registry registry.example/old-web
    """
    from vmkit.migrate.generate.folder import write_artifacts
    from vmkit.migrate.source import open_source, read_facts
    from vmkit.migrate.tree.rooted import Limits
    from vmkit.migrate.verdict import decide_verdict

    with open_source(
        source,
        disks=disks,
        limits=Limits(seconds=max_seconds),
        follow_backing=follow_backing,
        declared_format=declared_format or "",
        scratch=scratch,
    ) as opened:
        facts = read_facts(opened)
        if opened.tree is None:
            raise EvidenceError(
                "; ".join(facts.notes), hint="vmkit migrate inspect shows its disks", where=str(source)
            )
        verdict = decide_verdict(facts, overrides=overrides)
        known = {one.service.name for one in verdict.services}
        for name in only:
            if name not in known:
                raise UsageError(
                    f"there is no workload {name!r} on it", hint=f"there are {', '.join(sorted(known)) or 'none'}"
                )
        made = write_artifacts(
            opened.tree, facts, verdict, target, registry=registry, storage_class=storage_class, only=only
        )
    for one in made:
        if one.skipped:
            app.console.warn(f"{one.service}: {one.skipped}")
        else:
            app.console.report(f"{one.service}: {target / one.folder} ({one.files} files)")
            for note in one.notes:
                app.console.note(f"  {note}")
    return ExitCode.SOME_FAILED if any(one.skipped for one in made) or not made else ExitCode.OK
