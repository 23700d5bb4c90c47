"""Options that say where Prometheus is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vmkit.cli.options import option

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.metrics.prometheus.client import PrometheusClient

F = TypeVar("F", bound=Callable[..., Any])

MONITORING: Final = "Monitoring"


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Which Prometheus, as the options say."""

    url: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    tenant: str | None = None

    def open(self, vk: Vmkit) -> PrometheusClient | None:
        """A client: of the address given, or of what is found in the cluster; None where nothing is.

        Raises:
            InputError: the address is none, or a file cannot be read.
        """
        from vmkit.metrics.prometheus.client import PrometheusClient

        if self.url is not None:
            return PrometheusClient(self.url, token_file=self.token_file, ca_file=self.ca_file, tenant=self.tenant)
        return vk.find_prometheus()


def monitoring_options(function: F) -> F:
    """--prometheus and what belongs to it; the command gets one `Monitoring` as ``monitoring``."""
    from functools import wraps

    @wraps(function)
    def gathered(
        *args: Any,
        prometheus: str | None,
        prometheus_token_file: str | None,
        prometheus_ca_file: str | None,
        prometheus_tenant: str | None,
        **kwargs: Any,
    ) -> Any:
        monitoring = Monitoring(prometheus, prometheus_token_file, prometheus_ca_file, prometheus_tenant)
        return function(*args, monitoring=monitoring, **kwargs)

    decorated: Any = gathered
    for names, metavar, text in reversed((
        ("--prometheus", "URL", "Where Prometheus answers; by default one is looked for in the cluster."),
        ("--prometheus-token-file", "FILE", "A file with a token for it, read again before every query."),
        ("--prometheus-ca-file", "FILE", "Certificates to trust in place of the system's."),
        ("--prometheus-tenant", "NAME", "Whose data, where it serves several (X-Scope-OrgID)."),
    )):  # fmt: skip
        decorated = option(names, metavar=metavar, heading=MONITORING, everywhere=True, help=text)(decorated)
    found: F = decorated
    return found
