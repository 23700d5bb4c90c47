"""What is known about a guest: one schema-versioned document, each fact with its evidence.

In Python the names are these; in JSON they are in camelCase. Within a schema version keys are added, never renamed
or removed. Values of secrets are never in it: a withheld value is None.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vmkit.errors import EvidenceError
from vmkit.report.text import escape_text

SCHEMA_VERSION: Final = 1
KIND: Final = "GuestFacts"
MAX_TEXT: Final = 4096


class _Fact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Evidence(_Fact, frozen=True):
    """Where a fact was read: a path in the guest, with a line where one says it, or a command that was run."""

    path: str = ""
    line: int | None = None
    command: str = ""

    def __str__(self) -> str:
        place = self.command or self.path
        return f"{place}:{self.line}" if self.line is not None else place


class Disk(_Fact, frozen=True):
    """A disk that was given: format in qemu-img's words, partition table scheme ("gpt", "mbr", "none")."""

    name: str
    format: str
    size_bytes: int
    scheme: str
    notes: list[str] = []


class DiskPart(_Fact, frozen=True):
    """A partition or logical volume; ``filesystem`` is blkid's word."""

    name: str
    size_bytes: int
    filesystem: str = ""
    label: str = ""
    uuid: str = ""
    partition_type: str = ""
    mount_point: str = ""
    problem: str = ""
    notes: list[str] = []


class Source(_Fact, frozen=True):
    """Where the facts come from: kind "disk", "directory" or "tar"."""

    kind: str
    location: str
    disks: list[Disk] = []
    volumes: list[DiskPart] = []


class OperatingSystem(_Fact, frozen=True):
    """``family`` is what base images go by: debian, rhel, suse, alpine, arch, windows or other."""

    family: str
    id: str = ""
    version: str = ""
    name: str = ""
    architecture: str = ""
    hostname: str = ""
    init: str = ""
    kernels: list[str] = []
    evidence: list[Evidence] = []


class Package(_Fact, frozen=True):
    name: str
    version: str
    architecture: str = ""


class Packages(_Fact, frozen=True):
    """Installed packages; ``manager`` is dpkg, rpm, apk or "" where none was found."""

    manager: str
    items: list[Package] = []
    problem: str = ""
    evidence: list[Evidence] = []


class Variable(_Fact, frozen=True):
    """An environment variable; ``value`` is None where it is secret or may be."""

    name: str
    value: str | None = None
    source: str = ""


class Unit(_Fact, frozen=True):
    """A systemd service (or SysV script) that starts at boot, or is started by a timer or socket.

    ``commands`` are its ExecStart lines with secrets withheld; ``role`` is "workload", or "platform" for what a
    cluster does itself (ssh, cron, logging, networking ...).
    """

    name: str
    path: str
    role: str
    drop_ins: list[str] = []
    description: str = ""
    kind: str = "simple"
    started_by: str = "boot"
    package: str = ""
    commands: list[str] = []
    before_start: list[str] = []
    user: str = ""
    group: str = ""
    working_directory: str = ""
    environment: list[Variable] = []
    environment_files: list[str] = []
    restart: str = ""
    kill_signal: str = ""
    stop_timeout_seconds: float | None = None
    state_directories: list[str] = []
    writable_paths: list[str] = []
    memory_max_bytes: int | None = None
    cpu_quota_percent: float | None = None
    capabilities: list[str] = []
    devices: list[str] = []
    requires: list[str] = []
    problems: list[str] = []
    evidence: list[Evidence] = []


class Timer(_Fact, frozen=True):
    name: str
    unit: str
    role: str
    calendar: list[str] = []
    monotonic: list[str] = []
    evidence: list[Evidence] = []


class CronJob(_Fact, frozen=True):
    """A crontab line: ``schedule`` is five fields or @daily and its like."""

    schedule: str
    user: str
    command: str
    role: str
    evidence: list[Evidence] = []


class Listener(_Fact, frozen=True):
    """A port or socket something listens on. ``service`` is a unit's name where it is known; ``origin`` is
    "configuration", "default" (a program's own port, named by no configuration) or "live"."""

    protocol: str
    address: str
    port: int | None = None
    service: str = ""
    program: str = ""
    origin: str = "configuration"
    http: bool = False
    evidence: list[Evidence] = []


class Runtime(_Fact, frozen=True):
    """What a service runs on: its language, its entry point, and what its own code needs.

    ``application`` is "wsgi", "asgi", "fetch", "static", "script" or ""; ``entry_point`` is "module:callable" or a
    path. ``packages`` are those that its program and its unit came with. ``imports`` are the top-level modules its
    own code names that are not its own; ``libraries`` those that were found beside it, with what they import in
    turn; ``unresolved`` those that were not found; ``native_modules`` compiled files among all of them;
    ``file_writes`` places that write files; ``dynamic`` places that a scan cannot see through.
    """

    service: str
    language: str
    program: str = ""
    entry_point: str = ""
    application: str = ""
    framework: str = ""
    root: str = ""
    packages: list[str] = []
    imports: list[str] = []
    libraries: list[str] = []
    unresolved: list[str] = []
    native_modules: list[str] = []
    file_writes: list[Evidence] = []
    dynamic: list[Evidence] = []
    threads_or_processes: list[Evidence] = []
    source_bytes: int = 0
    problems: list[str] = []
    evidence: list[Evidence] = []


