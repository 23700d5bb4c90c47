"""Files that no package owns, and the places that hold state."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Final

from vmkit.migrate.facts import DataDirectory, Evidence, Mount, Runtime, Unit, UnownedFile
from vmkit.migrate.inspect.packages import Ownership
from vmkit.migrate.tree.rooted import Entry, Tree
from vmkit.migrate.tree.volume import Kind

MAX_UNOWNED: Final = 5000
_MAX_MEASURED: Final = 200_000

# Not of a guest's disk, or not its work: kernel interfaces, scratch space, what package tools and boots write.
_NOT_ENTERED: Final = frozenset(
    {"/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/boot", "/lost+found", "/var/cache", "/var/log",
     "/var/run",
     "/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm", "/usr/lib/sysimage", "/var/lib/dnf", "/var/lib/yum",
     "/lib/apk",
     "/var/lib/systemd", "/var/lib/dbus", "/var/lib/pam", "/var/lib/ucf", "/var/lib/initramfs-tools",
     "/var/backups",
     "/var/lib/update-rc.d", "/etc/alternatives", "/var/lib/alternatives", "/etc/ssl/certs", "/var/lib/cloud",
     "/var/lib/NetworkManager", "/usr/share/mime", "/var/lib/polkit-1", "/var/lib/private", "/var/lib/python",
     "/usr/share/info",
     "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet", "/snap",
     "/var/lib/snapd",
     "/var/lib/os-prober", "/var/lib/man-db", "/var/lib/plocate", "/var/lib/mlocate", "/var/lib/misc",
     "/etc/pki/ca-trust",
     "/usr/lib/modules", "/lib/modules", "/var/lib/selinux", "/etc/selinux/targeted", "/var/lib/grub",
     "/var/lib/shells.state"}
)  # fmt: skip
_NOT_LISTED: Final = re.compile(
    r"\.pyc$|/__pycache__/|/\.git/|^/etc/rc[0-9S]\.d/|^/etc/ld\.so\.cache$|^/etc/[^/]+-$|^/etc/(?:machine-id|hostname|hosts|"
    r"resolv\.conf|fstab|mtab|adjtime|localtime|timezone|\.pwd\.lock|\.updated|subuid|subgid|shells|passwd|group|shadow|gshadow|"
    r"locale\.gen|locale\.conf|environment|vconsole\.conf|mailname|papersize|nsswitch\.conf|popularity-contest\.conf)$|^/etc/ssh/ssh_host_|"
    r"\.wants/[^/]+$|\.requires/[^/]+$|^/var/lib/systemd|^/usr/(?:share/icons|lib/locale|share/glib-2\.0/schemas/gschemas\.compiled)|"
    r"\.dpkg-(?:old|dist|new)$|\.rpm(?:save|new)$|^/(?:initrd\.img|vmlinuz)(?:\.old)?$|/ls-R$|^/usr/lib/[^/]+/gconv/gconv-modules\.cache$|"
    r"^/(?:root|home/[^/]+)/\.(?:bashrc|profile|bash_logout|bash_history|cache/.*|cshrc|tcshrc|bash_profile|wget-hsts|lesshst)$|"
    r"^/\.(?:autorelabel|dockerenv)$|^/var/(?:lib/aspell|lib/dhcp|mail|spool/cron/.*\.SEQ)|^/usr/share/perl/|/fontconfig/|/\.placeholder$"
)
_STATE_BY_PROGRAM: Final = {
    "postgresql": ("/var/lib/postgresql", "/var/lib/pgsql"), "mysql": ("/var/lib/mysql",),
    "redis": ("/var/lib/redis",),
    "mongodb": ("/var/lib/mongodb", "/var/lib/mongo"), "rabbitmq": ("/var/lib/rabbitmq",),
    "elasticsearch": ("/var/lib/elasticsearch", "/var/lib/opensearch"), "cassandra": ("/var/lib/cassandra",),
    "influxdb": ("/var/lib/influxdb",), "couchdb": ("/var/lib/couchdb",), "neo4j": ("/var/lib/neo4j",),
    "etcd": ("/var/lib/etcd",),
    "clickhouse": ("/var/lib/clickhouse",),
}  # fmt: skip
_SYSTEM_MOUNTS: Final = frozenset(
    {"/", "/boot", "/boot/efi", "/usr", "/var", "/home", "/tmp", "/var/log", "/var/tmp", "/opt"}
)
_NO_DISK: Final = frozenset(
    {"tmpfs", "swap", "proc", "sysfs", "devpts", "devtmpfs", "cgroup", "cgroup2", "none", "overlay", "iso9660"}
)


def inspect_unowned(tree: Tree, ownership: Ownership) -> tuple[list[UnownedFile], list[str]]:
    """Files that no package put there, without those that every guest grows; and remarks.

    Where no package database could be read, nothing can be called unowned, and nothing is.
    """
    if not ownership.known:
        return [], [
            "which files belong to packages is not known, so files of the application could not be told apart"
        ]
    found: list[UnownedFile] = []
    left_out = 0
    for entry in tree.walk(enter=_is_entered):
        if entry.kind is not Kind.FILE or entry.path in ownership.owners or _NOT_LISTED.search(entry.path):
            continue
        if len(found) >= MAX_UNOWNED:
            left_out += 1
            continue
        stat = tree.stat_at(entry.location)
        if stat is not None:
            found.append(
                UnownedFile(path=entry.path, size_bytes=stat.size, mode=stat.mode, uid=stat.uid, gid=stat.gid)
            )
    notes = [f"{left_out} more files belong to no package; the first {MAX_UNOWNED} are listed"] if left_out else []
    return sorted(found, key=lambda one: one.path), notes


def _is_entered(path: str) -> bool:
    # Libraries that a language's own package manager put there are known by their folder; nobody reads their list.
    return path not in _NOT_ENTERED and not path.endswith(
        ("/site-packages", "/node_modules", "/.git", "/__pycache__")
    )


def inspect_data(
    tree: Tree, units: Sequence[Unit], runtimes: Sequence[Runtime], mounts: Sequence[Mount]
) -> list[DataDirectory]:
    """State: directories that units declare, databases' own, mounted disks, and what services may write to."""
    places: dict[str, tuple[str, list[str], Evidence]] = {}

    def add(path: str, reason: str, service: str, evidence: Evidence) -> None:
        path = posixpath.normpath(path)
        if not path.startswith("/") or path in (
            "/",
            "/var",
            "/var/lib",
            "/etc",
            "/home",
            "/srv",
            "/opt",
            "/run",
            "/tmp",
        ):
            return
        known = places.get(path)
        if known is None:
            places[path] = (reason, [service] if service else [], evidence)
        elif service and service not in known[1]:
            known[1].append(service)

    for unit in units:
        if unit.role != "workload":
            continue
        for path in unit.state_directories:
            if not path.startswith(("/var/cache", "/var/log")):
                add(path, "declared by the unit", unit.name, Evidence(path=unit.path))
        for path in unit.writable_paths:
            if not path.startswith(("/run", "/var/log", "/tmp", "/dev", "/proc", "/sys")):
                add(path, "declared by the unit", unit.name, Evidence(path=unit.path))
    for runtime in runtimes:
        for path in _STATE_BY_PROGRAM.get(runtime.program, ()):
            if tree.is_directory(path):
                add(path, f"{runtime.program} keeps its data there", runtime.service, Evidence(path=path))
    for mount in mounts:
        if mount.kind not in _NO_DISK and mount.target not in _SYSTEM_MOUNTS and mount.target.startswith("/"):
            reason = "a network file system" if mount.network else "a file system of its own"
            evidence = mount.evidence[0] if mount.evidence else Evidence(path="/etc/fstab")
            add(mount.target, reason, "", evidence)
    return [
        _measure(tree, path, reason, services, evidence)
        for path, (reason, services, evidence) in sorted(places.items())
    ]


