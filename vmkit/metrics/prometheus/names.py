"""Which metrics and labels a Prometheus has for VMs: they differ between releases of KubeVirt, and scrapers.

Source: KubeVirt docs/observability/metrics.md of 0.36 to 1.9. A scraper without ``honorLabels`` renames the labels
that its target brings and that it sets itself: ``namespace`` becomes ``exported_namespace``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from vmkit.metrics.prometheus.reply import Series
from vmkit.metrics.summary import Signal
from vmkit.vm.reference import VmRef

LARGEST_CHOICE: Final = 2000
"""Names that a selector lists; with more it takes all of the namespaces, and what nobody asked for is left out."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, and the matchers that pick what is wanted of it."""

    name: str
    matchers: str = ""


SIGNALS: Final[Mapping[Signal, tuple[Metric, ...]]] = {
    Signal.CPU: (
        Metric("kubevirt_vmi_cpu_usage_seconds_total"),
        Metric("kubevirt_vmi_cpu_usage_seconds"),
        Metric("kubevirt_vmi_vcpu_seconds_total", 'state="running"'),
        Metric("kubevirt_vmi_vcpu_seconds", 'state="running"'),
    ),
    Signal.RECEIVE: (
        Metric("kubevirt_vmi_network_receive_bytes_total"),
        Metric("kubevirt_vmi_network_traffic_bytes_total", 'type="rx"'),
    ),
    Signal.TRANSMIT: (
        Metric("kubevirt_vmi_network_transmit_bytes_total"),
        Metric("kubevirt_vmi_network_traffic_bytes_total", 'type="tx"'),
    ),
    Signal.DISK_READ: (
        Metric("kubevirt_vmi_storage_read_traffic_bytes_total"),
        Metric("kubevirt_vmi_storage_traffic_bytes_total", 'type="read"'),
    ),
    Signal.DISK_WRITE: (
        Metric("kubevirt_vmi_storage_write_traffic_bytes_total"),
        Metric("kubevirt_vmi_storage_traffic_bytes_total", 'type="write"'),
    ),
    Signal.GUEST_LOAD: (Metric("kubevirt_vmi_guest_load_5m"),),
}
"""What a signal is read from, the newest name first."""

RUNNING: Final = "kubevirt_vmi_info"
OBSERVED: Final = ("kubevirt_vm_running_status_last_transition_timestamp_seconds", "kubevirt_vm_info")
MEMORY: Final = ("kubevirt_vmi_memory_available_bytes", "kubevirt_vmi_memory_usable_bytes")
MIGRATION: Final = ("kubevirt_vmi_migration_start_time_seconds", "kubevirt_vmi_migration_end_time_seconds")
TELLS_MIGRATIONS: Final = "kubevirt_vm_create_date_timestamp_seconds"
"""Came with the same release as `MIGRATION`, 1.5, and is of every VM: where there is this one and not those,
nothing has migrated."""
LAST_SESSION: Final = "kubevirt_vmi_last_api_connection_timestamp_seconds"
OPEN_SESSIONS: Final = "kubevirt_(vnc|console|usbredir)_active_connections|kubevirt_portforward_active_tunnels"
KEPLER: Final = (
    "kepler_pod_cpu_joules_total",
    "kepler_container_cpu_joules_total",
    "kepler_container_joules_total",
)
"""Three generations of Kepler, the one that is simplest to join first."""

