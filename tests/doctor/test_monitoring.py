"""Prometheus and Kepler as real Prometheus servers show them: whole, half-filled, old, and lying."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.doctor.trouble import refused
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, Resource
from vmkit.cluster.retry import NEVER
from vmkit.doctor import Finding, Look, examine
from vmkit.doctor.look import Object, Sights
from vmkit.doctor.run import choose_checks
from vmkit.lab import Lab
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.names import KEPLER, MEMORY, RUNNING, SIGNALS
from vmkit.metrics.prometheus.queries import EVIDENCE_OF_RULES

pytestmark = pytest.mark.timeout(180)

_VM = 'namespace="shop",name="web"'
_RAPL = 'zone="package",path="/sys/class/powercap/intel-rapl/intel-rapl:0"'
_FAKE = 'node_name="n1",zone="package",path="/sys/fake/energy_package"'


def _history(families: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    """The same value over the last minutes and the next: what an instant query sees however slow the machine."""
    now = int(time.time())
    for name, (labels, value) in families.items():
        yield f"# TYPE {name} gauge\n"
        yield from (f"{name}{{{labels}}} {value} {at}\n" for at in range(now - 600, now + 3600, 60))
    yield "# EOF\n"


def _of_vms(names: Iterable[str], labels: str = _VM) -> dict[str, tuple[str, float]]:
    return dict.fromkeys(names, (labels, 1.0))


_WHOLE = {
    **_of_vms([RUNNING, *MEMORY, *(metrics[0].name for metrics in SIGNALS.values())]),
    KEPLER[0]: (f'pod_namespace="shop",pod_name="virt-launcher-web-x",{_RAPL}', 5.0),
    "kepler_node_cpu_idle_joules_total": (f'node_name="n1",{_RAPL}', 5.0),
}
_HALF = {
    **_of_vms([RUNNING], 'exported_namespace="shop",exported_name="web",namespace="kubevirt"'),
    **_of_vms(EVIDENCE_OF_RULES[:1]),
    KEPLER[1]: ('node_name="n1",container_id="c",zone="package"', -4.0),
    "kepler_node_cpu_idle_joules_total": (_FAKE, 5.0),
}
_OLD = {KEPLER[2]: ('mode="dynamic",pod_name="virt-launcher-web-x"', 5.0)}


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, PrometheusClient]]:
    require_prometheus()
    with ExitStack() as stack:
        yield {
            name: PrometheusClient(stack.enter_context(PrometheusServer(history)).url)
            for name, history in (
                ("whole", _history(_WHOLE)),
                ("half", _history(_HALF)),
                ("old", _history(_OLD)),
                ("empty", ("# EOF\n",)),
            )
        }


def _ids(findings: Iterable[Finding]) -> set[str]:
    return {one.kind.id for one in findings}


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        ("whole", {"prometheus.knows-vms", "prometheus.no-rules", "kepler.pods"}),
        (
            "half",
            {
                "prometheus.knows-vms",
                "prometheus.lacks-metric",
                "prometheus.renamed-labels",
                "kepler.pods-off",
                "kepler.fake-meter",
                "kepler.impossible",
            },
        ),
        ("old", {"prometheus.no-instances", "kepler.legacy"}),
        ("empty", {"prometheus.no-instances", "kepler.absent"}),
    ],
)
def test_what_a_prometheus_has_is_told(
    servers: Mapping[str, PrometheusClient], server: str, wanted: set[str]
) -> None:
    with Lab(seed=3, nodes=1) as lab, Session.connect(kubeconfig=lab.kubeconfig) as session:
        found = examine(session, servers[server], checks=["prometheus", "kepler"]).findings
    assert _ids(found) == wanted


class _Running(Sights):
    """A cluster in which a VM runs."""

    def list(self, resource: Resource) -> list[Object]:
        return [{"metadata": {"name": "web"}}] if resource is VIRTUAL_MACHINE_INSTANCES else []


def test_running_vms_that_nobody_scrapes_are_a_problem(
    servers: Mapping[str, PrometheusClient], session: Session
) -> None:
    (check,) = choose_checks(["prometheus"])
    found = list(check.run(Look(_Running(session, servers["empty"]))))
    assert _ids(found) == {"prometheus.no-vms"}
    assert "monitorNamespace" in found[0].mend


def test_a_prometheus_that_does_not_answer_is_a_problem(session: Session) -> None:
    away = PrometheusClient("http://127.0.0.1:9", retry=NEVER)
    found = examine(session, away, checks=["prometheus", "kepler"]).findings
    assert _ids(found) == {"prometheus.silent", "kepler.unknown"}


def test_a_cluster_without_prometheus_is_told_so() -> None:
    with Lab(seed=3, nodes=1) as lab, Session.connect(kubeconfig=lab.kubeconfig) as session:
        found = examine(session, checks=["prometheus", "kepler"]).findings
        assert _ids(found) == {"prometheus.absent", "kepler.unknown"}
        with refused("services", status=403)(lab, session):
            found = examine(session, checks=["prometheus"]).findings
        assert _ids(found) == {"prometheus.unknown"}
