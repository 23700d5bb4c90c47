"""Copies a workload's own files out of the guest's tree into a tar: owners, modes and links kept."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError
from vmkit.migrate.generate.image import ImagePlan
from vmkit.migrate.oci.archive import build_header, write_end, write_entry
from vmkit.migrate.tree.rooted import Location, Tree
from vmkit.migrate.tree.volume import Kind

MAX_PAYLOAD_BYTES: Final = 4 * 2**30
_COPIED: Final = (Kind.FILE, Kind.SYMLINK, Kind.DIRECTORY)
_NOT_COPIED: Final = ("/__pycache__/", "/.git/")


def write_payload(tree: Tree, plan: ImagePlan, target: Path, *, max_bytes: int = MAX_PAYLOAD_BYTES) -> list[str]:
    """Writes the files that a plan names.

    Devices, sockets and pipes are left out, and so is everything below the plan's ``left_out``.

    Args:
        target: the tar; the same guest gives the same bytes.
        max_bytes: the most it may hold.

    Returns:
        The paths of its files and links, sorted.

    Raises:
        EvidenceError: the files cannot be read, or are more than ``max_bytes``.
    """
    written: list[str] = []
    total = 0
    with target.open("wb") as file:
        for path, location in sorted(_wanted(tree, plan)):
            stat = tree.stat_at(location)
            if stat is None:
                raise EvidenceError("it cannot be read", hint="the disk may be damaged", where=path)
            info = build_header(path, stat)
            if stat.kind is Kind.DIRECTORY:
                info.type = tarfile.DIRTYPE
                write_entry(file.write, info)
            elif stat.kind is Kind.SYMLINK:
                info.type, info.linkname = tarfile.SYMTYPE, tree.link_target(path) or ""
                write_entry(file.write, info)
            else:
                total += stat.size
                if total > max_bytes:
                    raise EvidenceError(
                        f"the application's files are more than {max_bytes} bytes",
                        hint="state among them belongs into a volume",
                        where=path,
                    )
                info.size = stat.size
                write_entry(file.write, info, tree.pieces(location))
            if stat.kind is not Kind.DIRECTORY:
                written.append(path)
        write_end(file.write)
    return written


def _wanted(tree: Tree, plan: ImagePlan) -> Iterator[tuple[str, Location]]:
    seen: set[str] = set()

    def kept(path: str) -> bool:
        below = any(path == one or path.startswith(f"{one}/") for one in plan.left_out)
        return not below and not any(part in f"{path}/" for part in _NOT_COPIED)

    for folder in plan.folders:
        top = tree.locate(folder)
        if top is None or top.kind is not Kind.DIRECTORY or not kept(top.path):
            continue
        if top.path not in seen:
            seen.add(top.path)
            yield top.path, top
        for entry in tree.walk(folder, enter=kept):
            if entry.kind in _COPIED and kept(entry.path) and entry.path not in seen:
                seen.add(entry.path)
                yield entry.path, entry.location
    for path in plan.files:
        found = tree.locate(path, follow=False)
        if found is not None and found.kind in (Kind.FILE, Kind.SYMLINK) and kept(path) and path not in seen:
            seen.add(path)
            yield path, found
