"""How a workload's image is rebuilt: a public base, distribution packages, the application's own files. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vmkit.migrate.facts import Facts, OperatingSystem
from vmkit.migrate.inspect.secrets import WITHHELD
from vmkit.migrate.inspect.unit_files import split_words
from vmkit.migrate.services import Service

PAYLOAD: Final = "payload.tar"
_BASES: Final = {
    "debian": "docker.io/library/debian:{major}-slim", "ubuntu": "docker.io/library/ubuntu:{version}",
    "rocky": "docker.io/rockylinux/rockylinux:{major}", "almalinux": "docker.io/library/almalinux:{major}",
    "centos": "quay.io/centos/centos:stream{major}", "rhel": "registry.access.redhat.com/ubi{major}/ubi",
    "ol": "docker.io/library/oraclelinux:{major}", "amzn": "docker.io/library/amazonlinux:{version}",
    "fedora": "registry.fedoraproject.org/fedora:{version}", "alpine": "docker.io/library/alpine:{short}",
    "opensuse-leap": "registry.opensuse.org/opensuse/leap:{version}",
}  # fmt: skip
_FAMILY_BASES: Final = {
    "debian": "docker.io/library/debian:stable-slim", "rhel": "quay.io/centos/centos:stream9",
    "suse": "registry.opensuse.org/opensuse/leap:15.6", "alpine": "docker.io/library/alpine:3",
}  # fmt: skip
_INSTALL: Final = {
    "debian": "apt-get update \\\n"
    " && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {names} \\\n"
    " && rm -rf /var/lib/apt/lists/*",
    "rhel": "dnf install -y --setopt=install_weak_deps=False {names} \\\n && dnf clean all",
    "suse": "zypper --non-interactive install --no-recommends {names} \\\n && zypper clean --all",
    "alpine": "apk add --no-cache {names}",
}  # fmt: skip
# What keeps servers in the foreground that a unit lets go into the background.
_FOREGROUND: Final = {
    "nginx": ["nginx", "-g", "daemon off;"],
    "apache": ["sh", "-c", "exec $(command -v httpd || echo apachectl) -D FOREGROUND"],
}
_CONFIGURATION: Final = {
    "nginx": ("/etc/nginx",), "apache": ("/etc/apache2", "/etc/httpd"), "haproxy": ("/etc/haproxy",),
    "redis": ("/etc/redis", "/etc/redis.conf"), "postgresql": ("/etc/postgresql",),
    "mysql": ("/etc/mysql", "/etc/my.cnf"),
}  # fmt: skip
# These words come out of a guest and go into a shell at build time: nothing else passes.
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_PLAIN_PATH: Final = re.compile(r"/[\w./@+-]*")
# Folders that many share: their whole content is nobody's application.
_SHARED: Final = frozenset(
    {"", "/", "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin", "/usr/local/sbin",
     "/usr/lib", "/opt", "/srv", "/root", "/home", "/var", "/var/lib", "/etc"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What goes into an image.

    Attributes:
        base: the base image.
        packages: of the distribution.
        folders: whole folders of the guest that are the application's.
        files: single files besides.
        left_out: paths below these that must not go in: state and secrets.
        command: what runs, in words.
        user: "uid:gid", or "" for root.
        problems: why no image can be made; empty when one can.
    """

    base: str
    packages: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    working_directory: str
    stop_signal: str
    ports: tuple[int, ...]
    problems: tuple[str, ...] = ()


def choose_base(system: OperatingSystem) -> str:
    """The public image of the guest's distribution, or of its family; "" where there is none."""
    version = system.version
    major = version.split(".", 1)[0]
    if system.id in _BASES and re.fullmatch(r"[0-9]+(?:\.[0-9]+)*", version):
        return _BASES[system.id].format(version=version, major=major, short=".".join(version.split(".")[:2]))
    return _FAMILY_BASES.get(system.family, "")


class ImageKind(StrEnum):
    """How an image is made: the application on a fresh base, or the guest's whole root as it is."""

    REBUILD = "rebuild"
    FROZEN = "frozen"


