"""Kepler: which generation, whether it tells pods apart, and whether its meter is real.

Sources: kepler docs/user/metrics.md, manifests/helm/kepler/values.yaml (``kube.enabled`` is off by default),
internal/device/fake_cpu_power_meter.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkit.doctor.look import Look
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.errors import ClusterError, DeadlineExceeded
from vmkit.insight.energy.kepler import FAKE_PATH
from vmkit.metrics.prometheus.names import KEPLER

_NODES: Final = "kepler_node_cpu_joules_total"
_IDLE: Final = "kepler_node_cpu_idle_joules_total"

PODS = Kind("kepler.pods", Severity.OK, "Kepler measures pods, and so VMs.")
ABSENT = Kind(
    "kepler.absent",
    Severity.INFO,
    "Prometheus has no metrics of Kepler.",
    why="energy is computed from CPU time by a power model, and says so",
    mend="install Kepler with pod metrics: https://github.com/sustainable-computing-io/kepler",
)
PODS_OFF = Kind(
    "kepler.pods-off",
    Severity.WARNING,
    "Kepler's pod metrics are off.",
    why="a VM's energy can only be joined by the ID of its container, and is lost when the launcher is gone",
    mend="in Kepler's configuration: kube: {enabled: true}",
)
LEGACY = Kind(
    "kepler.legacy",
    Severity.INFO,
    "Kepler is older than 0.10.",
    why="its numbers for containers are known to be off; the rewrite attributes by CPU time",
    mend="update Kepler to 0.11 or later",
)
FAKE = Kind(
    "kepler.fake-meter",
    Severity.PROBLEM,
    "Kepler's meter is the one for development: its joules are made up.",
    why="reports of energy and of what was saved would be invented",
    mend="in Kepler's configuration: cpu: {preferredMeters: [rapl, hwmon]}; without such a meter, remove Kepler",
)
IMPOSSIBLE = Kind(
    "kepler.impossible",
    Severity.WARNING,
    "Counters of Kepler are negative or no numbers.",
    why="such hours are left out of reports: energy is known in part",
    mend="restart Kepler's pod on the node that is named, and see its log",
)


def run(look: Look) -> Iterator[Finding]:
    client = look.prometheus()
    if client is None:
        look.miss("Kepler is read through Prometheus, and there is none")
        return
    every = "|".join((*KEPLER, _NODES, _IDLE))
    try:
        named = client.query(f'group by (__name__) ({{__name__=~"{every}"}})')
        metrics = {series.labels.get("__name__", "") for series in named}
        paths = {series.labels.get("path", "") for series in client.query(f"group by (path) ({_IDLE})")}
        # Only what is no number differs from itself.
        doubts = (f"{name} < 0 or {name} != {name}" for name in every.split("|"))
        wrong = client.query(" or ".join(f"group by (__name__, node_name) ({doubt})" for doubt in doubts))
    except (ClusterError, DeadlineExceeded) as error:
        look.miss(f"Kepler's metrics could not be read: {error.message}")
        return
    pods, containers, legacy = KEPLER
    if not metrics:
        yield ABSENT.found(f"{client.server} has no metrics of Kepler")
    elif pods in metrics:
        yield PODS.found("Kepler measures pods")
    elif metrics == {legacy}:
        yield LEGACY.found(f"there is {legacy}, and nothing of Kepler 0.10 or later")
    else:
        also = f", and {containers} for containers" if containers in metrics else ""
        yield PODS_OFF.found(f"there is no {pods}{also}")
    for path in sorted(paths):
        if FAKE_PATH.search(path):
            yield FAKE.found(f"a meter reads from {path}")
    for series in wrong:
        name, node = series.labels.get("__name__", ""), series.labels.get("node_name", "")
        where = f" on node {node}" if node else ""
        yield IMPOSSIBLE.found(f"{name}{where} is negative or no number", target=f"Node {node}" if node else "")


CHECK = Check(
    "kepler",
    "Kepler's generation, its pod metrics, and whether its meter is real.",
    (PODS, ABSENT, PODS_OFF, LEGACY, FAKE, IMPOSSIBLE),
    run,
)
