"""All series of a lab as OpenMetrics text: now, or over a range for a monitoring system to load.

Format: OpenMetrics 1.0 (families together, one series after another, samples of a series in order of time, ``#
EOF``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from vmkit.lab.metrics.energy import NODE_FAMILIES, Generation, NodePower, node_variants, workload_variants
from vmkit.lab.metrics.energy import families as energy_families
from vmkit.lab.metrics.instances import INSTANCE_FAMILIES, RULES
from vmkit.lab.metrics.inventory import INVENTORY_FAMILIES
from vmkit.lab.metrics.model import Family, Guest, Read, Run, RunSeries, Variant, render_labels
from vmkit.lab.metrics.sessions import SESSION_FAMILIES

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

DECISIVE = (
    "kubevirt_vmi_cpu_usage_seconds_total",
    "kubevirt_vmi_vcpu_delay_seconds_total",
    "kubevirt_vmi_memory_available_bytes",
    "kubevirt_vmi_memory_usable_bytes",
    "kubevirt_vmi_network_receive_bytes_total",
    "kubevirt_vmi_network_transmit_bytes_total",
    "kubevirt_vmi_storage_read_traffic_bytes_total",
    "kubevirt_vmi_storage_write_traffic_bytes_total",
    "kubevirt_vmi_guest_load_5m",
    "kubevirt_vmi_last_api_connection_timestamp_seconds",
    "kubevirt_vnc_active_connections",
    "kubevirt_console_active_connections",
    "kubevirt_portforward_active_tunnels",
    "kubevirt_vmi_info",
    "kubevirt_vm_info",
    "kubevirt_vm_resource_requests",
    "kubevirt_vm_running_status_last_transition_timestamp_seconds",
    "kube_pod_container_resource_requests",
    "kepler_pod_cpu_joules_total",
    "kepler_container_cpu_joules_total",
    "kepler_container_joules_total",
    "kepler_node_cpu_active_joules_total",
    "kepler_node_cpu_idle_joules_total",
)
"""The metrics that decisions about VMs are made from: idle or busy, too large or too small, and at what energy."""

_LINES_A_PIECE = 10_000
_Span = tuple[float, float | None]
"""The time in which a series exists: from, until (None: still)."""


class Exposition:
    """The series of some guests and nodes.

    Args:
        seed: the lab's.
        guests: the VMs, with their runs.
        nodes: the machines.
        kepler: which generation of Kepler is installed.
        loads: whether guests report their load (KubeVirt 1.7 and later).
    """

    def __init__(
        self,
        seed: int,
        guests: Sequence[Guest],
        nodes: Sequence[NodePower],
        *,
        kepler: Generation = "pods",
        loads: bool = True,
    ) -> None:
        self._seed, self._guests, self._nodes, self._kepler, self._loads = seed, guests, nodes, kepler, loads
        self._span = (0.0, 0.0)
        self._runs: list[RunSeries] | None = None
        self._node_runs: dict[tuple[str, float], RunSeries] = {}

    def families(self) -> list[Family]:
        """Every family there is, in the order they are written."""
        return [family for family, _ in self._sources()]

    def render(self, times: Sequence[float], *, only: Collection[str] = (), stamped: bool = True) -> Iterator[str]:
        """The text, in pieces of many lines each.

        Args:
            times: the instants to sample at (Unix seconds), ascending.
            only: names of families to write; empty for all.
            stamped: write the time of each sample; a scrape of the present needs none.
        """
        self._span = (times[0], times[-1]) if times else (0.0, -1.0)
        self._runs = None
        for family, source in self._sources():
            if only and family.name not in only:
                continue
            # A counter's family is named without its suffix; its samples carry it.
            name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
            lines = [f"# TYPE {name} {family.kind}\n# HELP {name} {family.help}\n"]
            empty = True
            for variant, (start, end) in source():
                _append_series(lines, family.name, variant, _within(times, start, end), stamped=stamped)
                if len(lines) > _LINES_A_PIECE:
                    yield "".join(lines)
                    lines, empty = [], False
            if len(lines) > 1 or not empty:
                yield "".join(lines)
        yield "# EOF\n"

    # --- where the series come from ---------------------------------------------------------------

    def _sources(self) -> list[tuple[Family, Callable[[], Iterable[tuple[Variant, _Span]]]]]:
        found: list[tuple[Family, Callable[[], Iterable[tuple[Variant, _Span]]]]] = []
        for family, build in {**INSTANCE_FAMILIES, **RULES}.items():
            if "guest_load" in family.name and not self._loads:
                continue
            found.append((family, lambda build=build: self._of_runs(build)))  # type: ignore[misc]
        for session_family, build_session in SESSION_FAMILIES.items():
            found.append((session_family, lambda build=build_session: self._of_sessions(build)))  # type: ignore[misc]
        for vm_family, build_vm in INVENTORY_FAMILIES.items():
            found.append((vm_family, lambda build=build_vm: self._of_guests(build)))  # type: ignore[misc]
        found.append(
            (
                Family("namespace:kubevirt_vm:sum", "gauge", "The number of VMs in the cluster by namespace."),
                self._counts,
            )
        )
        for energy_family, watts in energy_families(self._kepler):
            found.append((energy_family, lambda watts=watts: self._of_energy(watts)))  # type: ignore[misc]
        if self._kepler in ("pods", "containers"):
            for what, node_family in NODE_FAMILIES.items():
                found.append((node_family, lambda what=what: self._of_nodes(what)))  # type: ignore[misc]
        return found

    def _series(self) -> list[RunSeries]:
        """The runs that reach into the time asked for; kept, because every family reads them."""
        if self._runs is None:
            first, last = self._span
            self._runs = [
                RunSeries(self._seed, guest, run)
                for guest in self._guests
                for run in guest.runs
                if run.start <= last and (run.end is None or run.end > first)
            ]
        return self._runs

    def _of_runs(self, build: Callable[[RunSeries], Iterator[Variant]]) -> Iterator[tuple[Variant, _Span]]:
        for series in self._series():
            for variant in build(series):
                yield variant, (series.run.start, series.run.end)

    def _of_sessions(self, build: Callable[[int, Guest], Iterator[Variant]]) -> Iterator[tuple[Variant, _Span]]:
        for guest in self._guests:
            for variant in build(self._seed, guest):
                yield variant, (guest.created, None)

    def _of_guests(self, build: Callable[[Guest], Iterator[Variant]]) -> Iterator[tuple[Variant, _Span]]:
        for guest in self._guests:
            for variant in build(guest):
                yield variant, (0.0, None)

    def _of_energy(self, watts: bool) -> Iterator[tuple[Variant, _Span]]:
        for series in self._series():
            for variant in workload_variants(series, generation=self._kepler, watts=watts):
                yield variant, (series.run.start, series.run.end)

    def _of_nodes(self, what: str) -> Iterator[tuple[Variant, _Span]]:
        by_node: dict[str, list[RunSeries]] = {node.name: [] for node in self._nodes}
        # What a node has used counts from its first guest on, so earlier runs belong to it as well.
        for guest in self._guests:
            for run in guest.runs:
                if run.node in by_node and run.start <= self._span[1]:
                    by_node[run.node].append(self._known_series(guest, run))
        for node in self._nodes:
            for variant in node_variants(node, by_node[node.name], what):
                yield variant, (node.since, None)

    def _known_series(self, guest: Guest, run: Run) -> RunSeries:
        key = (guest.key, run.start)
        found = self._node_runs.get(key)
        if found is None:
            found = self._node_runs[key] = RunSeries(self._seed, guest, run)
        return found

    def _counts(self) -> Iterator[tuple[Variant, _Span]]:
        created: dict[str, list[float]] = {}
        for guest in self._guests:
            created.setdefault(guest.namespace, []).append(guest.created)
        for namespace, times in created.items():
            yield (render_labels({"namespace": namespace}), _count_before(sorted(times))), (times[0], None)


def _count_before(times: list[float]) -> Read:
    from bisect import bisect_right

    return lambda at: float(bisect_right(times, at)) or None


def _within(times: Sequence[float], start: float, end: float | None) -> Sequence[float]:
    from bisect import bisect_left

    return times[bisect_left(times, start) : len(times) if end is None else bisect_left(times, end)]


def _append_series(
    lines: list[str], name: str, variant: Variant, times: Sequence[float], *, stamped: bool
) -> None:
    labels, read = variant
    head = f"{name}{{{labels}}} " if labels else f"{name} "
    for at in times:
        value = read(at)
        if value is not None:
            lines.append(
                f"{head}{format_value(value)} {_format_time(at)}\n"
                if stamped
                else f"{head}{format_value(value)}\n"
            )


def format_value(value: float) -> str:
    """A sample's value: whole numbers without a point, others in the shortest form that reads back the same."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(round(value, 6))


def _format_time(at: float) -> str:
    return str(int(at)) if at == int(at) else f"{at:.3f}"


def sample_times(start: float, end: float, step: float) -> list[float]:
    """The instants from ``start`` to ``end``, each ``step`` seconds after the last, on whole multiples of the
    step."""
    first = -(-start // step) * step
    return [first + index * step for index in range(int((end - first) // step) + 1)] if end >= first else []
