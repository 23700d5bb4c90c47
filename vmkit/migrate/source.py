"""From what a person names (disk images, a folder, a tar) to the facts document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmkit.errors import EvidenceError, UsageError
from vmkit.migrate.disk.image import Image, open_image
from vmkit.migrate.disk.volumes import DiskLayout, disk_name, read_layout
from vmkit.migrate.facts import Disk, DiskPart, Facts, Source
from vmkit.migrate.inspect.guest import describe_unreadable, inspect_tree
from vmkit.migrate.tree.assemble import assemble
from vmkit.migrate.tree.directory import DirectoryVolume
from vmkit.migrate.tree.rooted import Limits, Tree
from vmkit.migrate.tree.tar import TarVolume, is_tar


@dataclass(frozen=True, slots=True)
class Opened:
    """An open source: its tree (None where no root could be read), what it is, and what should be known of it."""

    tree: Tree | None
    source: Source
    notes: tuple[str, ...]


@contextmanager
def open_source(
    source: Path,
    *,
    disks: Sequence[Path] = (),
    limits: Limits | None = None,
    follow_backing: bool = False,
    declared_format: str = "",
    scratch: Path | None = None,
) -> Iterator[Opened]:
    """Opens a disk image, a mounted root or a tar; read-only, without root.

    Args:
        source: the image, folder or tar.
        disks: the machine's further disks, in their order.
        limits: what may be spent; see `vmkit.migrate.tree.rooted.Limits`.
        follow_backing: also read the backing files that qcow2 images name.
        declared_format: take the images as "raw" or "qcow2" instead of looking.
        scratch: where foreign images and compressed tars are unpacked to.

    Raises:
        EvidenceError: the source cannot be opened.
    """
    if not source.exists():
        raise EvidenceError(
            "there is no such file", hint="give a disk image, a folder or a tar", where=str(source)
        )
    with ExitStack() as stack:
        if source.is_dir() or (not declared_format and source.is_file() and is_tar(source)):
            if disks:
                raise UsageError("further disks make sense only beside a disk image", hint="leave out --disk")
            files = DirectoryVolume(source) if source.is_dir() else TarVolume(source, scratch=scratch)
            stack.callback(files.close)
            yield Opened(Tree(files, limits=limits), Source(kind=files.kind, location=source.name), files.notes)
            return
        images: list[Image] = []
        for path in (source, *disks):
            image = open_image(
                path, follow_backing=follow_backing, declared_format=declared_format, scratch=scratch
            )
            stack.callback(image.close)
            images.append(image)
        yield _open_layout(source, read_layout(images), limits)


def inspect_source(
    source: Path,
    *,
    disks: Sequence[Path] = (),
    limits: Limits | None = None,
    follow_backing: bool = False,
    declared_format: str = "",
    scratch: Path | None = None,
) -> Facts:
    """Inspects a disk image, a mounted root or a tar, running nothing of it; the arguments are `open_source`'s.

    Returns:
        The facts. When no root file system can be read, ``os`` is None (or says Windows) and notes say why.

    Raises:
        EvidenceError: the source cannot be opened, or costs more than the limits.
    """
    with open_source(
        source,
        disks=disks,
        limits=limits,
        follow_backing=follow_backing,
        declared_format=declared_format,
        scratch=scratch,
    ) as opened:
        return read_facts(opened)


def read_facts(opened: Opened) -> Facts:
    """The facts of an open source; see `inspect_source`."""
    if opened.tree is None:
        return describe_unreadable(opened.source, notes=opened.notes)
    return inspect_tree(opened.tree, opened.source, notes=opened.notes)


def _open_layout(path: Path, layout: DiskLayout, limits: Limits | None) -> Opened:
    assembled = assemble(layout.volumes, limits=limits)
    described = _describe(path, layout, assembled.mount_points)
    notes = [*(note for image in layout.images for note in image.notes), *assembled.notes]
    notes += [f"{one.name}: {note}" for one in layout.volumes if one.files is not None for note in one.files.notes]
    if assembled.tree is None:
        notes.append("no Linux root file system could be read on it")
        notes += [f"{volume.name}: {volume.problem}" for volume in layout.volumes if volume.problem]
    return Opened(assembled.tree, described, tuple(notes))


def _describe(path: Path, layout: DiskLayout, mount_points: dict[str, str]) -> Source:
    disks = [
        Disk(
            name=disk_name(index),
            format=image.format,
            size_bytes=image.device.size,
            scheme=table.scheme,
            notes=[*table.notes, *(f"backed by {name}" for name in image.backing)],
        )
        for index, (image, table) in enumerate(zip(layout.images, layout.tables, strict=True))
    ]
    volumes = [
        DiskPart(
            name=volume.name,
            size_bytes=volume.size,
            filesystem=volume.signature,
            label=volume.label,
            uuid=volume.uuid,
            partition_type=volume.partition.kind if volume.partition else "",
            mount_point=mount_points.get(volume.name, ""),
            problem=volume.problem,
            notes=list(volume.files.notes) if volume.files else [],
        )
        for volume in layout.volumes
    ]
    return Source(kind="disk", location=path.name, disks=disks, volumes=volumes)