def plan_image(facts: Facts, service: Service, *, kind: ImageKind = ImageKind.REBUILD) -> ImagePlan:
    """Decides what goes into a workload's image; a frozen one needs no base and no packages."""
    problems: list[str] = []
    system = facts.os or OperatingSystem(family="other")
    base = choose_base(system)
    frozen = kind is ImageKind.FROZEN
    if not base and not frozen:
        problems.append(f"no base image is known for {system.name or system.family}")
    command = _command(service)
    if not command:
        problems.append("what it runs is not known")
    if any(WITHHELD in word for word in command):
        problems.append("its command line holds a secret: move it into a variable first")
    runtime = service.runtime
    roots = [runtime.root if runtime else "", *(site.root for site in service.sites)]
    roots += [service.unit.working_directory if service.unit else ""]
    unowned = {one.path for one in facts.unowned_files}
    words = split_words(service.cron.command) if service.cron else command
    named = [word for word in words if word.startswith("/") and word in unowned]
    roots += [posixpath.dirname(word) for word in named]
    folders = sorted({posixpath.normpath(root) for root in roots if root} - _SHARED)
    changed = [one.path for one in facts.changed_configuration]
    places = _CONFIGURATION.get(service.program, ())
    configured = [path for path in (*changed, *sorted(unowned)) if _is_below(path, places)]
    secret = {one.evidence[0].path for one in facts.secrets if one.evidence}
    environment = set(service.unit.environment_files) if service.unit else set()
    user = next((one for one in facts.users if service.user in (one.name, str(one.uid))), None)
    if user is None and service.user != "root":
        problems.append(f"its user {service.user} is not in the guest's /etc/passwd")
    group = next((one.gid for one in facts.groups if service.unit and service.unit.group == one.name), None)
    gid = group if group is not None else user.gid if user else 0
    packages = {*(runtime.packages if runtime else ()), *_packages_of_job(facts, service)}
    strange = sorted(name for name in packages if not _PACKAGE.fullmatch(name))
    if strange and not frozen:
        problems.append(f"these are no names of packages: {', '.join(strange)}")
    return ImagePlan(
        base=base,
        packages=tuple(sorted(packages)),
        folders=tuple(folders),
        files=tuple(sorted({*named, *configured} - secret)),
        left_out=tuple(sorted({*(one.path for one in facts.data_directories), *secret, *environment})),
        command=tuple(command),
        user=f"{user.uid}:{gid}" if user is not None and user.uid else "",
        working_directory=service.unit.working_directory if service.unit else "",
        stop_signal=_stop_signal(service),
        ports=service.ports,
        problems=tuple(problems),
    )


def _command(service: Service) -> list[str]:
    if service.program in _FOREGROUND:
        return list(_FOREGROUND[service.program])
    if service.cron is not None:
        # A crontab's line is a line of shell.
        return ["/bin/sh", "-c", service.cron.command]
    if service.unit is None or not service.unit.commands:
        return []
    line = service.unit.commands[-1]
    # systemd puts variables into the line; in a container a shell has to.
    return ["/bin/sh", "-c", f"exec {line}"] if re.search(r"\$\{?[A-Za-z_]", line) else split_words(line)


def _stop_signal(service: Service) -> str:
    name = service.unit.kill_signal if service.unit else ""
    return name if re.fullmatch(r"SIG[A-Z0-9]+|[0-9]{1,2}", name) else ""


def _packages_of_job(facts: Facts, service: Service) -> set[str]:
    if service.cron is None:
        return set()
    # Cron jobs have no runtime of their own in the facts; an interpreter is the one the services use.
    wanted = {name for name in ("python3", "perl", "php", "ruby", "node") if name in service.cron.command}
    return (
        {name for one in facts.runtimes for name in one.packages if any(word in name for word in wanted)}
        if wanted
        else set()
    )


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in places)


def render_containerfile(plan: ImagePlan, family: str) -> str:
    """The plan as a Containerfile, for podman build or buildah bud in the folder with the payload."""
    lines = [f"FROM {plan.base}"]
    if plan.packages and family in _INSTALL:
        lines.append("RUN " + _INSTALL[family].format(names=" ".join(plan.packages)))
    if plan.folders or plan.files:
        lines += ["# The application's own files, with their owners and modes.", f"ADD {PAYLOAD} /"]
    # Any other path is left to the pod's workingDir, where nothing is taken for a variable.
    if _PLAIN_PATH.fullmatch(plan.working_directory):
        lines.append(f"WORKDIR {plan.working_directory}")
    lines += [f"EXPOSE {port}/tcp" for port in plan.ports]
    if plan.stop_signal:
        lines.append(f"STOPSIGNAL {plan.stop_signal}")
    if plan.user:
        lines += ["# The ids that the VM's data belongs to.", f"USER {plan.user}"]
    lines.append(f"CMD {json.dumps(list(plan.command))}")
    return "\n".join(lines) + "\n"
