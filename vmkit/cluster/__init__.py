"""The one door to Kubernetes: finding and authenticating to a cluster, and talking to it as plain JSON objects.

    with Session.connect() as session:
        for vm in session.list(VIRTUAL_MACHINES):
            print(vm["metadata"]["name"])

Objects are dictionaries as the API sends them. Errors are those of `vmkit.errors`. Nothing else in vmkit imports
the ``kubernetes`` package. Names are resolved on first use, so that importing this costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.cluster.listing import Listing as Listing
    from vmkit.cluster.listing import Page as Page
    from vmkit.cluster.resources import Resource as Resource
    from vmkit.cluster.retry import RetryPolicy as RetryPolicy
    from vmkit.cluster.session import Session as Session
    from vmkit.cluster.watch import Watch as Watch
    from vmkit.cluster.watch import WatchEvent as WatchEvent

_HOMES = {
    "Listing": "vmkit.cluster.listing",
    "Page": "vmkit.cluster.listing",
    "Resource": "vmkit.cluster.resources",
    "RetryPolicy": "vmkit.cluster.retry",
    "Session": "vmkit.cluster.session",
    "Watch": "vmkit.cluster.watch",
    "WatchEvent": "vmkit.cluster.watch",
}

__all__ = ["Listing", "Page", "Resource", "RetryPolicy", "Session", "Watch", "WatchEvent"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
