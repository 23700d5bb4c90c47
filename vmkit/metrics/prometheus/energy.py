"""What VMs' work took: Kepler's joules joined to VMs, or a power model that is named as one.

A KubeVirt guest is never in ``kepler_vm_*``: its process sits in the launcher's cgroup and counts as a pod. So the
launcher's joules are taken, pod by pod, and joined to the VM by the pod's name in ``kubevirt_vmi_info``: a reboot
is a new pod, a live migration two at a time. Only the zone "package" counts: zones overlap. What is asked for is
active energy; idle power stays on the node.

Source: Kepler docs/user/metrics.md and docs/developer/power-attribution-guide.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from vmkit.metrics.prometheus.names import KEPLER, RUNNING, Vocabulary, choose
from vmkit.metrics.prometheus.queries import POD_RULE, STEP, Query, seconds, tag
from vmkit.metrics.summary import Energy, EnergySource, Signal, Unknown, Usage
from vmkit.vm.reference import VmRef

CONTAINERS: Final = "kube_pod_container_info"
"""Of kube-state-metrics: which container is in which pod."""

MODEL_WATTS_PER_CORE: Final = 3.5 - 0.74
"""What a busy virtual CPU takes above an idle one, in watts. Source: Cloud Carbon Footprint,
AwsFootprintEstimationConstants (0.74 W idle, 3.5 W at full load; March 2024)."""

_JOULES_PER_KWH: Final = 3.6e6
_SOURCES: Final[Mapping[str, EnergySource]] = {
    KEPLER[0]: EnergySource.KEPLER_PODS,
    KEPLER[1]: EnergySource.KEPLER_CONTAINERS,
    KEPLER[2]: EnergySource.KEPLER_LEGACY,
}


def find_generation(vocabulary: Vocabulary) -> EnergySource:
    """Which generation of Kepler can be joined to VMs here; `EnergySource.MODEL` for none."""
    if RUNNING not in vocabulary.metrics:
        return EnergySource.MODEL
    for metric, source in _SOURCES.items():
        joinable = source is not EnergySource.KEPLER_CONTAINERS or CONTAINERS in vocabulary.metrics
        if metric in vocabulary.metrics and joinable:
            return source
    return EnergySource.MODEL


def build_energy_query(vocabulary: Vocabulary, refs: Collection[VmRef], *, lookback: timedelta) -> Query | None:
    """Joules of Kepler ("joules") and the steps for which it has any ("steps"); without Kepler the seconds of CPU
    time ("busy"). None where there is neither."""
    source = find_generation(vocabulary)
    span = seconds(lookback)
    if source is EnergySource.MODEL:
        cpu = vocabulary.find(Signal.CPU)
        if cpu is None:
            return None
        selector = vocabulary.select(cpu.name, refs, matchers=cpu.matchers)
        return Query(tag(f"sum by ({vocabulary.by}) (increase({selector}[{span}]))", "busy"), vocabulary.name)
    namespaces = {ref.namespace for ref in refs}
    pods = _choose_pods(vocabulary, refs, lookback)
    parts = []
    for name, read in (("joules", "increase"), ("steps", "count_over_time")):
        by_pod = _by_pod(vocabulary, source, namespaces, read=read, lookback=lookback)
        joined = f"({by_pod} * on ({vocabulary.namespace}, vmi_pod) group_left ({vocabulary.name}) {pods})"
        parts.append(tag(f"sum by ({vocabulary.by}) {joined}", name))
    return Query(" or ".join(parts), vocabulary.name)


def _choose_pods(vocabulary: Vocabulary, refs: Collection[VmRef], lookback: timedelta) -> str:
    """1 for each pod that was a VM's."""
    if vocabulary.rules:
        steps = f"{vocabulary.select(POD_RULE, refs)}[{seconds(lookback)}]"
    else:
        steps = f"{vocabulary.select(RUNNING, refs)}[{seconds(lookback)}:{seconds(STEP)}]"
    return f"group by ({vocabulary.by}, vmi_pod) (max_over_time({steps}))"


def _by_pod(
    vocabulary: Vocabulary, source: EnergySource, namespaces: Collection[str], *, read: str, lookback: timedelta
) -> str:
    """What was read of each pod, with the labels of `_choose_pods`."""
    span, step = seconds(lookback), seconds(STEP)

    def taken(selector: str, by: str) -> str:
        if read == "increase":
            return f"sum by ({by}) (increase({selector}[{span}]))"
        return f"count_over_time((max by ({by}) ({selector}))[{span}:{step}])"

    if source is EnergySource.KEPLER_CONTAINERS:
        energy = taken(f'{KEPLER[1]}{{zone="package"}}', "container_id")
        known = f'{CONTAINERS}{{container="compute", {choose("namespace", namespaces)}}}'
        # Kubernetes writes "containerd://ID", Kepler the ID.
        seen = f"max_over_time({known}[{span}:{step}])"
        plain = f'label_replace({seen}, "container_id", "$1", "container_id", ".*://(.+)")'
        whose = f"group by (container_id, namespace, pod) ({plain})"
        vector, namespace, pod = (
            f"{energy} * on (container_id) group_left (namespace, pod) {whose}",
            "namespace",
            "pod",
        )
    elif source is EnergySource.KEPLER_PODS:
        chosen = choose("pod_namespace", namespaces)
        selector = f'{KEPLER[0]}{{zone="package", pod_name=~"virt-launcher-.+", {chosen}}}'
        vector, namespace, pod = taken(selector, "pod_namespace, pod_name"), "pod_namespace", "pod_name"
    else:
        chosen = choose("container_namespace", namespaces)
        selector = f'{KEPLER[2]}{{container_name="compute", mode="dynamic", {chosen}}}'
        vector, namespace, pod = (
            taken(selector, "container_namespace, pod_name"),
            "container_namespace",
            "pod_name",
        )
    named = f'label_replace({vector}, "vmi_pod", "$1", "{pod}", "(.+)")'
    placed = f'label_replace({named}, "{vocabulary.namespace}", "$1", "{namespace}", "(.+)")'
    return f"sum by ({vocabulary.namespace}, vmi_pod) ({placed})"


def read_energy(
    vocabulary: Vocabulary,
    found: Mapping[str, float] | Unknown,
    *,
    running: timedelta | Unknown,
    cpu: Usage | Unknown,
) -> Energy | Unknown:
    """What the answer to `build_energy_query` says of one VM.

    Args:
        vocabulary: what the Prometheus has.
        found: the answer's numbers.
        running: for how long the VM ran.
        cpu: what is known of its CPU, whose coverage is that of the model.
    """
    if isinstance(found, Unknown):
        return found
    source = find_generation(vocabulary)
    if source is EnergySource.MODEL:
        busy = found.get("busy")
        if busy is None:
            return Unknown("NoSeries", "Prometheus has neither Kepler's measurements nor its CPU time")
        joules, coverage = busy * MODEL_WATTS_PER_CORE, cpu.coverage if isinstance(cpu, Usage) else 1.0
    else:
        joules = found.get("joules", math.nan)
        if "joules" not in found:
            return Unknown("NoSeries", "Kepler has measured none of its pods")
        if isinstance(running, Unknown) or not running:
            return Unknown("NoSeries", "nobody can tell for how long it ran, and so how much Kepler saw of it")
        coverage = min(1.0, found.get("steps", 0.0) * STEP / running)
    if not math.isfinite(joules) or joules < 0:
        return Unknown("BadNumber", f"{joules:g} J is no energy")
    return Energy(joules / _JOULES_PER_KWH, source, min(1.0, max(0.0, coverage)))
