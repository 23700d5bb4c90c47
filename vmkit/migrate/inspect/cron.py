"""Cron: system and user crontabs, and the hourly to monthly folders."""

from __future__ import annotations

import re
from typing import Final

from vmkit.migrate.facts import CronJob, Evidence
from vmkit.migrate.inspect.packages import Ownership
from vmkit.migrate.inspect.roles import PLATFORM, WORKLOAD
from vmkit.migrate.inspect.secrets import redact
from vmkit.migrate.tree.rooted import Tree, join

_MAX_JOBS: Final = 1000
_FOLDERS: Final = {"hourly": "@hourly", "daily": "@daily", "weekly": "@weekly", "monthly": "@monthly"}
_FIELD: Final = r"[0-9A-Za-z*/,\-]+"
_LINE: Final = re.compile(rf"\s*(?P<schedule>@\w+|{_FIELD}(?:\s+{_FIELD}){{4}})\s+(?P<rest>\S.*)$")


def inspect_cron(tree: Tree, ownership: Ownership) -> list[CronJob]:
    """Every job of every crontab; those that came with a package are platform."""
    found: list[CronJob] = []
    for path in ("/etc/crontab", *tree.files("/etc/cron.d")):
        role = PLATFORM if path == "/etc/crontab" and _is_standard(tree) else _role(path, ownership)
        found += _crontab(tree, path, role, user="")
    for folder in ("/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs"):
        for path in tree.files(folder):
            found += _crontab(tree, path, WORKLOAD, user=path.rsplit("/", 1)[-1])
    for name, schedule in _FOLDERS.items():
        for path in tree.files(f"/etc/cron.{name}"):
            if not path.rsplit("/", 1)[-1].startswith("."):
                found.append(
                    CronJob(schedule=schedule, user="root", command=path, role=_role(path, ownership),
                            evidence=[Evidence(path=path)])
                )  # fmt: skip
    # Alpine's crontab of root runs the periodic folders; the jobs in them are listed themselves.
    found = [job for job in found if not job.command.startswith("run-parts /etc/periodic")]
    for name, schedule in (("15min", "*/15 * * * *"), *_FOLDERS.items()):
        for path in tree.files(join("/etc/periodic", name)):
            found.append(
                CronJob(schedule=schedule, user="root", command=path, role=_role(path, ownership),
                        evidence=[Evidence(path=path)])
            )  # fmt: skip
    return found[:_MAX_JOBS]


def _role(path: str, ownership: Ownership) -> str:
    return PLATFORM if ownership.package_of(path) else WORKLOAD


def _is_standard(tree: Tree) -> bool:
    # As shipped, /etc/crontab only runs the hourly to monthly folders.
    lines = [line for line in tree.read_lines("/etc/crontab") if _LINE.match(line) and not line.startswith("#")]
    return all("run-parts" in line or "anacron" in line for line in lines)


def _crontab(tree: Tree, path: str, role: str, *, user: str) -> list[CronJob]:
    found: list[CronJob] = []
    for number, line in enumerate(tree.read_lines(path), 1):
        match = _LINE.match(line) if not line.lstrip().startswith("#") else None
        if match is None or "=" in line.split(None, 1)[0]:
            continue
        rest = match["rest"]
        who = user
        if not who:  # system crontabs have a sixth field
            who, *left = rest.split(None, 1)
            rest = left[0].strip() if left else ""
        if rest:
            found.append(
                CronJob(schedule=" ".join(match["schedule"].split()), user=who, command=redact(rest), role=role,
                        evidence=[Evidence(path=path, line=number)])
            )  # fmt: skip
    return found
