"""The practice cluster as a source of usage: its own series, summed up as those of a Prometheus are.

source = PracticeSource(RemoteLab.from_kubeconfig(path))
source.summarize(refs, measures=policy.measures, at=now, lookback=policy.lookback)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from vmkit.errors import VmkitError
from vmkit.metrics.practice import Read, RecordedRun, RecordedSource, Recording
from vmkit.metrics.source import nothing_known
from vmkit.metrics.summary import EnergySource, Measure, Signal, Summary, Unknown
from vmkit.vm.reference import VmRef

if TYPE_CHECKING:
    from vmkit.lab.metrics.model import Guest, Run
    from vmkit.lab.metrics.service import Facts
    from vmkit.lab.remote import RemoteLab

_ONE_NAMESPACE: Final = 1


class PracticeSource:
    """Sums up how the VMs of a practice cluster were used. See `vmkit.metrics.source.UsageSource`.

    Args:
        lab: the practice cluster.
    """

    def __init__(self, lab: RemoteLab) -> None:
        self._lab = lab

    def summarize(
        self, refs: Collection[VmRef], *, measures: Collection[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        """What is known of the use of VMs; see `UsageSource.summarize`."""
        try:
            recordings = self.record(refs)
        except VmkitError as error:
            why = Unknown(error.code, error.message)
            return {
                ref: nothing_known(ref, why, measures=measures, at=at, lookback=lookback)
                for ref in sorted(set(refs))
            }
        source = RecordedSource(lambda wanted: recordings)
        return source.summarize(refs, measures=measures, at=at, lookback=lookback)

    def record(self, refs: Collection[VmRef]) -> list[Recording]:
        """What is known of these VMs, as counters that can be read at any instant.

        Raises:
            VmkitError: the practice cluster does not answer.
        """
        from vmkit.lab.metrics.service import decode_facts

        namespaces = {ref.namespace for ref in refs}
        only = namespaces.pop() if len(namespaces) == _ONE_NAMESPACE else ""
        return list(_record(decode_facts(self._lab.metric_facts(namespace=only)), refs))


_COUNTERS: Final[Mapping[Signal, str]] = {
    Signal.CPU: "kubevirt_vmi_cpu_usage_seconds_total",
    Signal.RECEIVE: "kubevirt_vmi_network_receive_bytes_total",
    Signal.TRANSMIT: "kubevirt_vmi_network_transmit_bytes_total",
    Signal.DISK_READ: "kubevirt_vmi_storage_read_traffic_bytes_total",
    Signal.DISK_WRITE: "kubevirt_vmi_storage_write_traffic_bytes_total",
}
_SOURCES: Final[Mapping[str, EnergySource]] = {
    "pods": EnergySource.KEPLER_PODS,
    "containers": EnergySource.KEPLER_CONTAINERS,
    "legacy": EnergySource.KEPLER_LEGACY,
}
"""Generations of Kepler as a practice cluster calls them."""
_LOAD: Final = "kubevirt_vmi_guest_load_5m"
_AVAILABLE: Final = "kubevirt_vmi_memory_available_bytes"
_USABLE: Final = "kubevirt_vmi_memory_usable_bytes"


def _record(facts: Facts, wanted: Collection[VmRef]) -> Iterator[Recording]:
    """What a practice cluster knows of some of its VMs."""
    from vmkit.lab.metrics.instances import INSTANCE_FAMILIES
    from vmkit.lab.metrics.load import DAY
    from vmkit.lab.metrics.sessions import MEMORY_DAYS, active_session, last_connection

    builders = {family.name: build for family, build in INSTANCE_FAMILIES.items()}
    for guest in facts.guests:
        ref = VmRef(guest.namespace, guest.name)
        if ref in wanted:
            seed = facts.seed
            yield Recording(
                ref,
                guest.created,
                tuple(_record_run(facts, guest, run, builders) for run in guest.runs),
                open_sessions=partial(_count_open, active_session, seed, guest),
                last_session=partial(last_connection, seed, guest),
                sessions_since=facts.now - MEMORY_DAYS * DAY,
                energy_source=_SOURCES.get(facts.kepler, EnergySource.MODEL),
            )


def _count_open(active: Callable[..., Any], seed: int, guest: Guest, at: float) -> int:
    return 0 if active(seed, guest, at) is None else 1


def _record_run(facts: Facts, guest: Guest, run: Run, builders: Mapping[str, Callable[..., Any]]) -> RecordedRun:
    from vmkit.lab.metrics.energy import active_joules
    from vmkit.lab.metrics.model import RunSeries

    series = RunSeries(facts.seed, guest, run)

    def read(name: str) -> Read | None:
        found = [each for _, each in builders[name](series)]
        if not found:
            return None
        return found[0] if len(found) == 1 else partial(_add, tuple(found))

    counters = {signal: reader for signal, name in _COUNTERS.items() if (reader := read(name)) is not None}
    load = read(_LOAD) if facts.loads else None
    if load is not None:
        counters[Signal.GUEST_LOAD] = load
    moved = run.start != run.boot
    joules = partial(active_joules, series) if facts.kepler in _SOURCES else None
    return RecordedRun(run.start, run.end, moved, counters, read(_AVAILABLE), read(_USABLE), joules)


def _add(readers: tuple[Read, ...], at: float) -> float:
    return sum(read(at) for read in readers)
