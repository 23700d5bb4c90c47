"""Which operating system: family, version, architecture, kernels, init."""

from __future__ import annotations

import re
import shlex
import struct
from typing import Final

from vmkit.migrate.facts import Evidence, OperatingSystem
from vmkit.migrate.tree.rooted import Tree

# ID and ID_LIKE of os-release(5) -> family. By family, never by exact version: new releases are no surprise.
_FAMILIES: Final = {
    "debian": "debian", "ubuntu": "debian", "linuxmint": "debian", "raspbian": "debian", "kali": "debian",
    "rhel": "rhel", "centos": "rhel", "fedora": "rhel", "rocky": "rhel", "almalinux": "rhel", "ol": "rhel",
    "amzn": "rhel", "sles": "suse", "suse": "suse", "opensuse": "suse", "opensuse-leap": "suse",
    "opensuse-tumbleweed": "suse", "alpine": "alpine", "arch": "arch",
}  # fmt: skip
_FILES_OF_FAMILIES: Final = (
    ("/etc/debian_version", "debian"), ("/etc/redhat-release", "rhel"), ("/etc/SuSE-release", "suse"),
    ("/etc/alpine-release", "alpine"), ("/etc/arch-release", "arch"),
)  # fmt: skip
# e_machine of the ELF header -> the name uname -m gives
_MACHINES: Final = {
    3: "i686", 8: "mips", 20: "ppc", 21: "ppc64le", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64",
    243: "riscv64", 258: "loongarch64",
}  # fmt: skip
_BINARIES: Final = ("/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/busybox", "/bin/bash",
                    "/bin/sh", "/usr/bin/env", "/bin/true")  # fmt: skip


def inspect_system(tree: Tree) -> OperatingSystem:
    """Reads os-release(5), or the older release files, an ELF header, and /boot."""
    evidence: list[Evidence] = []
    release: dict[str, str] = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        release = parse_release(tree.read_lines(path))
        if release:
            evidence.append(Evidence(path=path))
            break
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    family = next((_FAMILIES[name] for name in names if name in _FAMILIES), "")
    if not family:
        for path, guess in _FILES_OF_FAMILIES:
            if tree.is_file(path):
                family = guess
                evidence.append(Evidence(path=path))
                break
    if not family and tree.is_directory("/Windows/System32"):
        family = "windows"
        evidence.append(Evidence(path="/Windows/System32"))
    architecture, binary = _read_architecture(tree)
    if binary:
        evidence.append(Evidence(path=binary))
    return OperatingSystem(
        family=family or "other",
        id=release.get("ID", ""),
        version=release.get("VERSION_ID", "") or _first_line(tree, "/etc/debian_version"),
        name=release.get("PRETTY_NAME", "") or _first_line(tree, "/etc/redhat-release"),
        architecture=architecture,
        hostname=_first_line(tree, "/etc/hostname"),
        init=_read_init(tree),
        kernels=_read_kernels(tree),
        evidence=evidence,
    )


def parse_release(lines: list[str]) -> dict[str, str]:
    """Reads os-release(5): shell-like assignments, quotes undone."""
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"([A-Z][A-Z0-9_]*)=(.*)$", line.strip())
        if match:
            try:
                words = shlex.split(match[2])
            except ValueError:
                words = [match[2]]
            found[match[1]] = words[0] if words else ""
    return found


def _first_line(tree: Tree, path: str) -> str:
    lines = tree.read_lines(path)
    return lines[0].strip()[:200] if lines else ""


def read_machine(head: bytes) -> str:
    """The architecture an ELF file is for, as uname -m writes it; "" when it is no ELF file."""
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    name = _MACHINES.get(number, f"machine-{number}")
    return "ppc64" if name == "ppc64le" and head[5] == 2 else name


def _read_architecture(tree: Tree) -> tuple[str, str]:
    for path in _BINARIES:
        head = tree.read_bytes(path, limit=64)
        machine = read_machine(head) if head else ""
        if machine:
            return machine, path
    return "", ""


def _read_init(tree: Tree) -> str:
    real = tree.real_path("/sbin/init") or ""
    if "systemd" in real or tree.is_file("/usr/lib/systemd/systemd") or tree.is_file("/lib/systemd/systemd"):
        return "systemd"
    if tree.is_directory("/etc/runlevels") or tree.is_file("/sbin/openrc"):
        return "openrc"
    if tree.is_file("/etc/inittab") or tree.is_directory("/etc/init.d"):
        return "sysvinit"
    return ""


def _read_kernels(tree: Tree) -> list[str]:
    versions = {name for folder in ("/lib/modules", "/usr/lib/modules") for name in tree.names(folder)}
    return sorted(name for name in versions if name[:1].isdigit())[:20]
