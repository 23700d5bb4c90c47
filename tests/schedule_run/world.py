"""A practice cluster whose clock stands, with VMs that schedules may switch, and passes over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.power.vms import manifest
from vmkit.cluster import Session
from vmkit.cluster.resources import EVENTS, NAMESPACES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.lab import Lab
from vmkit.plan import Result
from vmkit.schedule.running import PassOptions, run_pass
from vmkit.scheduling import PowerHands
from vmkit.vm.state import VmView, read_vm

MONDAY = datetime(2026, 2, 2, 7, 0, tzinfo=UTC)
OFFICE = "Mon-Fri 08:00-18:00 UTC"


class World:
    """One namespace of such a cluster."""

    def __init__(self, lab: Lab, session: Session) -> None:
        self.lab, self.session = lab, session
        self.hands = PowerHands(session)

    @property
    def now(self) -> datetime:
        return self.lab.call(self.lab.clock.now)

    def create(
        self,
        name: str,
        schedule: str | None = OFFICE,
        *,
        strategy: str = "Always",
        safe: bool = True,
        labels: dict[str, str] | None = None,
        **annotations: str,
    ) -> None:
        marks = {f"vmkit.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        if schedule is not None:
            marks["vmkit.io/schedule"] = schedule
        if safe:
            marks["vmkit.io/restart-safe"] = "true"
        self.session.create(VIRTUAL_MACHINES, manifest(name, strategy, labels=labels, annotations=marks))
        self.advance(minutes=2)

    def advance(self, **delta: float) -> None:
        self.lab.advance(timedelta(**delta))

    def to(self, hour: int, minute: int = 0, *, days: int = 0) -> None:
        """On to this time of day (UTC), ``days`` days on."""
        target = self.now.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(days=days)
        assert target >= self.now
        self.lab.advance(target - self.now)

    def run(self, **options: Any) -> Result:
        """One pass, and what it asked for takes place."""
        options.setdefault("namespace", self.session.namespace)
        return run_pass(self.session, self.hands, PassOptions(**options))

    def look(self, name: str) -> VmView:
        vm = self.session.get(VIRTUAL_MACHINES, name)
        return read_vm(vm, self.session.find(VIRTUAL_MACHINE_INSTANCES, name))

    def power(self, name: str) -> str:
        self.advance(minutes=3)
        return str(self.look(name).power)

    def annotate(self, name: str, **annotations: str | None) -> None:
        marks = {f"vmkit.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        self.session.patch(VIRTUAL_MACHINES, name, {"metadata": {"annotations": marks}})

    def call(self, name: str, verb: str) -> None:
        """What a person does."""
        self.session.call_subresource(VIRTUAL_MACHINES, name, verb, body={})
        self.advance(minutes=3)

    def events(self, name: str) -> list[tuple[str, str]]:
        return [
            (event["reason"], event["message"])
            for event in self.session.list(EVENTS, self.session.namespace)
            if event["involvedObject"].get("name") == name and event["source"].get("component") == "vmkit-schedule"
        ]


def codes(result: Result) -> dict[str, str]:
    """By VM: the code of what was said about it."""
    return {outcome.target.name: outcome.reason.code for outcome in result.outcomes}


@contextmanager
def world(*, start: datetime = MONDAY, **options: Any) -> Iterator[World]:
    with (
        Lab(frozen=True, clock_start=start, seed=3, **options) as lab,
        Session.connect(kubeconfig=lab.kubeconfig, namespace="shop") as session,
    ):
        session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield World(lab, session)