class StaticSite(_Fact, frozen=True):
    """A web server's folder of files; ``dynamic`` says why it is more than files, with evidence."""

    service: str
    root: str
    server_names: list[str] = []
    port: int | None = None
    size_bytes: int = 0
    files: int = 0
    dynamic: list[str] = []
    evidence: list[Evidence] = []


class UnownedFile(_Fact, frozen=True):
    path: str
    size_bytes: int
    mode: int
    uid: int
    gid: int


class ChangedFile(_Fact, frozen=True):
    path: str
    package: str


class DataDirectory(_Fact, frozen=True):
    """A place that holds state; ``allocated_bytes`` is less than ``size_bytes`` where files are sparse."""

    path: str
    reason: str
    services: list[str] = []
    size_bytes: int = 0
    allocated_bytes: int = 0
    files: int = 0
    uid: int | None = None
    gid: int | None = None
    evidence: list[Evidence] = []


class User(_Fact, frozen=True):
    name: str
    uid: int
    gid: int
    home: str = ""
    shell: str = ""
    login: bool = False


class Group(_Fact, frozen=True):
    name: str
    gid: int
    members: list[str] = []


class Mount(_Fact, frozen=True):
    """A line of /etc/fstab or a mount unit; ``network`` for NFS, CIFS, Ceph and their like."""

    source: str
    target: str
    kind: str
    options: list[str] = []
    network: bool = False
    evidence: list[Evidence] = []


class Need(_Fact, frozen=True):
    """Something in the guest that reaches beyond a process: ``kind`` is stable, ``name`` says which."""

    kind: str
    name: str
    evidence: list[Evidence] = []


class Secret(_Fact, frozen=True):
    """A secret's name and place; its value is nowhere in this document."""

    name: str
    kind: str
    services: list[str] = []
    evidence: list[Evidence] = []


class Facts(_Fact, frozen=True):
    """Everything that is known about one guest."""

    source: Source
    kind: str = KIND
    schema_version: int = SCHEMA_VERSION
    os: OperatingSystem | None = None
    packages: Packages = Packages(manager="")
    units: list[Unit] = []
    timers: list[Timer] = []
    cron_jobs: list[CronJob] = []
    listeners: list[Listener] = []
    runtimes: list[Runtime] = []
    static_sites: list[StaticSite] = []
    unowned_files: list[UnownedFile] = []
    changed_configuration: list[ChangedFile] = []
    data_directories: list[DataDirectory] = []
    users: list[User] = []
    groups: list[Group] = []
    mounts: list[Mount] = []
    kernel_needs: list[Need] = []
    engines: list[Need] = []
    network_needs: list[Need] = []
    secrets: list[Secret] = []
    licences: list[Need] = []
    notes: list[str] = []
    """What was left out, cut short or could not be read."""


def make_safe(facts: Facts) -> Facts:
    """The facts with every text on one line, no control characters, and no longer than 4096 characters.

    Names in a guest may hold anything; whatever prints this document later can print it as it is.
    """
    return msgspec.convert(_safe(msgspec.to_builtins(facts)), Facts)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        text = escape_text(value)
        return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    if isinstance(value, list):
        return [_safe(one) for one in value]
    if isinstance(value, dict):
        return {key: _safe(one) for key, one in value.items()}
    return value


def facts_to_dict(facts: Facts) -> dict[str, Any]:
    """The document as plain values; kind and version always stand in it."""
    return {"kind": KIND, "schemaVersion": SCHEMA_VERSION, **msgspec.to_builtins(facts)}


def encode_facts(facts: Facts) -> bytes:
    """The document as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(facts_to_dict(facts)), indent=2) + b"\n"


def decode_facts(data: bytes, *, where: str = "") -> Facts:
    """Reads a facts document.

    Raises:
        EvidenceError: it is none, or of a version that is not known.
    """
    try:
        head = msgspec.json.decode(data)
        if not isinstance(head, dict) or head.get("kind") != KIND:
            raise EvidenceError(
                "not a facts document", hint="make one with vmkit migrate inspect -o json", where=where
            )
        if head.get("schemaVersion") != SCHEMA_VERSION:
            raise EvidenceError(
                f"its schema version is {head.get('schemaVersion')!r}, this vmkit reads {SCHEMA_VERSION}",
                hint="inspect the source again with this vmkit",
                where=where,
            )
        return msgspec.convert(head, Facts)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceError(f"not a facts document: {error}", where=where) from error


def build_schema() -> dict[str, Any]:
    """The JSON schema of the document (2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Facts)}
