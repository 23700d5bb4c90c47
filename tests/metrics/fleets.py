"""Fleets whose truth is known, as a monitoring system would have scraped them.

A `Guest` says what it does in each five minutes; `render_history` writes what Prometheus would have of it, with
the counters of each launcher beginning anew, as KubeVirt's do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from vmkit.idle import IdleFacts
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

DAY = 86400
STEP = 300
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

Level = Callable[[float], float]
"""What is done at an instant (Unix seconds): cores, or bytes a second."""


def flat(level: float) -> Level:
    return lambda at: level


def nightly(level: float, *, hour: int = 2, hours: float = 1.0, rest: float = 0.01) -> Level:
    """A job every night."""
    return lambda at: level if hour * 3600 <= at % DAY < (hour + hours) * 3600 else rest


def office(level: float, *, rest: float) -> Level:
    """Mondays to Fridays, nine to five."""
    return lambda at: level if 9 <= at % DAY / 3600 < 17 and (int(at // DAY) + 3) % 7 < 5 else rest


def once(level: float, *, at: float, length: float, rest: float) -> Level:
    """One job in all the time."""
    start = at
    return lambda at: level if start <= at < start + length else rest


def ticking(level: float, *, every: float, length: float, rest: float) -> Level:
    """Something short at regular times: a log rotation, an agent's report."""
    return lambda at: level if at % every < length else rest


@dataclass(frozen=True)
class Boot:
    """One stay of a guest on a node: from, until (None: still), in seconds before now."""

    node: str
    since: float
    until: float | None = None


@dataclass(frozen=True)
class Guest:
    """One VM and the truth about it.

    Attributes:
        idle: nobody needs it, and the evidence says so.
        stays: where it was when; the first has been there since before the history began.
        gaps: stretches (seconds before now, from and until) in which its exporter told nothing.
        metrics: beginnings of names that are left out.
        session: seconds before now at which a console was closed; None for never.
        exporters: how many targets report it.
        value: changes the value of a sample: its family, its time, its value.
    """

    name: str
    idle: bool
    cpu: Level = field(default=flat(0.01))
    receive: Level = field(default=flat(200.0))
    transmit: Level = field(default=flat(40.0))
    read: Level = field(default=flat(0.0))
    write: Level = field(default=flat(3000.0))
    vcpus: int = 2
    stays: tuple[Boot, ...] = (Boot("worker-1", 40 * DAY),)
    created: float = 90 * DAY
    agent: bool = True
    gpu: bool = False
    gaps: tuple[tuple[float, float], ...] = ()
    without: tuple[str, ...] = ()
    session: float | None = None
    exporters: int = 1
    migrated: bool = False
    value: Callable[[str, float, float], float] | None = None

    def facts(self, namespace: str) -> IdleFacts:
        """What the cluster says of it."""
        last = self.stays[-1]
        first = self.stays[0] if self.migrated else last
        return IdleFacts(
            VmRef(namespace, self.name),
            PowerState.RUNNING,
            vcpus=self.vcpus,
            created_at=NOW - timedelta(seconds=self.created),
            running_since=NOW - timedelta(seconds=first.since),
            agent=self.agent,
            gpu=self.gpu,
        )


_COUNTERS = (
    ("kubevirt_vmi_cpu_usage_seconds", "cpu", ""),
    ("kubevirt_vmi_network_receive_bytes", "receive", ',interface="default"'),
    ("kubevirt_vmi_network_transmit_bytes", "transmit", ',interface="default"'),
    ("kubevirt_vmi_storage_read_traffic_bytes", "read", ',drive="vda"'),
    ("kubevirt_vmi_storage_write_traffic_bytes", "write", ',drive="vda"'),
)


