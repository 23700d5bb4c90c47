# ruff: noqa: E501 - one metric a line reads best
"""Energy as Kepler reports it, in the generations met in the field.

Source: Kepler docs/user/metrics.md and docs/developer/power-attribution-guide.md: a workload gets its share of
the node's active power by CPU time; idle power stays on the node. A KubeVirt guest is never in ``kepler_vm_*``:
its process sits in the launcher's cgroup and counts as a container and a pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Literal

from vmkit.lab.metrics.model import Family, Run, RunSeries, Variant, render_labels

Generation = Literal["pods", "containers", "legacy", "none"]
"""pods: 0.10 and later with Kubernetes metadata; containers: without it; legacy: 0.9 and earlier; none: no
Kepler."""

WATTS_PER_CPU = 3.4
"""Active package power of one busy hardware thread; a two-socket server of 64 threads then takes about 220 W
more at full load."""

IDLE_WATTS_PER_CORE = 0.9
_DRAM_SHARE = 0.09
ZONES: Mapping[str, float] = {"package": 1.0, "dram": _DRAM_SHARE}
_PATHS = {
    "package": "/sys/class/powercap/intel-rapl/intel-rapl:0",
    "dram": "/sys/class/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0",
}


@dataclass(frozen=True)
class NodePower:
    """A machine whose power is measured: its name, its cores, since when (Unix seconds)."""

    name: str
    cores: int
    since: float


def active_joules(series: RunSeries, at: float) -> float:
    """Active energy of the package that a run has used."""
    return series.cpu_seconds(at) * WATTS_PER_CPU


def container_id(run: Run) -> str:
    """The id of a launcher's compute container, as its pod's status has it."""
    return blake2b(run.pod_uid.encode(), digest_size=32).hexdigest()


def _rate(series: RunSeries, at: float) -> float:
    return (series.cpu.intensity(at) * series.guest.vcpus + 0.002) * WATTS_PER_CPU


def _scaled(share: float, read: partial[float], at: float) -> float:
    return read(at) * share


def workload_variants(series: RunSeries, *, generation: Generation, watts: bool) -> Iterator[Variant]:
    """The series of one run in one generation of Kepler."""
    guest, run = series.guest, series.run
    read = partial(_rate if watts else active_joules, series)
    for zone, share in ZONES.items():
        if generation == "pods":
            labels = {
                "node_name": run.node, "pod_id": run.pod_uid, "pod_name": run.pod, "pod_namespace": guest.namespace,
                "state": "running", "zone": zone,
            }  # fmt: skip
        elif generation == "containers":
            labels = {
                "node_name": run.node, "container_id": container_id(run), "container_name": guest.name,
                "runtime": "containerd", "state": "running", "zone": zone, "pod_id": "",
            }  # fmt: skip
        else:
            continue
        yield render_labels(labels), partial(_scaled, share, read)
    if generation == "legacy" and not watts:
        for mode, factor in (("dynamic", 1.0), ("idle", 0.0)):
            labels = {
                "container_id": container_id(run), "container_name": "compute", "container_namespace": guest.namespace,
                "mode": mode, "pod_name": run.pod, "source": "rapl",
            }  # fmt: skip
            yield render_labels(labels), partial(_scaled, factor, read)


def families(generation: Generation) -> tuple[tuple[Family, bool], ...]:
    """The workload families of a generation, each with whether it is in watts."""
    if generation == "pods":
        return (
            (
                Family(
                    "kepler_pod_cpu_joules_total", "counter", "Energy consumption of cpu at pod level in joules"
                ),
                False,
            ),
            (Family("kepler_pod_cpu_watts", "gauge", "Power consumption of cpu at pod level in watts"), True),
        )
    if generation == "containers":
        return (
            (
                Family(
                    "kepler_container_cpu_joules_total",
                    "counter",
                    "Energy consumption of cpu at container level in joules",
                ),
                False,
            ),
            (
                Family(
                    "kepler_container_cpu_watts", "gauge", "Power consumption of cpu at container level in watts"
                ),
                True,
            ),
        )
    if generation == "legacy":
        return (
            (
                Family(
                    "kepler_container_joules_total", "counter", "Aggregated RAPL value in joules of a container"
                ),
                False,
            ),
        )
    return ()


NODE_FAMILIES: Mapping[str, Family] = {
    "active_joules": Family("kepler_node_cpu_active_joules_total", "counter", "Energy consumption of cpu in active state at node level in joules"),
    "idle_joules": Family("kepler_node_cpu_idle_joules_total", "counter", "Energy consumption of cpu in idle state at node level in joules"),
    "joules": Family("kepler_node_cpu_joules_total", "counter", "Energy consumption of cpu at node level in joules"),
    "active_watts": Family("kepler_node_cpu_active_watts", "gauge", "Power consumption of cpu in active state at node level in watts"),
    "idle_watts": Family("kepler_node_cpu_idle_watts", "gauge", "Power consumption of cpu in idle state at node level in watts"),
    "watts": Family("kepler_node_cpu_watts", "gauge", "Power consumption of cpu at node level in watts"),
    "ratio": Family("kepler_node_cpu_usage_ratio", "gauge", "CPU usage ratio of a node (value between 0.0 and 1.0)"),
}  # fmt: skip


def node_variants(node: NodePower, runs: Sequence[RunSeries], what: str) -> Iterator[Variant]:
    """A machine's series of one kind: the sum of what ran on it, and its idle power."""
    if what == "ratio":
        yield render_labels({"node_name": node.name}), partial(_usage_ratio, node, runs)
        return
    for zone, share in ZONES.items():
        labels = render_labels({"node_name": node.name, "zone": zone, "path": _PATHS[zone]})
        yield labels, partial(_node_value, node, runs, what, share)


def _node_value(node: NodePower, runs: Sequence[RunSeries], what: str, share: float, at: float) -> float | None:
    if at < node.since:
        return None
    watts = what.endswith("watts")
    idle = node.cores * IDLE_WATTS_PER_CORE * (1.0 if watts else at - node.since)
    if what.startswith("idle"):
        return idle * share
    active = _active_watts(runs, at) if watts else _active_joules(runs, at)
    return (active if what.startswith("active") else active + idle) * share


def _active_joules(runs: Sequence[RunSeries], at: float) -> float:
    total = 0.0
    for series in runs:
        if series.run.start <= at:
            total += active_joules(series, at if series.run.end is None else min(at, series.run.end))
    return total


def _active_watts(runs: Sequence[RunSeries], at: float) -> float:
    return sum(_rate(series, at) for series in runs if series.run.covers(at))


def _usage_ratio(node: NodePower, runs: Sequence[RunSeries], at: float) -> float | None:
    return None if at < node.since else min(1.0, _active_watts(runs, at) / (WATTS_PER_CPU * node.cores))
