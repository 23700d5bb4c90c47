"""A guest's root file system as one layer: without what is the machine's own, state, or secret."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError
from vmkit.migrate.oci.archive import build_header, write_end, write_entry
from vmkit.migrate.oci.layout import CONFIG_TYPE, Descriptor, ImageConfig, LayoutWriter, encode
from vmkit.migrate.tree.rooted import Entry, Tree
from vmkit.migrate.tree.volume import Kind, Node

MAX_IMAGE_BYTES: Final = 32 * 2**30
MAX_ENTRIES: Final = 1_000_000

# Folders whose content stays behind; the folders themselves are kept: programs open files in them.
_EMPTIED: Final = (
    "/boot", "/dev", "/lib/modules", "/media", "/mnt", "/proc", "/run", "/sys", "/tmp", "/usr/lib/modules",
    "/var/cache/apt", "/var/cache/dnf", "/var/lib/apt/lists", "/var/run", "/var/tmp",
)  # fmt: skip
# Folders of which only the folders are kept.
_WITHOUT_FILES: Final = ("/var/log",)
_DROPPED: Final = frozenset(
    {"/etc/fstab", "/etc/hostname", "/etc/machine-id", "/etc/mtab", "/etc/resolv.conf", "/initrd.img",
     "/initrd.img.old", "/lost+found", "/swapfile", "/swap.img", "/var/lib/dbus/machine-id",
     "/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret", "/vmlinuz", "/vmlinuz.old",
     "/etc/shadow-", "/etc/gshadow-", "/etc/passwd-", "/etc/group-", "/etc/krb5.keytab",
     "/etc/ssl/private/ssl-cert-snakeoil.key"}
)  # fmt: skip
_PREFIXES: Final = ("/etc/ssh/ssh_host_",)
# In anybody's home.
_PRIVATE: Final = frozenset(
    {".ssh", ".gnupg", ".aws", ".kube", ".docker", ".netrc", ".pgpass", ".my.cnf", ".bash_history", ".zsh_history",
     ".python_history", ".psql_history", ".mysql_history", ".git-credentials", ".vault-token", ".cache"}
)  # fmt: skip
_PASSWORDS: Final = frozenset({"/etc/shadow", "/etc/gshadow"})
_WHITEOUT: Final = ".wh."  # in a layer it would delete what lies below (image-spec, layer.md)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen image: its manifest, its size, and the paths of secrets that were left out."""

    manifest: Descriptor
    size_bytes: int
    entries: int
    withheld: tuple[str, ...]


def write_frozen(
    tree: Tree,
    target: Path,
    config: ImageConfig,
    *,
    secrets: Collection[str] = (),
    state: Collection[str] = (),
    reference: str = "latest",
    max_bytes: int = MAX_IMAGE_BYTES,
) -> Frozen:
    """Writes a guest's root as an image with one layer, streaming.

    Links, hard links, owners and modes are kept. Device nodes, sockets and pipes, logs, kernels, host keys,
    machine ids, histories and keys of people are left out; of /etc/shadow the accounts remain, locked.

    Args:
        target: a folder that is not there yet, or is empty.
        secrets: files that must not be in it.
        state: directories that volumes take the place of: kept, empty.
        max_bytes: the most that its files may hold.

    Raises:
        Refused: the folder holds something.
        EvidenceError: a file cannot be read, or the image would be larger than ``max_bytes``.
    """
    withheld: list[str] = []
    entries = _wanted(tree, frozenset(secrets), frozenset(state), withheld)
    writer = LayoutWriter(target)

    def fill(write: Callable[[bytes], object]) -> None:
        first: dict[tuple[int, Node], str] = {}
        left = max_bytes
        for entry in entries:
            left -= _write_file(tree, entry, first, write, left)
        write_end(write)

    layer, diff_id = writer.add_layer(fill)
    described = writer.add_bytes(encode(config.to_dict([diff_id])), CONFIG_TYPE)
    manifest = writer.finish(described, [layer], reference=reference)
    return Frozen(manifest, layer.size, len(entries), tuple(sorted(withheld)))


def _wanted(tree: Tree, secrets: frozenset[str], state: frozenset[str], withheld: list[str]) -> list[Entry]:
    emptied = frozenset({*_EMPTIED, *state})

    def entered(path: str) -> bool:
        return path not in emptied and not _is_dropped(path)

    found: list[Entry] = []
    for entry in tree.walk(enter=entered):
        if entry.path in secrets:
            withheld.append(entry.path)
        elif not _is_dropped(entry.path) and not (entry.kind is not Kind.DIRECTORY and _is_log(entry.path)):
            found.append(entry)
            if len(found) > MAX_ENTRIES:
                raise EvidenceError(f"it has more than {MAX_ENTRIES} files", where="/")
    # Parents come before what is in them, and the same guest gives the same layer.
    return sorted(found, key=lambda one: one.path.split("/"))


def _is_dropped(path: str) -> bool:
    name = path.rpartition("/")[2]
    if path in _DROPPED or path.startswith(_PREFIXES) or name.startswith(_WHITEOUT):
        return True
    return name in _PRIVATE and (path.startswith(("/root/", "/home/")) or name in (".ssh", ".gnupg"))


def _is_log(path: str) -> bool:
    return any(path.startswith(f"{one}/") for one in _WITHOUT_FILES)


def _write_file(
    tree: Tree, entry: Entry, first: dict[tuple[int, Node], str], write: Callable[[bytes], object], left: int
) -> int:
    """Writes one entry, if no more than ``left`` bytes; how many it has."""
    if entry.kind not in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK):
        return 0
    stat = tree.stat_at(entry.location)
    if stat is None:
        raise EvidenceError("it cannot be read", hint="the disk may be damaged", where=entry.path)
    info = build_header(entry.path, stat)
    if entry.kind is Kind.DIRECTORY:
        info.type = tarfile.DIRTYPE
        write_entry(write, info)
        return 0
    if entry.kind is Kind.SYMLINK:
        info.type, info.linkname = tarfile.SYMTYPE, tree.link_target(entry.path) or ""
        write_entry(write, info)
        return 0
    if entry.path in _PASSWORDS:
        content = _lock(tree.read_at(entry.location) or b"")
        info.size = len(content)
        write_entry(write, info, [content])
        return info.size
    key = (id(entry.location.volume), stat.node)
    if key in first:
        info.type, info.linkname = tarfile.LNKTYPE, first[key].lstrip("/")
        write_entry(write, info)
        return 0
    if stat.size > left:
        raise EvidenceError(
            "with it the image's files are more than they may be",
            hint="state among them belongs into a volume; --image rebuild takes only the application",
            where=entry.path,
        )
    first[key] = entry.path
    info.size = stat.size
    write_entry(write, info, tree.pieces(entry.location))
    return info.size


def _lock(content: bytes) -> bytes:
    """The lines of a shadow file without passwords."""
    lines = []
    for line in content.splitlines():
        fields = line.split(b":")
        if len(fields) > 1:
            fields[1] = b"*"
        lines.append(b":".join(fields) + b"\n")
    return b"".join(lines)
