"""vmkit: the life of KubeVirt virtual machines, from a terminal, a cluster or a script.

Names are resolved on first use, so that ``import vmkit`` costs nothing and loads no Kubernetes client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vmkit.errors import VmkitError as VmkitError
    from vmkit.lab import Lab as Lab

_HOMES = {
    "Lab": "vmkit.lab",
    "VmkitError": "vmkit.errors",
}

__all__ = ["Lab", "VmkitError", "__version__"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
