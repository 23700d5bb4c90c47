"""What vmkit turned off, when, and what that returned. Pure.

The journal is on the VMs: their histories, which whoever stops a VM writes. The ledger is the book: for each VM
and month its stretches off, taken over from the journals again and again; what is in it is not taken twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vmkit.errors import ConfigError, ScheduleError
from vmkit.idle.mark import OWNER
from vmkit.idle.report import Size
from vmkit.vm.history import Entry, parse_history
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView

_GIGABYTE: Final = 1_000_000_000
_MOST_CHARACTERS: Final = 65_536
_UP: Final = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.MIGRATING, PowerState.STARTING})


@dataclass(frozen=True, slots=True)
class Stretch:
    """A VM off.

    Attributes:
        begin: when vmkit stopped it.
        end: when it ran again or was deleted; None while it is off.
        code: why it was stopped: "StoppedIdle", "ScheduledStop".
    """

    begin: datetime
    end: datetime | None
    code: str


@dataclass(frozen=True, slots=True)
class Page:
    """One VM's stops of one month.

    Attributes:
        uid: the VM's; ``ref``: its name; ``owner``: whose it is.
        month: the first day of the month in which they began, as "2026-02".
        size: what it held, as it was at the last of them.
        stretches: by their beginning.
    """

    uid: str
    ref: VmRef
    owner: str
    month: str
    size: Size
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns hours into grams and money; nothing is assumed where nobody says.

    Attributes:
        grams_per_kwh: of CO2; None for no figure. ``carbon_source``, ``carbon_year``: whose factor, of which year.
        idle_watts_per_vcpu: what a server draws while it does nothing, for each CPU it offers: an allocation,
            which returns only once servers are off. None for no figure. ``idle_source``: who says so.
        currency, vcpu_hour, gb_hour, kwh: prices; an empty currency means no money.
    """

    grams_per_kwh: float | None = None
    carbon_source: str = ""
    carbon_year: int = 0
    idle_watts_per_vcpu: float | None = None
    idle_source: str = ""
    currency: str = ""
    vcpu_hour: float = 0.0
    gb_hour: float = 0.0
    kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class Returned:
    """What stops returned.

    Attributes:
        stops: how many.
        hours: off, of all VMs together.
        vcpu_hours, gb_hours: of CPUs and memory (GB are 10^9 bytes); VMs of unknown size count for nothing.
        active_kwh: what their work would have taken, as measured before; ``metered_hours``: of how many hours.
        sources: who measured.
    """

    stops: int = 0
    hours: float = 0.0
    vcpu_hours: float = 0.0
    gb_hours: float = 0.0
    active_kwh: float = 0.0
    metered_hours: float = 0.0
    sources: frozenset[str] = frozenset()

    def __add__(self, other: Returned) -> Returned:
        return Returned(
            self.stops + other.stops,
            self.hours + other.hours,
            self.vcpu_hours + other.vcpu_hours,
            self.gb_hours + other.gb_hours,
            self.active_kwh + other.active_kwh,
            self.metered_hours + other.metered_hours,
            self.sources | other.sources,
        )

    def idle_kwh(self, rates: Rates) -> float | None:
        """Of idle power, allocated by CPUs; never part of another sum."""
        watts = rates.idle_watts_per_vcpu
        return None if watts is None else self.vcpu_hours * watts / 1000

    def grams(self, rates: Rates) -> float | None:
        """Of CO2, for the measured active energy alone; None without a factor or a measurement."""
        if rates.grams_per_kwh is None or not self.metered_hours:
            return None
        return self.active_kwh * rates.grams_per_kwh

    def money(self, rates: Rates) -> float | None:
        """In the currency of the price table; None without one."""
        if not rates.currency:
            return None
        return self.vcpu_hours * rates.vcpu_hour + self.gb_hours * rates.gb_hour + self.active_kwh * rates.kwh

    def to_dict(self, rates: Rates) -> dict[str, Any]:
        """As programs have it; what nobody measured or configured is null."""
        idle, grams, money = self.idle_kwh(rates), self.grams(rates), self.money(rates)
        return {
            "stops": self.stops,
            "hours": round(self.hours, 3),
            "vcpuHours": round(self.vcpu_hours, 3),
            "gbHours": round(self.gb_hours, 3),
            "activeKwh": round(self.active_kwh, 6) if self.metered_hours else None,
            "activeKwhSources": sorted(self.sources),
            "meteredHours": round(self.metered_hours, 3),
            "allocatedIdleKwh": None if idle is None else round(idle, 6),
            "gramsCo2": None if grams is None else round(grams, 3),
            "money": None if money is None else {"amount": round(money, 2), "currency": rates.currency},
        }


