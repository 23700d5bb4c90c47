"""Kepler's counters, in three generations, joined to VMs.

A KubeVirt guest is a process in its launcher's cgroup: Kepler counts it as a pod and a container, and never in
``kepler_vm_*`` (kepler internal/resource/informer.go: a container is recognised first). Zones overlap (core lies
in package, package in psys), so exactly one is read and none are added up. Each boot and each side of a live
migration is a pod of its own: rises are taken pod by pod, hour by hour, and then added.

Sources: kepler docs/user/metrics.md (0.10 and later); docs of 0.7 to 0.9 for the older names.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.errors import QueryTooLarge
from vmkit.insight.series import Grid, clean
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.reply import Answer
from vmkit.metrics.summary import EnergySource
from vmkit.vm.reference import VmRef

HOUR: Final = timedelta(hours=1)
DEFAULT_ZONE: Final = "package"
_PREFIX: Final = "virt-launcher-"
FAKE_PATH: Final = re.compile(r"/energy_[a-z]+$")
"""Where Kepler's meter for development says it reads from (kepler internal/device/fake_cpu_power_meter.go)."""
_MOST_WATTS: Final = 20_000.0
"""No server takes more: an hour's rise beyond is the counter's mistake."""


@dataclass(slots=True)
class VmJoules:
    """One VM's energy.

    Attributes:
        active: joules of its work, hour by hour; NaN where nobody measured.
        node_hours: for each node, how many hours it ran there.
    """

    active: array[float]
    node_hours: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeplerReading:
    """What Kepler says.

    Attributes:
        source: which of its generations; None where there is no Kepler.
        zone: which part of the machine.
        vms: each VM that was found.
        idle_watts: each node's idle power, on average.
        fake: whether its meter is the one for development.
        problems: what is not known and why, in sentences.
    """

    source: EnergySource | None
    zone: str
    vms: Mapping[VmRef, VmJoules] = field(default_factory=dict)
    idle_watts: Mapping[str, float] = field(default_factory=dict)
    fake: bool = False
    problems: tuple[str, ...] = ()


