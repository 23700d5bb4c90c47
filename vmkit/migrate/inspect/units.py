"""What the guest starts: enabled systemd services with their drop-ins, timers, and SysV and OpenRC scripts."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from vmkit.migrate.facts import Evidence, Timer, Unit, Variable
from vmkit.migrate.inspect.packages import Ownership
from vmkit.migrate.inspect.roles import WORKLOAD, role_of_unit
from vmkit.migrate.inspect.secrets import redact, withhold
from vmkit.migrate.inspect.unit_files import (
    UnitFile,
    parse_assignment,
    parse_environment_file,
    parse_percent,
    parse_size,
    parse_span,
    parse_unit,
    split_words,
)
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

SEARCH_PATH: Final = (
    "/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip
# Targets that a normal boot reaches; what hangs on the others (rescue, shutdown ...) does not start.
_BOOT_TARGETS: Final = (
    "default", "multi-user", "graphical", "basic", "sysinit", "local-fs", "remote-fs", "network", "network-online",
    "sockets", "timers", "paths", "cloud-init", "cloud-config", "nss-lookup", "time-sync",
)  # fmt: skip
_MAX_UNITS: Final = 2000
_MAX_DROP_INS: Final = 200
_STATE: Final = (("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log"))
_PREFIXES: Final = "@-:+!|"


@dataclass(frozen=True, slots=True)
class _Loaded:
    name: str
    path: str
    drop_ins: list[str]
    file: UnitFile


def inspect_units(tree: Tree, ownership: Ownership) -> tuple[list[Unit], list[Timer]]:
    """The services that start at boot, by timer or by socket, and the timers."""
    services: dict[str, str] = {}
    timers: list[Timer] = []
    for name in _enabled(tree):
        stem, _, suffix = name.rpartition(".")
        if suffix == "service":
            services[name] = "boot"
        elif suffix in ("timer", "socket", "path"):
            loaded = _load(tree, name)
            if loaded is None:
                continue
            target = loaded.file.last(suffix.capitalize(), "Unit" if suffix != "socket" else "Service")
            service = target or f"{stem}.service"
            services.setdefault(service, suffix)
            if suffix == "timer":
                timers.append(_timer(loaded, service, tree, ownership))
    units: list[Unit] = []
    for name, started_by in sorted(services.items())[:_MAX_UNITS]:
        loaded = _load(tree, name)
        if loaded is not None:
            units.append(_unit(tree, loaded, started_by, ownership))
    known = {unit.name for unit in units}
    units += [unit for unit in _scripts(tree, ownership) if unit.name not in known]
    return sorted(units, key=lambda one: one.name), sorted(timers, key=lambda one: one.name)


# --- systemd -------------------------------------------------------------------------------------------------


def _enabled(tree: Tree) -> list[str]:
    found: dict[str, None] = {}
    for folder in SEARCH_PATH:
        for target in _BOOT_TARGETS:
            for kind in ("wants", "requires"):
                for name in tree.names(f"{folder}/{target}.target.{kind}"):
                    found.setdefault(name)
    return list(found)[: _MAX_UNITS * 4]


def _load(tree: Tree, name: str) -> _Loaded | None:
    """A unit with its drop-ins; None when there is none or it is masked."""
    template = re.sub(r"@[^.]*(?=\.\w+$)", "@", name)
    path = ""
    for candidate in dict.fromkeys((name, template)):
        for folder in SEARCH_PATH:
            place = f"{folder}/{candidate}"
            found = tree.locate(place, follow=False)
            if found is None:
                continue
            if found.kind is Kind.SYMLINK and (tree.link_target(place) or "") == "/dev/null":
                return None
            if tree.is_file(place):
                path = place
                break
        if path:
            break
    if not path:
        return None
    text = tree.read_text(path)
    if not text:  # an empty file masks a unit
        return None
    file = parse_unit(text)
    drop_ins: dict[str, str] = {}
    kind = name.rpartition(".")[2]
    for place in (kind, template, name):
        for folder in reversed(SEARCH_PATH):
            for found_path in tree.files(f"{folder}/{place}.d", suffix=".conf"):
                drop_ins[posixpath.basename(found_path)] = found_path
    ordered = [drop_ins[key] for key in sorted(drop_ins)][:_MAX_DROP_INS]
    for drop_in in ordered:
        file.merge(parse_unit(tree.read_text(drop_in) or ""))
    return _Loaded(name, path, ordered, file)


def _unit(tree: Tree, loaded: _Loaded, started_by: str, ownership: Ownership) -> Unit:
    file, section = loaded.file, "Service"
    real = tree.real_path(loaded.path) or loaded.path
    package = ownership.package_of(real)
    kind = file.last(section, "Type") or "simple"
    problems = list(file.problems[:20])
    environment_files = _environment_files(file)
    instance = re.search(r"@([^.]*)\.\w+$", loaded.name)
    specifiers = {"%i": instance[1] if instance else "", "%I": instance[1] if instance else "",
                  "%n": loaded.name, "%N": loaded.name.rpartition(".")[0], "%%": "%"}  # fmt: skip
    commands = [_expand(_bare(value), specifiers) for value in file.all(section, "ExecStart")]
    if not commands and kind != "oneshot":
        problems.append("it has no ExecStart")
    state = [
        posixpath.join(base, name)
        for key, base in _STATE
        for name in (part.split(":", 1)[0] for part in file.words(section, key))
        if ".." not in name
    ]
    stop = file.last(section, "TimeoutStopSec") or file.last(section, "TimeoutSec")
    return Unit(
        name=loaded.name,
        path=loaded.path,
        role=role_of_unit(loaded.name.rpartition(".")[0], one_shot=kind == "oneshot", packaged=bool(package)),
        drop_ins=loaded.drop_ins,
        description=file.last("Unit", "Description"),
        kind=kind,
        started_by=started_by,
        package=package,
        commands=[redact(command) for command in commands],
        before_start=[redact(_expand(_bare(value), specifiers)) for value in file.all(section, "ExecStartPre")],
        user=_expand(file.last(section, "User"), specifiers),
        group=file.last(section, "Group"),
        working_directory=file.last(section, "WorkingDirectory").lstrip("-"),
        environment=_environment(tree, file, loaded.path, environment_files),
        environment_files=environment_files,
        restart=file.last(section, "Restart"),
        kill_signal=file.last(section, "KillSignal"),
        stop_timeout_seconds=parse_span(stop),
        state_directories=state,
        writable_paths=[path.lstrip("-+") for path in file.words(section, "ReadWritePaths")],
        memory_max_bytes=parse_size(file.last(section, "MemoryMax")),
        cpu_quota_percent=parse_percent(file.last(section, "CPUQuota")),
        capabilities=file.words(section, "AmbientCapabilities"),
        devices=[value.split()[0] for value in file.all(section, "DeviceAllow") if value],
        requires=[*file.words("Unit", "Requires"), *file.words("Unit", "BindsTo")],
        problems=problems,
        evidence=[Evidence(path=path) for path in (loaded.path, *loaded.drop_ins)],
    )


def _bare(command: str) -> str:
    return command.lstrip(_PREFIXES).strip()


def _expand(text: str, specifiers: dict[str, str]) -> str:
    return re.sub(r"%.", lambda match: specifiers.get(match[0], match[0]), text)


def _environment_files(file: UnitFile) -> list[str]:
    return [value.lstrip("-").strip() for value in file.all("Service", "EnvironmentFile")][:50]


def _environment(tree: Tree, file: UnitFile, path: str, files: list[str]) -> list[Variable]:
    found: dict[str, Variable] = {}
    for word in file.words("Service", "Environment"):
        pair = parse_assignment(word)
        if pair is not None:
            found[pair[0]] = Variable(name=pair[0], value=withhold(*pair), source=path)
    for place in files:
        for name, value, _ in parse_environment_file(tree.read_text(place) or ""):
            found[name] = Variable(name=name, value=withhold(name, value), source=place)
    return list(found.values())[:500]


def _timer(loaded: _Loaded, service: str, tree: Tree, ownership: Ownership) -> Timer:
    packaged = bool(ownership.package_of(tree.real_path(loaded.path) or loaded.path))
    target = _load(tree, service)
    one_shot = target is not None and target.file.last("Service", "Type") == "oneshot"
    return Timer(
        name=loaded.name,
        unit=service,
        role=role_of_unit(service.rpartition(".")[0], one_shot=one_shot, packaged=packaged),
        calendar=loaded.file.all("Timer", "OnCalendar"),
        monotonic=[
            f"{key}={value}"
            for key in ("OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnActiveSec")
            for value in loaded.file.all("Timer", key)
        ],
        evidence=[Evidence(path=place) for place in (loaded.path, *loaded.drop_ins)],
    )


# --- scripts -------------------------------------------------------------------------------------------------


def _scripts(tree: Tree, ownership: Ownership) -> list[Unit]:
    """SysV scripts that a run level starts, OpenRC services, and rc.local; where no unit of that name stands."""
    names: dict[str, str] = {}
    for level in ("rc2.d", "rc3.d", "rc5.d", "rc.d/rc3.d", "rc.d/rc5.d"):
        for entry in tree.names(f"/etc/{level}"):
            match = re.fullmatch(r"S[0-9]{2}(.+)", entry)
            if match:
                names.setdefault(match[1], f"/etc/{level}/{entry}")
    for level in ("default", "boot", "sysinit"):
        for entry in tree.names(f"/etc/runlevels/{level}"):
            names.setdefault(entry, f"/etc/runlevels/{level}/{entry}")
    found: list[Unit] = []
    for name, link in sorted(names.items())[:_MAX_UNITS]:
        unit = f"{name}.service"
        if any(tree.locate(f"{folder}/{unit}", follow=False) for folder in SEARCH_PATH):
            continue
        path = f"/etc/init.d/{name}"
        package = ownership.package_of(path)
        role = role_of_unit(name, one_shot=False, packaged=bool(package))
        found.append(
            Unit(name=unit, path=path, role=role, kind="script", package=package, commands=[f"{path} start"],
                 evidence=[Evidence(path=link)])
        )  # fmt: skip
    for path in ("/etc/rc.local", "/etc/rc.d/rc.local"):
        lines = [line.strip() for line in tree.read_lines(path)]
        commands = [line for line in lines if line and not line.startswith("#") and line != "exit 0"]
        if commands:
            found.append(
                Unit(name="rc-local.service", path=path, role=WORKLOAD, kind="script",
                     commands=[redact(command) for command in commands[:50]], evidence=[Evidence(path=path)])
            )  # fmt: skip
            break
    return found


def command_words(unit: Unit) -> list[str]:
    """The words of a unit's first command; empty where there is none."""
    return split_words(unit.commands[0]) if unit.commands else []