_LOOKED_FOR: Final = (
    *(metric.name for metrics in SIGNALS.values() for metric in metrics),
    RUNNING,
    *OBSERVED,
    *MEMORY,
    *MIGRATION,
    TELLS_MIGRATIONS,
    LAST_SESSION,
    *KEPLER,
    "kube_pod_container_info",
)
EXPORTED: Final = ("exported_namespace", "exported_name", "exported_node")
_USUAL_SECONDS: Final = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What one Prometheus calls things.

    Attributes:
        metrics: the names it has.
        namespace, name, node: the labels that say which VM, and where it runs.
        interval: between two scrapes of virt-handler.
        rules: vmkit's recording rules are there, and reach back far enough.
    """

    metrics: frozenset[str] = field(default_factory=frozenset)
    namespace: str = "namespace"
    name: str = "name"
    node: str = "node"
    interval: timedelta = timedelta(seconds=30)
    rules: bool = False

    def find(self, signal: Signal) -> Metric | None:
        """What a signal is read from here."""
        return next((metric for metric in SIGNALS[signal] if metric.name in self.metrics), None)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of several names that there is."""
        return next((name for name in names if name in self.metrics), None)

    @property
    def by(self) -> str:
        """The labels that say which VM, as an aggregation lists them."""
        return f"{self.namespace}, {self.name}"

    def select(
        self, metric: str, refs: Collection[VmRef], *, matchers: str = "", name: str = "", regex: bool = False
    ) -> str:
        """A selector of the series of some VMs.

        Args:
            metric: its name, or a regular expression of names.
            refs: the VMs.
            matchers: more of them.
            name: the label with the VM's name, where it is another.
            regex: the metric is a regular expression.
        """
        parts = [f'__name__=~"{metric}"'] if regex else []
        parts += [matchers] if matchers else []
        parts.append(choose(self.namespace, {ref.namespace for ref in refs}))
        names = {ref.name for ref in refs}
        if len(names) <= LARGEST_CHOICE:
            parts.append(choose(name or self.name, names))
        return f"{'' if regex else metric}{{{', '.join(parts)}}}"


def choose(label: str, values: Collection[str]) -> str:
    """A matcher for a label that is one of several texts."""
    escaped = [_quote(value) for value in sorted(values)]
    if len(escaped) == 1 and "\\" not in escaped[0]:
        return f'{label}="{escaped[0]}"'
    return f'{label}=~"{"|".join(escaped)}"'


def _quote(text: str) -> str:
    # Names in Kubernetes are letters, digits, hyphens and points; anything else is kept from meaning something.
    return "".join(
        letter
        if (letter.isalnum() and letter.isascii()) or letter in "-_:/"
        else f"\\\\x{{{ord(letter):x}}}"
        if letter != "."
        else "\\\\."
        for letter in text
    )


def build_vocabulary_query() -> str:
    """Which metrics there are, and how many of their series carry renamed labels."""
    names = "|".join(sorted(set(_LOOKED_FOR)))
    parts = [f'label_replace(count by (__name__) ({{__name__=~"{names}"}}), "vmkit", "all", "", "")']
    parts += [
        f'label_replace(count by (__name__) ({{__name__=~"{names}", {label}!=""}}), "vmkit", "{label}", "", "")'
        for label in EXPORTED
    ]
    return " or ".join(parts)


def read_vocabulary(rows: Iterable[Series]) -> Vocabulary:
    """What the answer to `build_vocabulary_query` says."""
    counts: dict[str, dict[str, float]] = {}
    for row in rows:
        counts.setdefault(row.labels.get("vmkit", ""), {})[row.labels.get("__name__", "")] = row.value
    every = counts.get("all", {})

    def label(plain: str) -> str:
        # Most decide: some targets may be scraped one way and some the other.
        renamed = sum(counts.get(f"exported_{plain}", {}).values())
        at_stake = sum(count for name, count in every.items() if name.startswith("kubevirt_vm"))
        return f"exported_{plain}" if renamed * 2 > at_stake else plain

    return Vocabulary(frozenset(every), label("namespace"), label("name"), label("node"))


def read_interval(samples_an_hour: float) -> timedelta:
    """The scrape interval that leaves so many samples in an hour, as such intervals usually are."""
    if not samples_an_hour >= 2:
        return timedelta(seconds=60)
    seconds = 3600 / samples_an_hour
    return timedelta(seconds=min(_USUAL_SECONDS, key=lambda usual: max(usual / seconds, seconds / usual)))
