"""What the account of the controller has to be allowed beyond a pass, and where the controller listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEFAULT_LEASE: Final = "vmkit-schedule"
"""Name of the Lease by which replicas agree on who acts; it lives in the namespace of the controller."""
DEFAULT_PORT: Final = 9108
METRICS_PATH: Final = "/metrics"
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"

CONTROLLER_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["watch"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["watch"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["watch"]},
)
"""In all namespaces, beside the rules of a pass."""

LEASE_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    # A name cannot be asked for where the object is not there yet.
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [DEFAULT_LEASE],
        "verbs": ["get", "update"],
    },
)
"""In the controller's own namespace."""
