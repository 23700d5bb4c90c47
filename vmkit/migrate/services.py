"""The workloads of a guest: each service and each job with everything that the facts know of it. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from enum import StrEnum

from vmkit.migrate.facts import (
    CronJob,
    DataDirectory,
    Facts,
    Listener,
    Runtime,
    Secret,
    StaticSite,
    Timer,
    Unit,
)


class ServiceKind(StrEnum):
    """A service runs on; a job runs at times; a task runs once at boot."""

    SERVICE = "service"
    JOB = "job"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Service:
    """One workload.

    Attributes:
        name: unique within the guest: the unit's name without ".service", or "cron-FILE-LINE".
        unit: None for a cron job.
        cron: None for anything else.
    """

    name: str
    kind: ServiceKind
    unit: Unit | None = None
    cron: CronJob | None = None
    timer: Timer | None = None
    runtime: Runtime | None = None
    listeners: tuple[Listener, ...] = ()
    sites: tuple[StaticSite, ...] = ()
    data: tuple[DataDirectory, ...] = ()
    secrets: tuple[Secret, ...] = ()

    @property
    def user(self) -> str:
        """Who it runs as; units without User= run as root."""
        if self.cron is not None:
            return self.cron.user or "root"
        return (self.unit.user if self.unit else "") or "root"

    @property
    def program(self) -> str:
        return self.runtime.program if self.runtime else ""

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(sorted({one.port for one in self.listeners if one.port is not None}))


def build_services(facts: Facts) -> list[Service]:
    """The workloads of a guest, sorted by name; what a cluster does itself is left out."""
    runtimes = {one.service: one for one in facts.runtimes}
    timers = {one.unit: one for one in facts.timers}
    found: list[Service] = []
    for unit in facts.units:
        if unit.role != "workload":
            continue
        timer = timers.get(unit.name) if unit.started_by == "timer" else None
        kind = ServiceKind.JOB if timer else ServiceKind.TASK if unit.kind == "oneshot" else ServiceKind.SERVICE
        found.append(
            Service(
                name=unit.name.removesuffix(".service"),
                kind=kind,
                unit=unit,
                timer=timer,
                runtime=runtimes.get(unit.name),
                listeners=tuple(one for one in facts.listeners if one.service == unit.name),
                sites=tuple(one for one in facts.static_sites if one.service == unit.name),
                data=tuple(one for one in facts.data_directories if _uses(unit, one)),
                secrets=tuple(one for one in facts.secrets if unit.name in one.services),
            )
        )
    for job in facts.cron_jobs:
        if job.role == "workload":
            place = job.evidence[0] if job.evidence else None
            name = posixpath.basename(place.path) if place else "job"
            line = f"-{place.line}" if place and place.line else ""
            found.append(Service(name=f"cron-{name}{line}", kind=ServiceKind.JOB, cron=job))
    return sorted(found, key=lambda one: one.name)


def _uses(unit: Unit, data: DataDirectory) -> bool:
    if unit.name in data.services:
        return True
    if data.services:
        return False
    # A mounted data disk belongs to the service whose folders or variables point into it.
    places = [unit.working_directory, *unit.writable_paths, *(one.value or "" for one in unit.environment)]
    return any(place == data.path or place.startswith(f"{data.path}/") for place in places)
