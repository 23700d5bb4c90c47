"""``vmkit migrate generate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate, reading_options
from vmkit.cli.options import argument, click_choice, option, pass_app
from vmkit.errors import EvidenceError, ExitCode, UsageError

WASM = "Components"


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
@option(
    "--image",
    type=click_choice(["rebuild", "frozen"]),
    default="rebuild",
    show_default=True,
    help="Images rebuilt on the distribution's base, or the guest's whole root as it is (an OCI layout each).",
)
@option("--vm", "vm", metavar="NAME", default="", help="The VM's name, for the cut-over plan.")
@option(
    "--vm-claim",
    metavar="CLAIM",
    default="",
    help="The claim of the VM's disk: also write what copies its state into volumes.",
)
@option(
    "--scaling",
    type=click_choice(["cpu", "zero", "fixed"]),
    default="cpu",
    show_default=True,
    heading=WASM,
    help="One pod to many by CPU; to zero and back with KEDA's HTTP add-on; or always one.",
)
@option(
    "--max-replicas",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    heading=WASM,
    help="Pods at most.",
)
@option(
    "--runtime-class",
    metavar="NAME",
    default="wasmtime-spin-v2",
    show_default=True,
    heading=WASM,
    help='What components run under; "vmkit migrate doctor" names the cluster\'s.',
)
@option(
    "--handler",
    metavar="NAME",
    default="",
    heading=WASM,
    help="Also write that RuntimeClass, for this handler of the nodes' containerd.",
)
@option("--wasmcloud", is_flag=True, heading=WASM, help="Also write a WorkloadDeployment for wasmCloud.")
@option(
    "--argocd", "repository", metavar="URL", default="", help="Also write an Argo CD Application for this Git."
)
@option("--argocd-path", metavar="FOLDER", default="", help="Where in that Git this folder will stand.")
@option("--service", "only", multiple=True, metavar="NAME", help="Only this workload; may be given several times.")
@option("--override", "overrides", multiple=True, metavar="RULE", help="Set a rule aside.")
@reading_options
@pass_app
def generate(
    app: App,
    *,
    source: Path,
    target: Path,
    registry: str,
    storage_class: str | None,
    image: str,
    vm: str,
    vm_claim: str,
    scaling: str,
    max_replicas: int,
    runtime_class: str,
    handler: str,
    wasmcloud: bool,
    repository: str,
    argocd_path: str,
    only: Sequence[str],
    overrides: Sequence[str],
    disks: Sequence[Path],
    follow_backing: bool,
    declared_format: str | None,
    max_seconds: float,
    scratch: Path | None,
) -> ExitCode:
    """Write images to build and objects to apply.

    For each workload that fits a container: a Containerfile on the guest's own distribution with a tar of the
    application's files (or, with --image frozen, the guest's whole root), and Kubernetes objects that keep user,
    environment, state, ports, limits and times; for each that fits wasm the sources of a component, spin.toml and
    what SpinKube needs. State and secrets stay out of images; CronJobs are suspended.

    \b
    vmkit migrate generate old-web.qcow2 --out ./old-web --registry registry.example/old-web
    """
    from vmkit.migrate.generate.folder import Options, write_artifacts
    from vmkit.migrate.generate.image import ImageKind
    from vmkit.migrate.oci.frozen import MAX_IMAGE_BYTES
    from vmkit.migrate.registry.reference import parse_reference
    from vmkit.migrate.source import open_source, read_facts
    from vmkit.migrate.tree.rooted import Limits
    from vmkit.migrate.verdict import decide_verdict
    from vmkit.migrate.wasm.spin import Scaling

    parse_reference(f"{registry.rstrip('/')}/name")
    with open_source(
        source,
        disks=disks,
        limits=Limits(seconds=max_seconds, total_bytes=2 * MAX_IMAGE_BYTES),
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
            opened.tree,
            facts,
            verdict,
            target,
            Options(
                registry=registry,
                storage_class=storage_class,
                image=ImageKind(image),
                only=only,
                vm=vm,
                claim=vm_claim,
                scaling=Scaling(scaling),
                max_replicas=max_replicas,
                runtime_class=runtime_class,
                handler=handler,
                wasmcloud=wasmcloud,
                repository=repository,
                path=argocd_path,
            ),
        )
    for one in made:
        if one.skipped:
            app.console.warn(f"{one.service}: {one.skipped}")
        else:
            kinds = [kind for kind, there in (("container", one.image), ("component", one.component)) if there]
            app.console.report(f"{one.service}: {target / one.folder} ({' and '.join(kinds)}, {one.files} files)")
            for note in one.notes:
                app.console.note(f"  {note}")
    return ExitCode.SOME_FAILED if any(one.skipped for one in made) or not made else ExitCode.OK
