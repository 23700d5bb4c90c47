"""What the guest mounts: /etc/fstab and systemd mount units."""

from __future__ import annotations

from typing import Final

from vmkit.migrate.facts import Evidence, Mount
from vmkit.migrate.inspect.unit_files import parse_unit
from vmkit.migrate.tree.fstab import parse_fstab
from vmkit.migrate.tree.rooted import Tree

_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs",
     "9p",
     "virtiofs", "lustre", "beegfs", "ocfs2", "gfs2", "afs"}
)  # fmt: skip
_MAX_MOUNTS: Final = 1000


def inspect_mounts(tree: Tree) -> list[Mount]:
    """Every mount that the guest's configuration asks for."""
    found = [
        Mount(
            source=line.source,
            target=line.target,
            kind=line.kind,
            options=list(line.options),
            network=line.kind in _NETWORK,
            evidence=[Evidence(path="/etc/fstab", line=line.line)],
        )
        for line in parse_fstab(tree.read_lines("/etc/fstab"))[:_MAX_MOUNTS]
    ]
    for path in tree.files("/etc/systemd/system", suffix=".mount")[:_MAX_MOUNTS]:
        section = parse_unit(tree.read_text(path) or "")
        what, where, kind = (section.last("Mount", key) for key in ("What", "Where", "Type"))
        if what and where:
            options = section.last("Mount", "Options")
            found.append(
                Mount(
                    source=what,
                    target=where,
                    kind=kind,
                    options=options.split(",") if options else [],
                    network=kind in _NETWORK,
                    evidence=[Evidence(path=path)],
                )
            )
    return found
