"""The practice cluster: an embedded Kubernetes and KubeVirt API on loopback, with a clock that can be moved.

    with Lab(seed=1) as lab:
        print(lab.url, lab.kubeconfig)

Names are resolved on first use, so that importing a pure part does not load the HTTP server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.lab import Lab as Lab

__all__ = ["Lab"]


def __getattr__(name: str) -> object:
    if name != "Lab":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vmkit.lab.lab import Lab

    return Lab
