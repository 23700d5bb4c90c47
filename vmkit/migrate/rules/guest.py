"""Rules about the whole guest, for containers: what a pod on somebody else's kernel cannot give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmkit.migrate.facts import Need
from vmkit.migrate.rules.model import Category, Check, Hit, Rule, Scope, Subject, Target, hits

_ARCHITECTURES: Final = frozenset({"x86_64", "aarch64"})


def _needs(*kinds: str) -> Check:
    def check(subject: Subject) -> Iterable[Hit]:
        every: list[Need] = [*subject.facts.kernel_needs, *subject.facts.engines, *subject.facts.network_needs]
        every += subject.facts.licences
        return hits((one.name, one.evidence) for one in every if one.kind in kinds)

    return check


def _demands(*kinds: str) -> Check:
    def check(subject: Subject) -> Iterable[Hit]:
        demands = subject.machine.demands if subject.machine else ()
        return [Hit(f"{kind}: {name}" if name else kind) for kind, name in demands if kind in kinds]

    return check


def _windows(subject: Subject) -> Iterable[Hit]:
    if subject.facts.os is not None and subject.facts.os.family == "windows":
        return hits([("the disk holds Windows", subject.facts.os.evidence)])
    return [Hit("the VM is set up for Windows")] if subject.machine and subject.machine.windows else []


def _architecture(subject: Subject) -> Iterable[Hit]:
    system = subject.facts.os
    if system is None or not system.architecture or system.architecture in _ARCHITECTURES:
        return []
    return hits([(system.architecture, system.evidence[-1:])])


def _encrypted(subject: Subject) -> Iterable[Hit]:
    return [
        Hit(f"{one.name} is {one.filesystem}")
        for one in subject.facts.source.volumes
        if one.filesystem in ("crypto_LUKS", "BitLocker")
    ]


def _unread(subject: Subject) -> Iterable[Hit]:
    return [
        Hit(f"{one.name}{f' on {one.mount_point}' if one.mount_point else ''}: {one.problem}")
        for one in subject.facts.source.volumes
        if one.problem and one.filesystem not in ("crypto_LUKS", "BitLocker", "iso9660", "ntfs")
    ]


def _ssh_users(subject: Subject) -> Iterable[Hit]:
    if not any(unit.name in ("ssh.service", "sshd.service") for unit in subject.facts.units):
        return []
    people = [one.name for one in subject.facts.users if one.login and one.uid >= 1000]
    return [Hit(f"people log in as {', '.join(people[:10])}")] if people else []


def _guest(name: str, category: Category, weight: int, assessment: str, remedy: str, check: Check) -> Rule:
    return Rule(f"container.{name}", Target.CONTAINER, Scope.GUEST, category, weight, assessment, remedy, check)


RULES: Final = (
    _guest("windows", Category.BLOCKER, 0, "Windows workloads need Windows nodes and their own base images",
           "leave it a VM, or rebuild the application on Windows containers", _windows),
    _guest("architecture", Category.BLOCKER, 0, "its programs are for a processor that clusters seldom have",
           "rebuild the application from source for x86_64 or aarch64", _architecture),
    _guest("encrypted-disk", Category.MAJOR, 15, "an encrypted volume could not be looked into",
           "unlock it in the guest and inspect through the guest agent or SSH", _encrypted),
    _guest("unread-volume", Category.MINOR, 5, "a volume could not be read, so something may be missing here",
           "mount it read-only and inspect the folder", _unread),
    _guest("kernel-module", Category.BLOCKER, 0, "it loads kernel modules; a pod runs on its node's kernel",
           "leave it a VM, or have the module loaded on the nodes", _needs("module")),
    _guest("dkms", Category.BLOCKER, 0, "it builds its own kernel drivers", "leave it a VM", _needs("dkms")),
    _guest("custom-kernel", Category.BLOCKER, 0, "it boots a kernel that no package installed",
           "find out what that kernel is for; without a reason override this rule", _needs("custom-kernel")),
    _guest("sysctl", Category.MINOR, 5, "it changes kernel settings; a pod may set only safe, namespaced ones",
           "check each setting against the pod's securityContext.sysctls; have the rest set on the nodes",
           _needs("sysctl")),
    _guest("router", Category.BLOCKER, 0, "it forwards packets for others: a router, gateway, DHCP or VPN server",
           "leave it a VM", _needs("forwarding", "nat", "router", "vpn", "ipvs")),
    _guest("firewall", Category.MINOR, 5, "it has its own packet filter rules", "write them as a NetworkPolicy",
           _needs("firewall")),
    _guest("nfs-server", Category.BLOCKER, 0, "it serves NFS from the kernel",
           "leave it a VM, or move the share to CephFS", _needs("nfs-server")),
    _guest("block-storage", Category.BLOCKER, 0, "it works on block devices: iSCSI, DRBD, multipath or a Ceph OSD",
           "leave it a VM, or use the cluster's storage",
           _needs("iscsi-target", "iscsi-initiator", "drbd", "multipath", "ceph-osd")),
    _guest("cluster-stack", Category.BLOCKER, 0, "it is a node of a high-availability cluster (Corosync, Pacemaker)",
           "let Kubernetes do the failover, or leave it a VM", _needs("cluster")),
    _guest("engine-inside", Category.BLOCKER, 0, "it runs containers or virtual machines itself",
           "move those containers to the cluster as they are, and judge the rest again", _needs("engine",
           "quadlet")),
    _guest("desktop", Category.MAJOR, 20, "it runs a graphical desktop", "leave it a VM, unless nobody uses the desktop",
           _needs("desktop")),
    _guest("directory-server", Category.MAJOR, 25, "it is a directory or domain controller, which others find by address",
           "leave it a VM", _needs("directory")),
    _guest("device", Category.MAJOR, 20, "a service uses a device of its own",
           "a device plugin has to offer it to the pod", _needs("device")),
    _guest("selinux-module", Category.MAJOR, 15, "it enforces SELinux with policy modules of its own",
           "the nodes need the same policy, or the application other permissions", _needs("selinux-module")),
    _guest("hardware-licence", Category.MAJOR, 25, "a licence is bound to this machine's hardware ids",
           "ask the vendor for a licence that is not", _needs("hardware-licence", "licence-service")),
    _guest("licence-file", Category.INFO, 0, "there are licence files", "read what they allow", _needs("licence-file")),
    _guest("fixed-address", Category.MAJOR, 15, "something listens on one fixed address",
           "let it listen on all addresses; the Service gives the address", _needs("fixed-address")),
    _guest("network-mount", Category.MAJOR, 15, "it mounts network file systems",
           "mount them into the pod as a PersistentVolume of the same server", _needs("network-mount")),
    _guest("hosts-entry", Category.MINOR, 5, "/etc/hosts names other machines", "write them as hostAliases, or in DNS",
           _needs("hosts-entry")),
    _guest("ssh-users", Category.MINOR, 5, "people log in to it",
           "ask them what for; kubectl exec and volumes cover most of it", _ssh_users),
    _guest("passthrough", Category.BLOCKER, 0, "the VM has devices of its node passed through",
           "leave it a VM, or use a device plugin", _demands("host-device", "gpu", "usb-redirection", "lun")),
    _guest("sriov", Category.BLOCKER, 0, "the VM has a network function of its node's card",
           "leave it a VM, or attach the network with Multus to the pod", _demands("sriov")),
    _guest("shared-disk", Category.BLOCKER, 0, "the VM shares a disk with another one", "leave it a VM",
           _demands("shared-disk")),
    _guest("confidential", Category.BLOCKER, 0, "the VM's memory is encrypted against its node",
           "leave it a VM, or use confidential containers", _demands("confidential")),
    _guest("tpm", Category.MAJOR, 15, "the VM has a TPM: keys may be sealed in it", "find out what is sealed",
           _demands("tpm")),
    _guest("pinned-cpu", Category.MAJOR, 15, "the VM has processors or NUMA nodes of its own, or runs in real time",
           "the static CPU manager policy gives the same to a Guaranteed pod", _demands("dedicated-cpu",
           "numa", "realtime")),
    _guest("hugepages", Category.MINOR, 5, "the VM uses huge pages", "ask for hugepages in the pod's resources",
           _demands("hugepages")),
    _guest("second-network", Category.MAJOR, 10, "the VM stands in a second network",
           "attach the pod to the same network with Multus", _demands("second-network")),
)  # fmt: skip
