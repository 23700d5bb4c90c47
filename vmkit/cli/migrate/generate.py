"""``vmkit migrate generate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate, reading_options
from vmkit.cli.options import argument, option, pass_app
from vmkit.errors import EvidenceError, ExitCode, UsageError


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
@reading_options
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