@dataclass(frozen=True, slots=True)
class Account:
    """The ledger over a time.

    Attributes:
        since: stretches count from here on; None for all of them.
        at: and up to here.
        pages: by VM and month, in the order of names.
        rates: what turns hours into grams and money.
        notices: what people should know.
    """

    at: datetime
    pages: tuple[Page, ...]
    rates: Rates = field(default_factory=Rates)
    since: datetime | None = None
    notices: tuple[str, ...] = ()

    def by_vm(self) -> dict[tuple[VmRef, str], Returned]:
        """For each VM and its owner that returned something."""
        found: dict[tuple[VmRef, str], Returned] = {}
        for page in self.pages:
            returned = sum_page(page, since=self.since, at=self.at)
            if returned.stops:
                key = (page.ref, page.owner)
                found[key] = found.get(key, Returned()) + returned
        return dict(sorted(found.items()))

    def by_owner(self) -> dict[str, Returned]:
        """The same for each owner, the most CPU-hours first."""
        found: dict[str, Returned] = {}
        for (_, owner), returned in self.by_vm().items():
            found[owner] = found.get(owner, Returned()) + returned
        return dict(sorted(found.items(), key=lambda pair: (-pair[1].vcpu_hours, pair[0])))

    @property
    def total(self) -> Returned:
        """Of all of them."""
        return sum(self.by_owner().values(), Returned())


def sum_page(page: Page, *, since: datetime | None, at: datetime) -> Returned:
    """What the stops of a page returned between two instants."""
    hours, stops = 0.0, 0
    for stretch in page.stretches:
        begin = stretch.begin if since is None else max(stretch.begin, since)
        span = (min(stretch.end or at, at) - begin) / timedelta(hours=1)
        if span > 0:
            hours, stops = hours + span, stops + 1
    size = page.size
    metered = size.active_watts is not None
    return Returned(
        stops,
        hours,
        hours * size.vcpus,
        hours * size.memory_bytes / _GIGABYTE,
        hours * (size.active_watts or 0.0) / 1000,
        hours if metered else 0.0,
        frozenset({size.energy_source}) if metered and hours and size.energy_source else frozenset(),
    )


# --- taking over ------------------------------------------------------------------------------------------------


def take_over(
    book: Mapping[tuple[str, str], Page],
    views: Iterable[VmView],
    at: datetime,
    *,
    is_covered: Callable[[str], bool] = lambda namespace: True,
) -> dict[tuple[str, str], Page]:
    """The pages that change: what VMs' histories have that the book has not, and what has ended since.

    Args:
        book: the pages there are, by uid and month.
        views: the VMs as they are, with their instances.
        at: now.
        is_covered: whether all VMs of a namespace are among the views: one that is missing there has been deleted.
    """
    changed: dict[tuple[str, str], Page] = {}
    seen = set()
    by_uid: dict[str, list[tuple[str, str]]] = {}
    for key in book:
        by_uid.setdefault(key[0], []).append(key)
    for view in views:
        seen.add(view.uid)
        try:
            history = parse_history(view.annotations)
        except ScheduleError:
            continue  # Nobody can read it; what the book has stays.
        own = {key: book[key] for key in by_uid.get(view.uid, ())}
        if not history and not own:
            continue
        taken = _take_vm(own, view, history)
        changed |= {key: page for key, page in taken.items() if book.get(key) != page}
    for key, page in book.items():
        if key[0] not in seen and is_covered(page.ref.namespace):
            ended = tuple(replace(each, end=each.end or at) for each in page.stretches)
            if ended != page.stretches:
                changed[key] = replace(page, stretches=ended)
    return changed


