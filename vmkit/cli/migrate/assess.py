"""``vmkit migrate assess`` and ``rules``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import load_facts, migrate, read_facts, reading_options
from vmkit.cli.options import OUTPUT, SELECTION, argument, connection_options, option, output_option, pass_app
from vmkit.errors import EvidenceError, ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.migrate.assessment import Assessed
    from vmkit.migrate.machine import Machine
    from vmkit.migrate.verdict import Verdict


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
@option(
    "--proof",
    "proof_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What verify wrote: candidates that it ran are proven, or differ.",
)
@reading_options
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
    proof_file: Path | None,
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
    for name, given in (("--vm", vm), ("--proof", proof_file)):
        if given is not None and len(sources) != 1:
            raise UsageError(
                f"{name} belongs to one source", hint="give one disk image, folder, tar or facts document"
            )
    fleet: list[Assessed] = []
    if of_cluster:
        fleet = _assess_cluster(app, all_namespaces, selector or "", facts_folder, overrides)
        if not fleet:
            app.console.note("there is no VM")
            return ExitCode.OK
    else:
        machine = _read_manifest(vm) if vm is not None else None
        for source in sources:
            facts = load_facts(source) or read_facts(
                source,
                disks=disks,
                follow_backing=follow_backing,
                declared_format=declared_format,
                max_seconds=max_seconds,
                scratch=scratch,
            )
            verdict = decide_verdict(facts, machine=machine, overrides=overrides)
            if proof_file is not None:
                verdict = _take_proof(verdict, proof_file)
            fleet.append(Assessed(str(source), facts, verdict, machine))
    if output in ("json", "yaml"):
        document = fleet_to_dict(fleet) if of_cluster or len(fleet) > 1 else assessment_to_dict(fleet[0])
        app.console.data(render_document(document, output))
    elif of_cluster or len(fleet) > 1:
        app.console.data(render_fleet(fleet, wide=output == "wide"))
    else:
        app.console.data(render_assessment(fleet[0], findings=not no_findings))
    return worst_exit_code(one.verdict for one in fleet)


def _take_proof(verdict: Verdict, path: Path) -> Verdict:
    from vmkit.migrate.verify.taken import decode_proof, take_proof

    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return take_proof(verdict, decode_proof(data, where=str(path)))


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
            known = load_facts(folder / f"{machine.namespace}.{machine.name}.json") if folder else None
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
