"""A practice cluster whose clock stands, VMs of ninety days, and a source that says of them what a test wants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.idle.world import QUIET
from tests.power.vms import manifest
from vmkit.cluster import Session
from vmkit.cluster.resources import EVENTS, NAMESPACES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.idle.mark import MARK, Mark, parse_mark
from vmkit.idle.running import IdleOptions, IdleRun, Scope, run_idle
from vmkit.idling import IdleHands
from vmkit.lab import Lab
from vmkit.metrics.source import nothing_known
from vmkit.metrics.summary import (
    Energy,
    EnergySource,
    Measure,
    Migrations,
    Sessions,
    Signal,
    Summary,
    Unknown,
    Usage,
)
from vmkit.vm.history import Entry, parse_history
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

BEGIN = datetime(2026, 2, 2, 7, 0, tzinfo=UTC)
SHOP = "shop"


class Table:
    """A source that knows what it is told: VMs are quiet, but for their ``levels``; some are unknown."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[Signal, float]] = {}
        self.unknown: dict[str, Unknown] = {}
        self.changes: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[int, timedelta]] = []

    def summarize(
        self, refs: Collection[VmRef], *, measures: Collection[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        self.calls.append((len(refs), lookback))
        return {ref: self._summary(ref, measures, at, lookback) for ref in refs}

    def _summary(self, ref: VmRef, measures: Collection[Measure], at: datetime, lookback: timedelta) -> Summary:
        why = self.unknown.get(ref.name, self.unknown.get("*"))
        if why is not None:
            return nothing_known(ref, why, measures=measures, at=at, lookback=lookback)
        levels = {**QUIET, **self.levels.get(ref.name, {})}
        usage = {
            signal: Usage(
                {each: level for each in measures if each.signal is signal}, 1.0, at - timedelta(minutes=1)
            )
            for signal, level in levels.items()
        }
        summary = Summary(
            ref,
            at,
            lookback,
            usage=usage,
            observed=1.0,
            running=lookback,
            sessions=Sessions(0, None, at - lookback),
            logins=Unknown("NotAsked", "nobody looked"),
            migrations=Migrations(0),
            energy=Energy(0.336, EnergySource.KEPLER_PODS, 1.0),
        )
        return replace(summary, **self.changes.get(ref.name, {}))


class World:
    """One namespace of such a cluster."""

    def __init__(self, lab: Lab, session: Session) -> None:
        self.lab, self.session, self.source = lab, session, Table()
        self.hands = IdleHands(session)

    @property
    def now(self) -> datetime:
        return self.lab.call(self.lab.clock.now)

    def create(
        self, *names: str, strategy: str = "Always", days: float = 90, labels: dict[str, str] | None = None,
        agent: bool = True, **annotations: str,
    ) -> None:  # fmt: skip
        """VMs that have run for so long."""
        marks = {f"vmkit.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        marks.setdefault("vmkit.io/restart-safe", "true")
        if not agent:
            marks["lab.vmkit.io/guest-agent"] = "false"
        for name in names:
            document = manifest(name, strategy, labels={"vmkit.io/stop-idle": "enabled", **(labels or {})})
            document["metadata"]["annotations"] |= marks
            document["spec"]["template"]["spec"]["domain"]["cpu"] = {"cores": 2}
            self.session.create(VIRTUAL_MACHINES, document)
        self.advance(minutes=5)
        if days:
            self.advance(days=days)

    def advance(self, **delta: float) -> None:
        self.lab.advance(timedelta(**delta))

    def run(self, **options: Any) -> IdleRun:
        """One run, and what it asked for takes place."""
        options.setdefault("scope", Scope(namespace=SHOP))
        found = run_idle(self.session, self.hands, self.source, IdleOptions(**options))
        self.advance(minutes=5)
        return found

    def look(self, name: str) -> VmView:
        vm = self.session.get(VIRTUAL_MACHINES, name)
        return read_vm(vm, self.session.find(VIRTUAL_MACHINE_INSTANCES, name))

    def power(self, name: str) -> str:
        return str(self.look(name).power)

    def mark(self, name: str) -> Mark | None:
        text = self.look(name).annotations.get(MARK)
        return None if text is None else parse_mark(text)

    def stops(self, name: str) -> list[Entry]:
        return [each for each in parse_history(self.look(name).annotations) if each.verb == "stop"]

    def annotate(self, name: str, **annotations: str | None) -> None:
        marks = {f"vmkit.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
        self.session.patch(VIRTUAL_MACHINES, name, {"metadata": {"annotations": marks}})

    def call(self, name: str, verb: str) -> None:
        """What a person does."""
        self.session.call_subresource(VIRTUAL_MACHINES, name, verb, body={})
        self.advance(minutes=5)

    def events(self, name: str) -> list[str]:
        return [
            event["reason"]
            for event in self.session.list(EVENTS, self.session.namespace)
            if event["involvedObject"].get("name") == name
            and event["source"].get("component") == "vmkit-stop-idle"
        ]


def actions(found: IdleRun) -> dict[str, str]:
    """By VM: what happens to it."""
    return {each.ref.name: str(each.action) for each in found.report.items}


def codes(found: IdleRun) -> dict[str, str]:
    """By VM: the code of why."""
    return {each.ref.name: each.reason.code for each in found.report.items}


def create_namespace(session: Session, name: str, **metadata: Any) -> None:
    session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}})


@contextmanager
def world(**options: Any) -> Iterator[World]:
    with (
        Lab(frozen=True, clock_start=BEGIN, seed=3, **options) as lab,
        Session.connect(kubeconfig=lab.kubeconfig, namespace=SHOP) as session,
    ):
        create_namespace(session, SHOP)
        create_namespace(session, "vmkit")
        yield World(lab, session)