def _take_vm(
    own: Mapping[tuple[str, str], Page], view: VmView, history: tuple[Entry, ...]
) -> dict[tuple[str, str], Page]:
    pages = dict(own)
    for entry in history:
        if entry.verb != "stop":
            continue
        month = f"{entry.at.astimezone(UTC):%Y-%m}"
        key = (view.uid, month)
        page = pages.get(key) or Page(view.uid, view.ref, _owner(view), month, Size(), ())
        if any(_same(each.begin, entry.at) for each in page.stretches):
            continue
        # A schedule's stop measures nothing: what was measured before still holds.
        measured = entry.active_watts is not None
        size = Size(
            entry.vcpus or view.cpu_cores or page.size.vcpus,
            entry.memory_bytes or view.memory_bytes or page.size.memory_bytes,
            entry.active_watts if measured else page.size.active_watts,
            entry.energy_source if measured else page.size.energy_source,
        )
        begin = entry.at.replace(microsecond=0)
        stretches = sorted([*page.stretches, Stretch(begin, None, entry.code)], key=lambda each: each.begin)
        pages[key] = replace(page, ref=view.ref, owner=_owner(view), size=size, stretches=tuple(stretches))
    begins = sorted(each.begin for page in pages.values() for each in page.stretches)
    return {
        key: replace(page, stretches=tuple(_end(each, begins, view, history) for each in page.stretches))
        for key, page in pages.items()
    }


def _end(stretch: Stretch, begins: list[datetime], view: VmView, history: tuple[Entry, ...]) -> Stretch:
    if stretch.end is not None:
        return stretch
    following = next((begin for begin in begins if begin > stretch.begin), None)
    starts = [entry.at for entry in history if entry.verb == "start" and entry.at > stretch.begin]
    started = view.instance.started_at if view.instance is not None else None
    if view.power in _UP and started is not None and started > stretch.begin:
        starts.append(started)
    first = min(starts, default=None)
    if first is not None and (following is None or first <= following):
        return replace(stretch, end=first)
    if following is not None:
        # Somebody started it by hand in between, and nobody saw when: it returned nothing that can be shown.
        return replace(stretch, end=stretch.begin)
    return stretch


def _same(one: datetime, other: datetime) -> bool:
    return abs(one - other) < timedelta(seconds=1)


def _owner(view: VmView) -> str:
    return view.labels.get(OWNER) or view.annotations.get(OWNER) or view.ref.namespace


# --- as text ----------------------------------------------------------------------------------------------------


def render_page(page: Page) -> str:
    """A page as the ledger keeps it: compact JSON, times in seconds since 1970, the same for equal pages."""
    size = page.size
    document: dict[str, Any] = {
        "namespace": page.ref.namespace,
        "name": page.ref.name,
        "owner": page.owner,
        "vcpus": size.vcpus,
        "memoryBytes": size.memory_bytes,
    }
    if size.active_watts is not None:
        document |= {"activeWatts": round(size.active_watts, 3), "energySource": size.energy_source}
    document["off"] = [
        [_seconds(each.begin), None if each.end is None else _seconds(each.end), each.code]
        for each in page.stretches
    ]
    return json.dumps(document, separators=(",", ":"))


def parse_page(uid: str, month: str, text: str) -> Page:
    """Reads what `render_page` wrote.

    Raises:
        ConfigError: somebody else wrote it.
    """
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError
        document = json.loads(text)
        watts = document.get("activeWatts")
        if watts is not None and not 0 <= float(watts) < math.inf:
            raise ValueError
        size = Size(
            max(0, int(document["vcpus"])),
            max(0, int(document["memoryBytes"])),
            None if watts is None else float(watts),
            str(document.get("energySource", "")),
        )
        stretches = tuple(
            Stretch(
                datetime.fromtimestamp(begin, UTC),
                None if end is None else datetime.fromtimestamp(end, UTC),
                str(code),
            )
            for begin, end, code in document["off"]
        )
        ref = VmRef(str(document["namespace"]), str(document["name"]))
        return Page(uid, ref, str(document["owner"]), month, size, stretches)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, OSError) as error:
        raise ConfigError(f"the ledger's page of {uid} ({month}) is not what vmkit wrote") from error


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