def _measure(tree: Tree, path: str, reason: str, services: list[str], evidence: Evidence) -> DataDirectory:
    size = allocated = files = 0
    stat = tree.stat(path)
    seen: set[tuple[int, int | str]] = set()
    for entry in tree.walk(path):
        if entry.kind is not Kind.FILE:
            continue
        files += 1
        if files > _MAX_MEASURED:
            tree.note_problem(f"{path}: more than {_MAX_MEASURED} files, its size is a lower bound")
            break
        one = tree.stat_at(entry.location)
        if one is None or (one.links > 1 and _met(seen, entry, one.node)):
            continue
        size += one.size
        allocated += min(one.allocated, one.size)
    return DataDirectory(
        path=path,
        reason=reason,
        services=services,
        size_bytes=size,
        allocated_bytes=allocated,
        files=min(files, _MAX_MEASURED),
        uid=stat.uid if stat else None,
        gid=stat.gid if stat else None,
        evidence=[evidence],
    )


def _met(seen: set[tuple[int, int | str]], entry: Entry, node: int | str) -> bool:
    key = (id(entry.location.volume), node)
    if key in seen:
        return True
    seen.add(key)
    return False


def configuration_paths(unowned: Iterable[UnownedFile], changed: Iterable[str]) -> list[str]:
    """The files worth a look for secrets: unowned ones that are small, and changed configuration."""
    return [*changed, *(one.path for one in unowned if one.size_bytes <= 2**20)]
