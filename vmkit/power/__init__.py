"""Power: start, stop, restart, pause, unpause, live-migrate and delete VMs, one or thousands.

    result = run_power(session, Verb.STOP, Selection(label_selector="team=web"), PowerOptions(wait=True))

Names are resolved on first use, so that importing this loads no Kubernetes client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.power.delete import run_delete as run_delete
    from vmkit.power.options import DeleteOptions as DeleteOptions
    from vmkit.power.options import PowerOptions as PowerOptions
    from vmkit.power.options import Selection as Selection
    from vmkit.power.run import run_power as run_power
    from vmkit.vm.contract import Verb as Verb

_HOMES = {
    "DeleteOptions": "vmkit.power.options",
    "PowerOptions": "vmkit.power.options",
    "Selection": "vmkit.power.options",
    "Verb": "vmkit.vm.contract",
    "run_delete": "vmkit.power.delete",
    "run_power": "vmkit.power.run",
}

__all__ = ["DeleteOptions", "PowerOptions", "Selection", "Verb", "run_delete", "run_power"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
