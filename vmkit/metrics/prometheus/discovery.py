"""Finds the Prometheus of a cluster: what the Prometheus operator runs, or a Service of a usual name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmkit.cluster.resources import SERVICES, Resource
from vmkit.cluster.retry import NEVER, RetryPolicy
from vmkit.errors import ClusterError, VmkitError
from vmkit.metrics.prometheus.client import PATIENCE, PrometheusClient
from vmkit.metrics.prometheus.door import ServiceDoor

if TYPE_CHECKING:
    from vmkit.cluster.session import Session

PROMETHEUSES: Final = Resource("monitoring.coreos.com", "v1", "prometheuses", "Prometheus")
_PROBE_SECONDS: Final = 10.0
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_NAMES: Final = (
    ("thanos-querier", ("web", "http"), 50),
    ("thanos-query", ("http", "web"), 45),
    ("thanos-query-frontend", ("http", "web"), 44),
    ("prometheus-k8s", ("web",), 40),
    ("prometheus-operated", ("web", "http-web"), 30),
    ("kube-prometheus-stack-prometheus", ("http-web", "web"), 30),
    ("prometheus-server", ("http", "web"), 20),
    ("prometheus", ("web", "http", "http-web"), 10),
)
"""Names of Services, or how they end, the names of their ports, and what is preferred (more is better): a querier
sees all the Prometheuses behind it. From OpenShift monitoring, kube-prometheus and the Helm charts of the
Prometheus community."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Service that answers like Prometheus, most likely.

    Attributes:
        namespace, service: its name.
        port: of the Service: its name, or else its number.
        number: the number.
        scheme: "https" where it speaks that.
        rank: how likely; more is better.
    """

    namespace: str
    service: str
    port: str
    number: int
    scheme: str
    rank: int

    @property
    def url(self) -> str:
        """As pods reach it."""
        return f"{self.scheme}://{self.service}.{self.namespace}.svc:{self.number}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}"


def find_endpoints(session: Session) -> list[Endpoint]:
    """The Services of the cluster that look like a Prometheus, the likeliest first.

    Raises:
        ClusterError: Services cannot be listed.
    """
    operated = _operated(session)
    found = [each for service in session.list(SERVICES) for each in _read_service(service, operated)]
    return sorted(found, key=lambda each: (-each.rank, each.namespace, each.service))


def discover_prometheus(session: Session, *, timeout_seconds: float = 120.0) -> PrometheusClient | None:
    """A client of the cluster's Prometheus; None where there is none that answers.

    Inside the cluster it is asked directly, with the token of the pod's account where it speaks TLS; from outside
    through the Kubernetes API, which needs "create" on ``services/proxy``.

    Raises:
        ClusterError: the cluster's Services cannot be listed.
    """
    for endpoint in find_endpoints(session):
        try:
            # A Service without a server behind it is no reason to wait: the next one may have one.
            probe = _open(session, endpoint, timeout_seconds=min(_PROBE_SECONDS, timeout_seconds), retry=NEVER)
            if probe.query("vector(1)").scalar == 1:
                return _open(session, endpoint, timeout_seconds=timeout_seconds)
        except VmkitError:
            continue
    return None


def _open(
    session: Session, endpoint: Endpoint, *, timeout_seconds: float, retry: RetryPolicy = PATIENCE
) -> PrometheusClient:
    if session.context or "KUBERNETES_SERVICE_HOST" not in os.environ:
        door = ServiceDoor(session, endpoint.namespace, endpoint.service, endpoint.port, scheme=endpoint.scheme)
        return PrometheusClient.through(door, timeout_seconds=timeout_seconds, retry=retry)
    if endpoint.scheme == "http":
        return PrometheusClient(endpoint.url, timeout_seconds=timeout_seconds, retry=retry)
    # OpenShift signs its Services' certificates with an authority of its own.
    authority = _SERVICE_ACCOUNT / "service-ca.crt"
    return PrometheusClient(
        endpoint.url,
        token_file=_SERVICE_ACCOUNT / "token",
        ca_file=authority if authority.exists() else _SERVICE_ACCOUNT / "ca.crt",
        timeout_seconds=timeout_seconds,
        retry=retry,
    )


def _operated(session: Session) -> frozenset[str]:
    """Namespaces in which the Prometheus operator runs one."""
    try:
        return frozenset(
            str(_mapping(each.get("metadata")).get("namespace")) for each in session.list(PROMETHEUSES)
        )
    except ClusterError:
        return frozenset()  # not installed, or not to be seen: the names of Services still tell


def _read_service(service: Mapping[str, Any], operated: frozenset[str]) -> Iterator[Endpoint]:
    metadata, spec = _mapping(service.get("metadata")), _mapping(service.get("spec"))
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    if spec.get("type") == "ExternalName":
        return
    for known, ports, rank in _NAMES:
        if name != known and not name.endswith(f"-{known}"):
            continue
        port = _choose_port(spec.get("ports"), ports)
        if port is not None:
            number = int(port["port"])
            label = str(port.get("name") or number)
            secure = number in (443, 8443, 9091) or label == "https" or port.get("appProtocol") == "https"
            bonus = 5 if namespace in operated else 0
            yield Endpoint(namespace, name, label, number, "https" if secure else "http", rank + bonus)
        return


def _choose_port(ports: Any, names: tuple[str, ...]) -> Mapping[str, Any] | None:
    listed = [each for each in ports if _is_port(each)] if isinstance(ports, list) else []
    for name in names:
        for each in listed:
            if each.get("name") == name:
                return _mapping(each)
    for each in listed:
        if each["port"] in (80, 9090, 9091, 10902):
            return _mapping(each)
    return _mapping(listed[0]) if len(listed) == 1 else None


def _is_port(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("port"), int)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
