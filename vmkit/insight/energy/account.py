"""What each VM took, and what that stands for in carbon and water. Pure.

Active energy is the VM's work: it ends when the VM is stopped. Idle energy is its server's, shared out by
reservations: it ends only when the server is switched off. The two are never added up into one "saving".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.errors import VmkitError
from vmkit.insight.energy.factors import Site
from vmkit.metrics.summary import EnergySource
from vmkit.vm.reference import VmRef

JOULES_PER_KWH: Final = 3.6e6
GROUPS: Final = ("vm", "owner", "template", "namespace", "schedule")


@dataclass(frozen=True, slots=True)
class VmEnergy:
    """One VM over the time looked at. None stands for "nobody knows".

    Attributes:
        ref: the VM; owner, template, schedule: what it says of itself.
        source: who says so; None for nobody.
        site: where it ran.
        active_kwh: of its work.
        idle_kwh: its share of its servers' idle energy.
        running_hours: for how long it ran, as far as it was measured.
        stopped_hours: how long it did not run.
        coverage: the share of the running hours, 0 to 1, for which energy is known.
        problems: what is not known, in sentences.
    """

    ref: VmRef
    owner: str
    template: str
    schedule: str
    source: EnergySource | None
    site: Site
    active_kwh: float | None
    idle_kwh: float | None
    running_hours: float
    stopped_hours: float
    coverage: float
    problems: tuple[str, ...] = ()

    @property
    def facility_kwh(self) -> float | None:
        """Active energy with the data centre's share (PUE)."""
        return None if self.active_kwh is None else self.active_kwh * self.site.pue

    @property
    def grams(self) -> float | None:
        """Carbon of the active energy."""
        return None if self.facility_kwh is None else self.facility_kwh * self.site.factor.grams_per_kwh

    @property
    def idle_grams(self) -> float | None:
        """Carbon of its share of the idle energy."""
        if self.idle_kwh is None:
            return None
        return self.idle_kwh * self.site.pue * self.site.factor.grams_per_kwh

    @property
    def litres(self) -> float | None:
        """Water of the active energy; None also where the site says nothing of water."""
        if self.active_kwh is None or self.site.wue_litres is None:
            return None
        return self.active_kwh * self.site.wue_litres

    @property
    def sci_grams(self) -> float | None:
        """Carbon for an hour of the VM, its reservation included: the operational part of SCI (ISO/IEC 21031)."""
        if self.grams is None or self.idle_grams is None or self.running_hours <= 0:
            return None
        return (self.grams + self.idle_grams) / self.running_hours

    @property
    def avoided_kwh(self) -> float | None:
        """The work it would have done in the hours in which it was stopped, at its own mean power."""
        if self.active_kwh is None or self.running_hours <= 0:
            return None
        return self.active_kwh / self.running_hours * self.stopped_hours

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "owner": self.owner,
            "template": self.template,
            "schedule": self.schedule,
            "source": None if self.source is None else str(self.source),
            "site": self.site.name,
            "activeKwh": _rounded(self.active_kwh),
            "idleKwh": _rounded(self.idle_kwh),
            "avoidedActiveKwh": _rounded(self.avoided_kwh),
            "gramsCo2": _rounded(self.grams),
            "idleGramsCo2": _rounded(self.idle_grams),
            "litresWater": _rounded(self.litres),
            "sciGramsPerVmHour": _rounded(self.sci_grams),
            "runningHours": round(self.running_hours, 2),
            "stoppedHours": round(self.stopped_hours, 2),
            "coverage": round(self.coverage, 4),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class EnergyGroup:
    """VMs added up. Only what is known is in the sums; ``unknown`` says of how many VMs nothing is.

    Attributes:
        name: of the group.
        vms: how many; unknown: of how many nobody knows anything.
        active_kwh, idle_kwh, avoided_kwh: energy; grams: carbon of the active part; litres: water, None for none.
        vm_hours: hours in which they ran.
        sci_grams: carbon for an hour of one of them; None where it is not known.
    """

    name: str
    vms: int
    unknown: int
    active_kwh: float
    idle_kwh: float
    avoided_kwh: float
    grams: float
    litres: float | None
    vm_hours: float
    sci_grams: float | None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "name": self.name,
            "vms": self.vms,
            "unknownVms": self.unknown,
            "activeKwh": _rounded(self.active_kwh),
            "idleKwh": _rounded(self.idle_kwh),
            "avoidedActiveKwh": _rounded(self.avoided_kwh),
            "gramsCo2": _rounded(self.grams),
            "litresWater": _rounded(self.litres),
            "vmHours": round(self.vm_hours, 2),
            "sciGramsPerVmHour": _rounded(self.sci_grams),
        }


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """All of it.

    Attributes:
        at: when; lookback: how far back.
        vms: each VM, the one with the most active energy first.
        method: who measured, or which model estimates, in a sentence.
        claims: whether the numbers may be called savings (a meter for development measures nothing).
        errors: VMs that were named and are not there.
        notices: what could not be known.
    """

    at: datetime
    lookback: timedelta
    vms: tuple[VmEnergy, ...]
    method: str
    claims: bool = True
    errors: tuple[VmkitError, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where VMs ran, each once."""
        return tuple(dict.fromkeys(vm.site for vm in self.vms))

    @property
    def total(self) -> EnergyGroup:
        """All VMs together."""
        return add_up("all", self.vms)

    def grouped(self, by: str) -> tuple[EnergyGroup, ...]:
        """VMs by one of `GROUPS`, the group with the most active energy first."""
        key = _KEYS[by]
        groups: dict[str, list[VmEnergy]] = {}
        for vm in self.vms:
            groups.setdefault(key(vm), []).append(vm)
        found = [add_up(name, vms) for name, vms in groups.items()]
        return tuple(sorted(found, key=lambda group: (-group.active_kwh, group.name)))

    def to_dict(self) -> dict[str, Any]:
        """The fleet's part of the envelope; VMs or groups are its items."""
        return {
            "at": self.at.isoformat(),
            "lookbackSeconds": int(self.lookback.total_seconds()),
            "method": self.method,
            "savingsMayBeClaimed": self.claims,
            "total": self.total.to_dict(),
            "sites": [
                {
                    "name": site.name,
                    "pue": site.pue,
                    "pueSource": site.pue_source,
                    "wueLitresPerKwh": site.wue_litres,
                    "gramsPerKwh": site.factor.grams_per_kwh,
                    "zone": site.factor.zone,
                    "source": site.factor.source,
                    "year": site.factor.year,
                    "marginal": site.factor.marginal,
                }
                for site in self.sites
            ],
        }


_KEYS: Final[Mapping[str, Callable[[VmEnergy], str]]] = {
    "vm": lambda vm: str(vm.ref),
    "owner": lambda vm: vm.owner,
    "template": lambda vm: vm.template,
    "namespace": lambda vm: vm.ref.namespace,
    "schedule": lambda vm: vm.schedule,
}


def add_up(name: str, vms: Iterable[VmEnergy]) -> EnergyGroup:
    """The sum of what is known of VMs."""
    every = list(vms)
    known = [vm for vm in every if vm.active_kwh is not None]
    litres = [vm.litres for vm in known if vm.litres is not None]
    whole = [vm for vm in known if vm.sci_grams is not None]
    hours = sum(vm.running_hours for vm in whole)
    carbon = sum((vm.sci_grams or 0.0) * vm.running_hours for vm in whole)
    return EnergyGroup(
        name=name,
        vms=len(every),
        unknown=len(every) - len(known),
        active_kwh=math.fsum(vm.active_kwh or 0.0 for vm in known),
        idle_kwh=math.fsum(vm.idle_kwh or 0.0 for vm in known),
        avoided_kwh=math.fsum(vm.avoided_kwh or 0.0 for vm in known),
        grams=math.fsum(vm.grams or 0.0 for vm in known),
        litres=math.fsum(litres) if litres else None,
        vm_hours=sum(vm.running_hours for vm in known),
        sci_grams=carbon / hours if hours > 0 else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
