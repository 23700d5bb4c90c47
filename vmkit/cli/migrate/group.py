"""The group ``vmkit migrate``, and how its commands read a guest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vmkit.cli.options import Group, click_choice, option
from vmkit.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from vmkit.migrate.facts import Facts

F = TypeVar("F", bound=Callable[..., Any])
_FACTS_BYTES: Final = 256 * 2**20


class _MigrateGroup(Group):
    """Answers ``vmkit migrate NAME`` with the two things that it could mean."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise UsageError(
                f"vmkit migrate takes one of {', '.join(self.commands)}, and {name!r} is none",
                hint=f"to move a running VM to another node: vmkit live-migrate {name}; "
                "to see what its workloads could become: vmkit migrate inspect DISK",
            )
        return super().resolve_command(ctx, args)


@click.group("migrate", cls=_MigrateGroup)
def migrate() -> None:
    """Look into VMs' disks and judge what may become a container or wasm.

    Nothing here changes a VM or its disk. Disks are read, read-only and without root, and nothing of a guest is
    run but by build and verify, each in its sandbox. (Moving a running VM to another node is vmkit live-migrate.)
    """


def reading_options(function: F) -> F:
    """What every command that opens a guest takes: further disks, formats, limits."""
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


def read_facts(
    source: Path,
    *,
    disks: Sequence[Path] = (),
    follow_backing: bool = False,
    declared_format: str | None = None,
    max_seconds: float = 900.0,
    scratch: Path | None = None,
) -> Facts:
    """The facts of a disk image, folder or tar; the arguments are those of `reading_options`."""
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


def load_facts(source: Path) -> Facts | None:
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
