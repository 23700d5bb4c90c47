"""``vmkit migrate inspect``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vmkit.cli.app import App
from vmkit.cli.migrate.group import migrate, read_facts, reading_options
from vmkit.cli.options import argument, output_option, pass_app
from vmkit.errors import ExitCode


@migrate.command("inspect")
@argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@reading_options
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
    facts = read_facts(
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
