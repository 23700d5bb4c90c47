"""vmkit: the life of KubeVirt virtual machines, from a terminal, a cluster or a script.

    from vmkit import Vmkit

    with Vmkit.connect() as vk:
        vk.stop("web-1", wait=True)

Names are resolved on first use, so that ``import vmkit`` costs nothing and loads no Kubernetes client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vmkit.api import Vmkit as Vmkit
    from vmkit.errors import ExitCode as ExitCode
    from vmkit.errors import VmkitError as VmkitError
    from vmkit.lab import Lab as Lab
    from vmkit.plan.model import Outcome as Outcome
    from vmkit.plan.model import Plan as Plan
    from vmkit.plan.model import Result as Result
    from vmkit.plan.model import Status as Status
    from vmkit.provision.request import CreateRequest as CreateRequest
    from vmkit.schedule.model import Schedule as Schedule
    from vmkit.schedule.parse import parse_schedule as parse_schedule
    from vmkit.units import Limit as Limit
    from vmkit.vm.reference import VmRef as VmRef
    from vmkit.vm.state import PowerState as PowerState
    from vmkit.vm.state import VmView as VmView
    from vmkit.vm.strategy import RunStrategy as RunStrategy

_HOMES = {
    "CreateRequest": "vmkit.provision.request",
    "ExitCode": "vmkit.errors",
    "Lab": "vmkit.lab",
    "Limit": "vmkit.units",
    "Outcome": "vmkit.plan.model",
    "Plan": "vmkit.plan.model",
    "PowerState": "vmkit.vm.state",
    "Result": "vmkit.plan.model",
    "RunStrategy": "vmkit.vm.strategy",
    "Schedule": "vmkit.schedule.model",
    "Status": "vmkit.plan.model",
    "VmRef": "vmkit.vm.reference",
    "VmView": "vmkit.vm.state",
    "Vmkit": "vmkit.api",
    "VmkitError": "vmkit.errors",
    "parse_schedule": "vmkit.schedule.parse",
}

__all__ = [
    "CreateRequest",
    "ExitCode",
    "Lab",
    "Limit",
    "Outcome",
    "Plan",
    "PowerState",
    "Result",
    "RunStrategy",
    "Schedule",
    "Status",
    "VmRef",
    "VmView",
    "Vmkit",
    "VmkitError",
    "__version__",
    "parse_schedule",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
