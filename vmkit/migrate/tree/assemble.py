"""From the volumes of a machine's disks to its one tree: which is the root, and what is mounted where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmkit.errors import VmkitError
from vmkit.migrate.disk.volumes import DiskVolume, GuardedVolume
from vmkit.migrate.tree.fstab import find_by_order, find_volume, parse_fstab
from vmkit.migrate.tree.rooted import Limits, Tree
from vmkit.migrate.tree.volume import Volume

_ROOT_MARKS = ("/etc/os-release", "/usr/lib/os-release", "/etc/fstab", "/etc/passwd")


@dataclass(frozen=True, slots=True)
class Assembled:
    """A machine's tree.

    Attributes:
        tree: None where no root file system could be read.
        mount_points: volume name -> where it is mounted.
        notes: choices that were made, and what is missing.
    """

    tree: Tree | None
    mount_points: dict[str, str]
    notes: tuple[str, ...]


def assemble(volumes: Sequence[DiskVolume], *, limits: Limits | None = None) -> Assembled:
    """Finds the root and mounts the others on it as its fstab says."""
    candidates = [(_marks(volume.files, limits), volume) for volume in volumes if volume.files is not None]
    candidates = [(marks, volume) for marks, volume in candidates if marks]
    if not candidates:
        return Assembled(None, {}, ())
    notes: list[str] = []
    candidates.sort(key=lambda one: (one[0], one[1].size), reverse=True)
    root = candidates[0][1]
    if len(candidates) > 1:
        others = ", ".join(volume.name for _, volume in candidates[1:])
        notes.append(f"{root.name} was taken as the root; {others} look like root file systems too")
    assert root.files is not None
    plain = Tree(root.files, limits=limits)
    mounts: dict[str, Volume] = {}
    points = {root.name: "/"}
    for line in parse_fstab(plain.read_lines("/etc/fstab")):
        if line.target in ("/", "none", "swap") or not line.target.startswith("/"):
            continue
        found = find_volume(line.source, volumes)
        if found is None:
            found = find_by_order(line.source, volumes)
            if found is not None:
                notes.append(
                    f"{line.source} on {line.target} was matched to {found.name} by the order of the disks"
                )
        files = found.files if found is not None else None
        part = files.subvolume(line.options) if isinstance(files, GuardedVolume) else None
        if part is not None and found is not None:
            points.setdefault(found.name, line.target)
            mounts[line.target.rstrip("/")] = part
            continue
        if found is None or found is root:
            if line.source.startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=")):
                notes.append(f"{line.target} ({line.source}) is on no disk that was given")
            continue
        points[found.name] = line.target
        if found.files is not None:
            mounts[line.target.rstrip("/")] = found.files
        elif found.problem:
            notes.append(f"{line.target} could not be read: {found.problem}")
    return Assembled(Tree(root.files, mounts=mounts, limits=limits), points, tuple(notes))


def _marks(files: Volume | None, limits: Limits | None) -> int:
    """How many signs of a root file system there are; /etc/os-release counts most."""
    if files is None:
        return 0
    tree = Tree(files, limits=limits)
    try:
        found = [tree.locate(mark) is not None for mark in _ROOT_MARKS]
    except VmkitError:
        return 0
    return sum(4 if index < 2 else 1 for index, present in enumerate(found) if present)
