"""The guests: how fast they boot and power off, whether they have an agent, crash, or somebody is logged in.

What a guest does is said by annotations on the VM (those of the instance win); all begin with
``lab.vmkit.io/guest-``:

    boot-seconds        from power-on until the agent answers (0)
    start-seconds       from the launcher being ready until the machine runs (0.5)
    shutdown-seconds    from the power button until the machine is off (4)
    ignores-acpi        "true": only the end of the grace period ends it
    agent               "false": no guest agent
    crash               "boot": ends while booting; a number: seconds after power-on
    exit                a number: powers itself off so many seconds after power-on
    users               names logged in, comma-separated
    os                  debian, ubuntu, fedora, centos-stream, windows, or none
    filesystem-used     percent of each disk in use (30)
    migration-seconds   how long a live migration copies (2, and half a second for each GiB of memory)
    migration           "fail": live migrations fail

A value that cannot be understood is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

Object = dict[str, Any]

PREFIX: Final = "lab.vmkit.io/guest-"


def _system(id_: str, name: str, pretty_name: str, version: str) -> Object:
    return {"id": id_, "name": name, "prettyName": pretty_name, "version": version}


_SYSTEMS: Final[dict[str, Object]] = {
    "debian": _system("debian", "Debian GNU/Linux", "Debian GNU/Linux 12 (bookworm)", "12"),
    "ubuntu": _system("ubuntu", "Ubuntu", "Ubuntu 24.04.3 LTS", "24.04"),
    "fedora": _system("fedora", "Fedora Linux", "Fedora Linux 43 (Cloud Edition)", "43"),
    "centos-stream": _system("centos", "CentOS Stream", "CentOS Stream 10 (Coughlan)", "10"),
    "windows": _system("mswindows", "Microsoft Windows", "Windows Server 2025 Datacenter", "2025"),
}
_KERNELS: Final = {
    "debian": "6.1.0-39-cloud-amd64", "ubuntu": "6.8.0-84-generic", "fedora": "6.17.1-300.fc43.x86_64",
    "centos-stream": "6.12.0-130.el10.x86_64", "windows": "26100",
}  # fmt: skip
AGENT_VERSION: Final = "10.0.2"
_COMMANDS: Final = (
    "guest-ping", "guest-info", "guest-shutdown", "guest-get-osinfo", "guest-get-users", "guest-get-fsinfo",
    "guest-get-host-name", "guest-get-timezone", "guest-fsfreeze-status", "guest-fsfreeze-freeze",
    "guest-fsfreeze-thaw", "guest-exec", "guest-network-get-interfaces", "guest-set-user-password",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Guest:
    """How one guest behaves; times in seconds of the lab's clock.

    Attributes:
        crash_seconds: it fails so long after power-on; None: it does not.
        crashes_at_boot: it fails before the machine counts as running.
        exit_seconds: it powers itself off so long after power-on; None: it does not.
        migration_seconds: how long a live migration copies; None: by the size of its memory.
    """

    boot_seconds: float = 0.0
    start_seconds: float = 0.5
    shutdown_seconds: float = 4.0
    ignores_acpi: bool = False
    has_agent: bool = True
    crashes_at_boot: bool = False
    crash_seconds: float | None = None
    exit_seconds: float | None = None
    users: tuple[str, ...] = ()
    system: str = "debian"
    filesystem_used_percent: float = 30.0
    migration_seconds: float | None = None
    migration_fails: bool = False

    @property
    def os_info(self) -> Object:
        """status.guestOSInfo of the instance once the agent answers."""
        return dict(_SYSTEMS.get(self.system, {}))


DEFAULT: Final = Guest()


def read_guest(*annotations: Mapping[str, str] | None, default: Guest = DEFAULT) -> Guest:
    """The guest that annotations describe; of several maps the later one wins."""
    told: dict[str, str] = {}
    for each in annotations:
        for key, value in (each or {}).items():
            if key.startswith(PREFIX) and isinstance(value, str):
                told[key.removeprefix(PREFIX)] = value.strip()
    if not told:
        return default
    crash = told.get("crash", "")
    users = tuple(name.strip() for name in told.get("users", "").split(",") if _NAME.fullmatch(name.strip()))
    system = told.get("os", default.system)
    return Guest(
        boot_seconds=_seconds(told.get("boot-seconds"), default.boot_seconds),
        start_seconds=_seconds(told.get("start-seconds"), default.start_seconds),
        shutdown_seconds=_seconds(told.get("shutdown-seconds"), default.shutdown_seconds),
        ignores_acpi=_flag(told.get("ignores-acpi"), default.ignores_acpi),
        has_agent=_flag(told.get("agent"), default.has_agent),
        crashes_at_boot=crash == "boot",
        crash_seconds=_optional_seconds(crash),
        exit_seconds=_optional_seconds(told.get("exit", "")),
        users=users if "users" in told else default.users,
        system=system if system in (*_SYSTEMS, "none") else default.system,
        filesystem_used_percent=min(_seconds(told.get("filesystem-used"), default.filesystem_used_percent), 100.0),
        migration_seconds=_optional_seconds(told.get("migration-seconds", "")),
        migration_fails=told.get("migration") == "fail",
    )


def _seconds(text: str | None, default: float) -> float:
    value = _optional_seconds(text or "")
    return default if value is None else value


def _optional_seconds(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", text):
        return None
    return float(text)


def _flag(text: str | None, default: bool) -> bool:
    return {"true": True, "false": False}.get(text or "", default)


def mac_address(uid: str, interface: str) -> str:
    """The address libvirt makes up for an interface that names none; a new instance gets a new one."""
    digest = blake2b(f"{uid}/{interface}".encode(), digest_size=3).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest)


def build_agent_info(guest: Guest, vmi: Object, *, at: float) -> Object:
    """What guestosinfo answers.

    Args:
        guest: the guest.
        vmi: its instance.
        at: the present instant, in seconds since the epoch.
    """
    hostname = vmi["spec"].get("hostname") or vmi["metadata"]["name"].split(".")[0][:63]
    kernel = _KERNELS.get(guest.system, "")
    system = guest.os_info
    info: Object = {
        "guestAgentVersion": AGENT_VERSION,
        "supportedCommands": [{"name": command, "enabled": True} for command in _COMMANDS],
        "hostname": hostname,
        "os": {
            "name": system.get("name", ""),
            "kernelRelease": kernel,
            "version": system.get("version", ""),
            "prettyName": system.get("prettyName", ""),
            "versionId": system.get("version", ""),
            "kernelVersion": f"#1 SMP {kernel}",
            "machine": "x86_64",
            "id": system.get("id", ""),
        },
        "timezone": "UTC, 0",
        "fsInfo": {"disks": build_filesystems(guest, vmi)[:10]},
        "fsFreezeStatus": (vmi.get("status") or {}).get("fsFreezeStatus") or "thawed",
    }
    users = build_users(guest, vmi, at=at)
    if users:
        info["userList"] = users[:10]
    return info


def build_users(guest: Guest, vmi: Object, *, at: float) -> list[Object]:
    """The items of userlist; everybody has been logged in for ten minutes, or since power-on."""
    domain = vmi["metadata"]["name"].upper()[:15] if guest.system == "windows" else ""
    users = []
    for name in guest.users:
        user: Object = {"userName": name, "loginTime": at - 600.0}
        if domain:
            user["domain"] = domain
        users.append(user)
    return users


def build_filesystems(guest: Guest, vmi: Object) -> list[Object]:
    """The items of filesystemlist: one for each disk that is no cloud-init drive."""
    sizes = {status.get("name"): _size(status) for status in (vmi.get("status") or {}).get("volumeStatus") or []}
    volumes = {volume.get("name"): volume for volume in vmi["spec"].get("volumes") or []}
    found: list[Object] = []
    for disk in vmi["spec"]["domain"].get("devices", {}).get("disks") or []:
        volume = volumes.get(disk.get("name")) or {}
        if (
            "cdrom" in disk
            or {"cloudInitNoCloud", "cloudInitConfigDrive", "sysprep", "configMap", "secret"} & volume.keys()
        ):
            continue
        total = sizes.get(disk.get("name")) or 10 * 2**30
        device = f"vd{'abcdefghijklmnopqrstuvwxyz'[len(found) % 26]}1"
        windows = guest.system == "windows"
        mount = (
            f"{'CDEFGHIJKLMNOPQRSTUVWXYZ'[len(found) % 24]}:\\"
            if windows
            else "/"
            if not found
            else f"/{disk['name']}"
        )
        found.append(
            {
                "diskName": device,
                "mountPoint": mount,
                "fileSystemType": "NTFS" if windows else "ext4",
                "usedBytes": int(total * guest.filesystem_used_percent / 100),
                "totalBytes": total,
                "disk": [{"busType": (disk.get("disk") or disk.get("lun") or {}).get("bus", "virtio")}],
            }
        )
    return found


def _size(status: Object) -> int:
    from vmkit.lab.kubevirt.quantities import BadQuantity, whole

    capacity = (status.get("persistentVolumeClaimInfo") or {}).get("capacity") or {}
    try:
        return whole(capacity.get("storage"))
    except BadQuantity:
        return 0