def build_hours(grid: Grid) -> Grid:
    """The same time in whole hours: a sample at an instant is of the hour before it."""
    count = max(int((grid.count * grid.step_seconds) // 3600), 1)
    end = grid.end_seconds // 3600 * 3600
    return Grid(end - (count - 1) * 3600, 3600.0, count)


def read_kepler(
    client: PrometheusClient,
    refs: Collection[VmRef],
    pods: Iterable[Mapping[str, Any]],
    hours: Grid,
    *,
    zone: str = DEFAULT_ZONE,
) -> KeplerReading:
    """Reads the first generation that is there.

    Args:
        client: with the cluster's Prometheus.
        refs: the VMs.
        pods: the launchers of now, for joining containers that have no other name.
        hours: whole hours (`build_hours`).
        zone: which part of the machine.

    Raises:
        ClusterError, DeadlineExceeded: Prometheus cannot be asked.
    """
    reader = _Reader(client, frozenset(refs), hours, zone)
    ran = reader.ask("max by (namespace, name, vmi_pod) (last_over_time(kubevirt_vmi_info[1h]))")
    reader.learn_pods(ran, pods)
    nodes, fake = reader.read_nodes()
    select = f'zone="{_quoted(zone)}",'
    for source, promql in (
        (
            EnergySource.KEPLER_PODS,
            "sum by (pod_namespace, pod_name, node_name) (increase("
            f'kepler_pod_cpu_joules_total{{{select}pod_name=~"{_PREFIX}.*"}}[1h]))',
        ),
        (
            EnergySource.KEPLER_CONTAINERS,
            "sum by (container_id, pod_id, container_name, node_name) (increase("
            f"kepler_container_cpu_joules_total{{{select[:-1]}}}[1h]))",
        ),
        (
            EnergySource.KEPLER_LEGACY,
            "sum by (container_namespace, pod_name, instance) (increase("
            f'kepler_container_joules_total{{mode="dynamic",pod_name=~"{_PREFIX}.*"}}[1h]))',
        ),
    ):
        answer = reader.ask(promql)
        if answer.series:
            joined = reader.join(answer)
            return KeplerReading(source, zone, joined, nodes, fake, tuple(reader.problems))
    return KeplerReading(None, zone, idle_watts=nodes, fake=fake, problems=tuple(reader.problems))


class _Reader:
    def __init__(self, client: PrometheusClient, refs: frozenset[VmRef], hours: Grid, zone: str) -> None:
        self._client, self._refs, self._hours, self._zone = client, refs, hours, zone
        self._by_pod: dict[tuple[str, str], VmRef] = {}
        self._by_container: dict[str, VmRef] = {}
        self._by_uid: dict[str, VmRef] = {}
        self.problems: list[str] = []

    def ask(self, promql: str) -> Answer:
        """The answer over the hours; a question that is too large is asked in halves of the time.

        Raises:
            ClusterError, DeadlineExceeded: Prometheus cannot be asked.
        """
        answer = self._ask(promql, self._hours.start, self._hours.end)
        self.problems += [f"Prometheus: {warning}" for warning in dict.fromkeys(answer.warnings)]
        return answer

    def _ask(self, promql: str, start: datetime, end: datetime) -> Answer:
        try:
            return self._client.query_range(promql, start, end, HOUR)
        except QueryTooLarge:
            hours = (end - start) // HOUR
            if hours < 1:
                raise
            middle = start + hours // 2 * HOUR
            first, second = self._ask(promql, start, middle), self._ask(promql, middle + HOUR, end)
            # The same series stands in both, with other hours: whoever reads them goes by their times.
            return Answer((*first.series, *second.series), (*first.warnings, *second.warnings))

    def learn_pods(self, ran: Answer, pods: Iterable[Mapping[str, Any]]) -> None:
        """Which pods and containers are whose: by what monitoring saw, and by the launchers of now."""
        for series in ran:
            labels = series.labels
            ref = VmRef(
                labels.get("exported_namespace") or labels.get("namespace", ""),
                labels.get("exported_name") or labels.get("name", ""),
            )
            self._by_pod[ref.namespace, labels.get("vmi_pod", "")] = ref
        for pod in pods:
            metadata, status = _mapping(pod, "metadata"), _mapping(pod, "status")
            name = _mapping(metadata, "labels").get("vm.kubevirt.io/name")
            if not isinstance(name, str):
                continue
            ref = VmRef(str(metadata.get("namespace") or ""), name)
            self._by_pod[ref.namespace, str(metadata.get("name") or "")] = ref
            self._by_uid[str(metadata.get("uid") or "")] = ref
            for container in status.get("containerStatuses") or ():
                if isinstance(container, dict) and container.get("name") == "compute":
                    self._by_container[str(container.get("containerID") or "").rpartition("//")[2]] = ref
        self._by_uid.pop("", None)
        self._by_container.pop("", None)

    def read_nodes(self) -> tuple[dict[str, float], bool]:
        """Each node's idle power, and whether the meter is a fake."""
        answer = self.ask(
            "sum by (node_name, path) (increase(kepler_node_cpu_idle_joules_total"
            f'{{zone="{_quoted(self._zone)}"}}[1h]))'
        )
        sockets: dict[tuple[str, str], list[float]] = {}
        for series in answer:
            socket = series.labels.get("node_name", ""), series.labels.get("path", "")
            sockets.setdefault(socket, []).extend(self._amounts(series.values))
        watts: dict[str, float] = {}
        for (name, _), known in sockets.items():
            if known:
                # A server of several sockets has a path for each: they add up.
                watts[name] = watts.get(name, 0.0) + sum(known) / len(known) / 3600
        return watts, any(FAKE_PATH.search(path) for _, path in sockets)

    def join(self, answer: Answer) -> dict[VmRef, VmJoules]:
        """The joules of each VM: all its pods together, hour by hour."""
        found: dict[VmRef, VmJoules] = {}
        lost = 0
        for series in answer:
            ref = self._whose(series.labels)
            if ref is None:
                continue
            vm = found.setdefault(ref, VmJoules(self._hours.fill()))
            node = series.labels.get("node_name") or series.labels.get("instance", "")
            for at, joules in zip(series.times, series.values, strict=True):
                index = round((at - self._hours.start_seconds) / self._hours.step_seconds)
                if not 0 <= index < self._hours.count:
                    continue
                if not 0.0 <= joules <= _MOST_WATTS * 3600:
                    lost += 1
                    continue
                before = vm.active[index]
                vm.active[index] = joules if before != before else before + joules  # noqa: PLR0124 - NaN
                vm.node_hours[node] = vm.node_hours.get(node, 0) + 1
        if lost:
            self.problems.append(
                f"{lost} hours of energy are negative, no numbers or impossible, and do not count"
            )
        return found

    def _amounts(self, values: array[float]) -> list[float]:
        return [value for value in clean(values) if value <= _MOST_WATTS * 3600]

    def _whose(self, labels: Mapping[str, str]) -> VmRef | None:
        container = labels.get("container_id", "")
        ref = self._by_container.get(container) or self._by_uid.get(labels.get("pod_id", ""))
        if (
            ref is not None
            and labels.get("container_name", "compute") != "compute"
            and container not in self._by_container
        ):
            return None  # a sidecar of the launcher
        if ref is None:
            namespace = labels.get("pod_namespace") or labels.get("container_namespace", "")
            pod = labels.get("pod_name", "")
            ref = self._by_pod.get((namespace, pod)) or self._by_name(namespace, pod)
        return ref if ref in self._refs else None

    def _by_name(self, namespace: str, pod: str) -> VmRef | None:
        # "virt-launcher-<VM>-<five letters>": KubeVirt's generateName.
        stem, dash, _ = pod.removeprefix(_PREFIX).rpartition("-")
        return VmRef(namespace, stem) if dash and pod.startswith(_PREFIX) else None


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}
