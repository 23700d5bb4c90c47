"""Use that a test writes down: a source of series, and clusters as objects."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vmkit.errors import Unreachable
from vmkit.insight.series import Grid, VmSeries
from vmkit.metrics.summary import Unknown
from vmkit.vm.reference import VmRef

AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
GIB = 2**30

Use = Callable[[float], tuple[float, float]]
"""Cores and GiB in use at an instant, in hours from the beginning; NaN for a gap."""


class TableSource:
    """Use as functions of time, by VM; VMs that are not in it have no samples."""

    def __init__(self, uses: Mapping[VmRef, Use]) -> None:
        self._uses = uses
        self.notices: tuple[str, ...] = ()

    def read(self, refs: Collection[VmRef], grid: Grid) -> Iterator[VmSeries]:
        for ref in sorted(refs):
            use = self._uses.get(ref)
            if use is None:
                yield VmSeries(ref, grid.fill(), grid.fill(), (Unknown("NoSamples", "no samples of it"),))
                continue
            pairs = [use(number * grid.step_seconds / 3600) for number in range(grid.count)]
            cpu, memory = array("d", [one for one, _ in pairs]), array("d", [two * GIB for _, two in pairs])
            yield VmSeries(ref, cpu, memory)


class AwaySource:
    """A source that cannot be reached."""

    notices: tuple[str, ...] = ()

    def read(self, refs: Collection[VmRef], grid: Grid) -> Iterator[VmSeries]:
        raise Unreachable("http://prometheus cannot be reached: refused")


def constant(cores: float, gib: float) -> Use:
    return lambda _: (cores, gib)


def office(cores: float, gib: float) -> Use:
    """At work from 8 to 18, and stopped at night."""
    return lambda hours: (cores, gib) if 8 <= hours % 24 < 18 else (math.nan, math.nan)


def node(name: str, *, cpu: str = "16", memory: str = "64Gi", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(
    name: str, where: str, memory: str, *, cpu: str = "100m", vm: str = "", owner: str = "", app: str = ""
) -> dict[str, Any]:
    labels = {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": vm} if vm else {"app": app} if app else {}
    owners = [{"kind": owner, "name": "x"}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": owners},
        "spec": {
            "nodeName": where,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}],
        },
        "status": {"phase": "Running"},
    }


def vm(name: str, *, cores: int, memory: str, running: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "labels": {f"vmkit.io/{key.replace('_', '-')}": value for key, value in labels.items()},
        },
        "spec": {
            "runStrategy": "Always" if running else "Halted",
            "template": {
                "spec": {"domain": {"cpu": {"cores": cores}, "memory": {"guest": memory}, "devices": {}}}
            },
        },
        "status": {"printableStatus": "Running" if running else "Stopped", "created": running, "ready": running},
    }


def vmi(name: str, *, days: float = 3.0) -> dict[str, Any]:
    since = (AT - timedelta(days=days)).isoformat()
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"vmi-{name}"},
        "spec": {},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "LiveMigratable", "status": "True"}],
            "phaseTransitionTimestamps": [{"phase": "Running", "phaseTransitionTimestamp": since}],
        },
    }