def render_history(
    fleets: Iterable[tuple[str, Iterable[Guest]]],
    *,
    days: float,
    step: int = STEP,
    namespace_label: str = "namespace",
    virt_api: bool = True,
    old_names: bool = False,
) -> Iterator[str]:
    """OpenMetrics text of fleets, each in a namespace of its own.

    Args:
        fleets: namespaces with their guests.
        days: how long the history is, up to `NOW`.
        step: between two scrapes.
        namespace_label: "exported_namespace" where the scraper does not honour labels.
        virt_api: it was scraped as well.
        old_names: the names of metrics of old releases.
    """
    fleets = [(namespace, list(guests)) for namespace, guests in fleets]
    now = int(NOW.timestamp())
    times = range((now - int(days * DAY)) // step * step, now + 1, step)

    def labels(namespace: str, guest: Guest, stay: Boot, target: int) -> str:
        renamed = ',namespace="kubevirt"' if namespace_label != "namespace" else ""
        instance = f'job="kubevirt",instance="10.0.0.{target}"'
        return f'{namespace_label}="{namespace}",name="{guest.name}",node="{stay.node}",{instance}{renamed}'

    for family, attribute, more in _COUNTERS:
        name, extra = _old(family, more) if old_names else (family, more)
        yield f"# TYPE {name} counter\n"
        if old_names and attribute in ("transmit", "write"):
            continue  # the same family as the one before, told apart by a label
        for namespace, guests in fleets:
            for guest in guests:
                if family.startswith(guest.without) and guest.without:
                    continue
                ways = (
                    (attribute, {"receive": "transmit", "read": "write"}[attribute])
                    if old_names and (attribute in ("receive", "read"))
                    else (attribute,)
                )
                for way in ways:
                    told = (
                        extra if way == attribute else extra.replace('"rx"', '"tx"').replace('"read"', '"write"')
                    )
                    for stay in guest.stays:
                        for target in range(guest.exporters):
                            head = f"{name}_total{{{labels(namespace, guest, stay, target)}{told}}}"
                            yield "".join(
                                _counter(head, guest, stay, getattr(guest, way), times, now, step, family)
                            )
    yield "# TYPE kubevirt_vmi_info gauge\n"
    for namespace, guests in fleets:
        for guest in guests:
            for index, stay in enumerate(guest.stays):
                head = (
                    f'kubevirt_vmi_info{{{namespace_label}="{namespace}",name="{guest.name}",node="{stay.node}",'
                    f'phase="running",vmi_pod="virt-launcher-{guest.name}-{index}"}}'
                )
                yield "".join(f"{head} 1 {at}\n" for at in times if _during(stay, at, now))
    yield "# TYPE kubevirt_vm_running_status_last_transition_timestamp_seconds gauge\n"
    for namespace, guests in fleets:
        for guest in guests:
            head = (
                "kubevirt_vm_running_status_last_transition_timestamp_seconds"
                f'{{{namespace_label}="{namespace}",name="{guest.name}"}}'
            )
            yield "".join(
                f"{head} {now - guest.stays[0].since:.0f} {at}\n" for at in times if at >= now - guest.created
            )
    yield "# TYPE kubevirt_vmi_last_api_connection_timestamp_seconds gauge\n"
    for namespace, guests in fleets:
        for guest in guests:
            if guest.session is not None:
                head = (
                    "kubevirt_vmi_last_api_connection_timestamp_seconds"
                    f'{{{namespace_label}="{namespace}",vmi="{guest.name}"}}'
                )
                ended = now - guest.session
                yield "".join(f"{head} {ended:.0f} {at}\n" for at in times if at >= ended)
    if virt_api:
        yield "# TYPE up gauge\n"
        yield "".join(f'up{{job="kubevirt",pod="virt-api-7d4b9-x2v"}} 1 {at}\n' for at in times)
    yield "# EOF\n"


def _old(family: str, more: str) -> tuple[str, str]:
    kinds = {
        "kubevirt_vmi_network_receive_bytes": ("kubevirt_vmi_network_traffic_bytes", ',type="rx"'),
        "kubevirt_vmi_network_transmit_bytes": ("kubevirt_vmi_network_traffic_bytes", ',type="tx"'),
        "kubevirt_vmi_storage_read_traffic_bytes": ("kubevirt_vmi_storage_traffic_bytes", ',type="read"'),
        "kubevirt_vmi_storage_write_traffic_bytes": ("kubevirt_vmi_storage_traffic_bytes", ',type="write"'),
        "kubevirt_vmi_cpu_usage_seconds": ("kubevirt_vmi_vcpu_seconds", ',id="0",state="running"'),
    }
    name, kind = kinds[family]
    return name, more + kind


def _during(stay: Boot, at: float, now: float) -> bool:
    return now - stay.since <= at and (stay.until is None or at < now - stay.until)


def _counter(
    head: str, guest: Guest, stay: Boot, level: Level, times: range, now: int, step: int, family: str
) -> Iterator[str]:
    total = 0.0
    for at in times:
        if not _during(stay, at, now):
            continue
        # The first scrape of a launcher sees little.
        total += level(at - step) * step if at - step >= now - stay.since else 0.0
        if any(now - since <= at < now - until for since, until in guest.gaps):
            continue
        value = total if guest.value is None else guest.value(family, now - at, total)
        yield f"{head} {value:.3f} {at}\n"


HOUR = 3600.0

KNOWN: tuple[Guest, ...] = (
    # --- nobody needs these -----------------------------------------------------------------------
    Guest("forgotten", True),
    Guest("agent-noise", True, cpu=ticking(0.08, every=3600, length=300, rest=0.02), write=flat(20_000.0)),
    Guest(
        "moved-and-idle",
        True,
        migrated=True,
        stays=(Boot("worker-1", 40 * DAY, 5 * DAY), Boot("worker-2", 5 * DAY)),
    ),
    Guest("rebooted-and-idle", True, stays=(Boot("worker-1", 40 * DAY, 6 * DAY), Boot("worker-1", 6 * DAY - 900))),
    Guest("old-and-huge", True, vcpus=64, cpu=flat(0.05)),
    # --- these are in use, or nobody can tell -------------------------------------------------------
    Guest("nightly-batch", False, cpu=nightly(1.6)),
    Guest("weekly-batch", False, cpu=once(0.9, at=NOW.timestamp() - 6 * DAY, length=1800, rest=0.01)),
    Guest("short-job", False, cpu=once(1.0, at=NOW.timestamp() - 9 * DAY, length=300, rest=0.01)),
    Guest("editor", False, cpu=office(0.06, rest=0.02), session=3 * HOUR),
    Guest("remote-desktop", False, cpu=office(0.04, rest=0.02), receive=office(3000.0, rest=300.0), agent=False),
    Guest("unwatched", False, without=("kubevirt_vmi",)),
    Guest("without-network", False, without=("kubevirt_vmi_network",)),
    Guest("exporter-was-down", False, gaps=((4 * DAY, 3 * DAY),)),
    Guest("exporter-is-down", False, gaps=((2 * HOUR, -1.0),)),
    Guest("just-rebooted", False, stays=(Boot("worker-1", 40 * DAY, 5 * HOUR), Boot("worker-1", 5 * HOUR - 600))),
    Guest("just-moved", False, migrated=True, stays=(Boot("worker-1", 40 * DAY, 1800), Boot("worker-2", 1800))),
    Guest("new", False, created=2 * DAY, stays=(Boot("worker-1", 2 * DAY),)),
    Guest("trainer", False, gpu=True),
    Guest("copier", False, read=nightly(40e6, rest=0.0), write=nightly(40e6, rest=3000.0)),
    Guest("receiver", False, receive=nightly(8e6, rest=200.0)),
    Guest("scraped-twice", False, exporters=2),
    Guest(
        "broken-counter", False, value=lambda family, ago, value: float("nan") if 90_000 < ago < 200_000 else value
    ),
)
"""Each a way to be idle, or one to be mistaken for it."""
