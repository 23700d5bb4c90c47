"""What reaches beyond a process: kernel modules and settings, firewalls, engines, licences, fixed addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from vmkit.migrate.facts import Evidence, Listener, Mount, Need, Packages, Unit
from vmkit.migrate.inspect.packages import Ownership
from vmkit.migrate.tree.rooted import Tree

_SYSCTL_FOLDERS: Final = ("/etc/sysctl.d", "/usr/local/lib/sysctl.d")
# Modules that every machine loads: they say nothing about its work.
_COMMON_MODULES: Final = frozenset(
    {"loop", "lp", "rtc", "tun", "br_netfilter", "overlay", "virtio", "virtio_net", "virtio_blk",
     "virtio_pci", "fuse",
     "autofs4", "cpuid", "msr", "nf_conntrack", "dm_mod", "virtio_rng", "virtio_console", "virtio_balloon",
     "iscsi_tcp"}
) - {"br_netfilter", "overlay", "iscsi_tcp"}  # fmt: skip

_ENGINES: Final = {
    "docker": ("docker.service", "docker.socket"), "containerd": ("containerd.service",),
    "podman": ("podman.service",),
    "cri-o": ("crio.service",), "kubelet": ("kubelet.service",), "k3s": ("k3s.service", "k3s-agent.service"),
    "libvirt": ("libvirtd.service", "virtqemud.service"), "lxd": ("lxd.service", "incus.service"),
    "systemd-nspawn": ("machines.target", "systemd-nspawn@"), "microk8s": ("snap.microk8s",),
    "nomad": ("nomad.service",),
}  # fmt: skip
_KERNEL_SERVICES: Final = {
    "nfs-server": ("nfs-server.service", "nfs-kernel-server.service", "nfsd.service"),
    "iscsi-target": ("target.service", "tgt.service", "iscsitarget.service"),
    "iscsi-initiator": ("iscsid.service", "open-iscsi.service", "iscsi.service"),
    "drbd": ("drbd.service",), "multipath": ("multipathd.service",),
    "ipvs": ("keepalived.service", "ipvsadm.service"), "ceph-osd": ("ceph-osd@", "ceph-osd.target"),
    "cluster": ("corosync.service", "pacemaker.service"),
    "vpn": ("openvpn@", "openvpn-server@", "wg-quick@", "strongswan.service", "ipsec.service"),
    "router": ("bird.service", "frr.service", "quagga.service", "dnsmasq.service", "isc-dhcp-server.service",
               "radvd.service", "kea-dhcp4-server.service"),
    "desktop": ("gdm.service", "gdm3.service", "lightdm.service", "sddm.service", "xrdp.service",
    "display-manager.service"),
    "directory": ("samba-ad-dc.service", "dirsrv@", "ipa.service", "krb5-kdc.service"),
}  # fmt: skip
_LICENCE_PACKAGES: Final = re.compile(r"^(?:flexlm|lmgrd|sentinel|hasp|aksusbd|codemeter|wibukey)", re.IGNORECASE)
_LICENCE_PATHS: Final = re.compile(
    r"/(?:lmgrd|lmadmin|rlm|aksusbd|hasplmd|CodeMeterLin)$|/[^/]*\.(?:lic|licx|license\.dat)$|/license\.(?:dat|key)$"
)
_HARDWARE_BOUND: Final = re.compile(
    rb"\b(?:HOSTID|hostid|VENDOR_STRING|ETHERNET|UUID|ID)\s*=|^\s*SERVER\s+\S+\s+[0-9A-Fa-f]{12}", re.MULTILINE
)


def inspect_kernel(tree: Tree, units: Iterable[Unit], packages: Packages, ownership: Ownership) -> list[Need]:
    """Modules, DKMS, kernel settings, packet filters, kernel servers, devices: each with its evidence."""
    found: list[Need] = []
    found += _modules(tree)
    for name in tree.names("/var/lib/dkms"):
        if tree.is_directory(f"/var/lib/dkms/{name}") and name != "mok":
            found.append(Need(kind="dkms", name=name, evidence=[Evidence(path=f"/var/lib/dkms/{name}")]))
    found += _sysctl(tree)
    found += _filters(tree)
    names = [unit.name for unit in units]
    for kind, services in _KERNEL_SERVICES.items():
        for name in names:
            if name.startswith(services):
                found.append(Need(kind=kind, name=name, evidence=_unit_evidence(units, name)))
    for unit in units:
        for device in unit.devices:
            if unit.role == "workload" and device.startswith("/dev/") and device not in _PLAIN_DEVICES:
                found.append(Need(kind="device", name=device, evidence=unit.evidence))
    if tree.is_file("/etc/exports") and any(
        line.strip() and not line.startswith("#") for line in tree.read_lines("/etc/exports")
    ):
        found.append(Need(kind="nfs-server", name="/etc/exports", evidence=[Evidence(path="/etc/exports")]))
    for line in tree.read_lines("/etc/selinux/config"):
        if line.strip() == "SELINUX=enforcing":
            found += _selinux(tree)
    kernels = [
        one.name for one in packages.items if one.name.startswith(("linux-image-", "kernel-rt", "kernel-core"))
    ]
    for name in tree.names("/boot"):
        path = f"/boot/{name}"
        if name.startswith("vmlinuz-") and ownership.known and kernels and not ownership.package_of(path):
            found.append(Need(kind="custom-kernel", name=name, evidence=[Evidence(path=path)]))
    return found


_PLAIN_DEVICES: Final = frozenset(
    {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full", "/dev/tty"}
)


def _unit_evidence(units: Iterable[Unit], name: str) -> list[Evidence]:
    return next((unit.evidence for unit in units if unit.name == name), [])


def _modules(tree: Tree) -> list[Need]:
    found: list[Need] = []
    for path in ("/etc/modules", *tree.files("/etc/modules-load.d", suffix=".conf")):
        if path.endswith("/modules.conf") and (tree.link_target(path) or ""):
            continue  # Debian links /etc/modules there
        for number, line in enumerate(tree.read_lines(path), 1):
            name = line.split("#", 1)[0].strip().split(" ")[0].replace("-", "_")
            if name and not name.startswith(";") and name not in _COMMON_MODULES:
                found.append(Need(kind="module", name=name, evidence=[Evidence(path=path, line=number)]))
    return found


def _sysctl(tree: Tree) -> list[Need]:
    found: list[Need] = []
    paths = [
        "/etc/sysctl.conf",
        *(path for folder in _SYSCTL_FOLDERS for path in tree.files(folder, suffix=".conf")),
    ]
    for path in paths:
        for number, line in enumerate(tree.read_lines(path), 1):
            match = re.match(r"\s*-?([\w./*-]+)\s*=\s*(\S.*?)\s*$", line)
            if match is None or line.lstrip().startswith(("#", ";")):
                continue
            name = match[1].replace("/", ".")
            forwarding = name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding") and match[2] == "1"
            if forwarding or not name.startswith(_HARMLESS_SYSCTL):
                kind = "forwarding" if forwarding else "sysctl"
                found.append(Need(kind=kind, name=name, evidence=[Evidence(path=path, line=number)]))
    return found


# Hardening and console settings that distributions ship; a pod has its node's.
_HARMLESS_SYSCTL: Final = (
    "kernel.printk", "kernel.kptr_restrict", "kernel.sysrq", "kernel.dmesg_restrict", "kernel.yama",
    "kernel.core_",
    "fs.protected_", "net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.icmp_", "net.ipv4.tcp_syncookies",
    "vm.mmap_min_addr",
    "kernel.pid_max", "net.core.default_qdisc", "fs.suid_dumpable", "kernel.unprivileged_",
    "net.ipv4.ping_group_range",
    "kernel.randomize_va_space", "net.ipv4.ip_forward", "dev.tty.",
)  # fmt: skip


def _filters(tree: Tree) -> list[Need]:
    found: list[Need] = []
    for path in (
        "/etc/iptables/rules.v4",
        "/etc/sysconfig/iptables",
        "/etc/nftables.conf",
        "/etc/sysconfig/nftables.conf",
    ):
        for number, line in enumerate(tree.read_lines(path), 1):
            text = line.strip()
            if re.search(r"\b(?:MASQUERADE|DNAT|SNAT|masquerade|dnat to|snat to)\b", text) and text[:1] != "#":
                found.append(Need(kind="nat", name=text[:120], evidence=[Evidence(path=path, line=number)]))
            elif re.match(r"-A (?:INPUT|OUTPUT)\b.*-j (?:ACCEPT|DROP|REJECT)", text):
                found.append(Need(kind="firewall", name=text[:120], evidence=[Evidence(path=path, line=number)]))
    return found[:200]


def _selinux(tree: Tree) -> list[Need]:
    # Modules at priority 400 were installed by people, distribution policy stands at 100 and 200.
    folder = "/var/lib/selinux/targeted/active/modules/400"
    return [
        Need(kind="selinux-module", name=name, evidence=[Evidence(path=f"{folder}/{name}")])
        for name in tree.names(folder)[:100]
    ]


def inspect_engines(units: Iterable[Unit], tree: Tree) -> list[Need]:
    """Container engines and hypervisors that run inside the guest."""
    found: list[Need] = []
    for engine, services in _ENGINES.items():
        for unit in units:
            if unit.name.startswith(services):
                found.append(Need(kind="engine", name=engine, evidence=unit.evidence))
                break
    for name in tree.names("/etc/containers/systemd"):
        path = f"/etc/containers/systemd/{name}"
        if name.endswith((".container", ".pod", ".kube")) and tree.is_file(path):
            found.append(Need(kind="quadlet", name=name, evidence=[Evidence(path=path)]))
    return found


def inspect_network(tree: Tree, listeners: Iterable[Listener], mounts: Iterable[Mount]) -> list[Need]:
    """Fixed addresses, names that only this guest resolves, and network file systems."""
    found: list[Need] = []
    for number, line in enumerate(tree.read_lines("/etc/hosts"), 1):
        words = line.split("#", 1)[0].split()
        if len(words) >= 2 and not re.match(r"(?:127\.|::1|fe00|ff0|0\.0\.0\.0|fe80)", words[0]):
            found.append(
                Need(kind="hosts-entry", name=" ".join(words), evidence=[Evidence(path="/etc/hosts", line=number)])
            )
    for listener in listeners:
        if listener.port is not None and listener.address not in _ANY_OR_LOCAL:
            name = f"{listener.address}:{listener.port}"
            found.append(Need(kind="fixed-address", name=name, evidence=listener.evidence))
    found += [
        Need(kind="network-mount", name=f"{mount.source} on {mount.target}", evidence=mount.evidence)
        for mount in mounts
        if mount.network
    ]
    return found[:500]


_ANY_OR_LOCAL: Final = frozenset(
    {"", "*", "0.0.0.0", "::", "[::]", "localhost", "127.0.0.1", "::1", "[::1]"}  # noqa: S104 (compared, not bound)
)


def inspect_licences(tree: Tree, packages: Packages, paths: Iterable[str]) -> list[Need]:
    """Licence servers, dongle drivers and licence files, with whether they are bound to hardware."""
    found = [
        Need(kind="licence-service", name=one.name) for one in packages.items if _LICENCE_PACKAGES.match(one.name)
    ]
    for path in paths:
        if not _LICENCE_PATHS.search(path):
            continue
        head = tree.read_bytes(path, limit=64 * 2**10) or b""
        bound = bool(_HARDWARE_BOUND.search(head)) and b"\0" not in head[:1024]
        service = not path.endswith((".lic", ".licx", ".dat", ".key"))
        kind = "licence-service" if service else "hardware-licence" if bound else "licence-file"
        found.append(Need(kind=kind, name=path.rsplit("/", 1)[-1], evidence=[Evidence(path=path)]))
    return found[:200]
