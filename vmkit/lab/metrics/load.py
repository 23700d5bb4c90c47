"""How busy a guest is, as a pure function of (seed, guest, instant).

A counter must give the same increase over a stretch however often it is read, and reading it must not cost more
the longer the guest runs. So a day's work is settled first, is shared out among its hours, and an hour's among
its five-minute slots: a reading adds up whole days, then the hours of one day, then the slots of one hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

DAY = 86400
HOUR = 3600
SLOT = 300
_SLOTS = HOUR // SLOT
_DAYS_A_BLOCK = 64


@dataclass(frozen=True)
class LoadShape:
    """The pattern of a guest's work.

    Attributes:
        name: as written in the annotation ``lab.vmkit.io/load``.
        weekday: mean use of all its CPUs in each hour of a working day, 0 to 1.
        weekend: the same on Saturday and Sunday.
        day_variation: how much days differ, 0 to 1.
        hour_variation: how much the same hour differs between days, 0 to 1.
        slot_variation: how much five-minute slots of an hour differ, 0 to 1.
        network: bytes a second, each way, at full use.
        disk: bytes a second, read and written, at full use.
        sessions: the chance that somebody opens a console on a working day.
    """

    name: str
    weekday: tuple[float, ...]
    weekend: tuple[float, ...]
    day_variation: float
    hour_variation: float
    slot_variation: float
    network: float
    disk: float
    sessions: float


def _hours(*spans: tuple[int, int, float], rest: float) -> tuple[float, ...]:
    values = [rest] * 24
    for first, last, value in spans:
        for hour in range(first, last):
            values[hour] = value
    return tuple(values)


_MB = 1_000_000.0
_AGENT = 0.006
"""What a guest without any work needs: its kernel, its agent, its log rotation."""

SHAPES: dict[str, LoadShape] = {
    shape.name: shape
    for shape in (
        LoadShape(
            "office-hours",
            _hours(
                (6, 7, 0.06), (7, 8, 0.18), (8, 12, 0.30), (12, 13, 0.20), (13, 17, 0.30), (17, 18, 0.14),
                rest=0.015,
            ),
            (0.012,) * 24,
            0.15, 0.25, 0.30, 12 * _MB, 9 * _MB, 0.35,
        ),
        LoadShape(
            "nightly",
            _hours((1, 4, 0.55), (4, 5, 0.25), rest=0.01),
            _hours((1, 4, 0.55), (4, 5, 0.25), rest=0.01),
            0.10, 0.10, 0.10, 40 * _MB, 80 * _MB, 0.02,
        ),
        LoadShape("always-busy", (0.62,) * 24, (0.58,) * 24, 0.05, 0.08, 0.10, 60 * _MB, 25 * _MB, 0.05),
        LoadShape("steady", (0.22,) * 24, (0.18,) * 24, 0.08, 0.15, 0.20, 15 * _MB, 10 * _MB, 0.08),
        LoadShape("agent-noise", (_AGENT,) * 24, (_AGENT,) * 24, 0.05, 0.30, 0.50, 0.4 * _MB, 0.5 * _MB, 0.0),
        LoadShape(
            "bursty",
            _hours((8, 20, 0.07), rest=0.03),
            _hours((8, 20, 0.05), rest=0.03),
            0.50, 0.60, 0.90, 120 * _MB, 60 * _MB, 0.15,
        ),
        LoadShape("dead", (0.0015,) * 24, (0.0015,) * 24, 0.02, 0.10, 0.20, 0.03 * _MB, 0.05 * _MB, 0.0),
    )
}  # fmt: skip

_SHARES = (
    ("office-hours", 0.34), ("steady", 0.18), ("agent-noise", 0.17), ("nightly", 0.08), ("bursty", 0.10),
    ("always-busy", 0.06), ("dead", 0.07),
)  # fmt: skip


def choose_shape(seed: int, key: str, wanted: str = "") -> LoadShape:
    """The shape asked for by name, else one drawn in the shares of a usual fleet: half of it works by day, a
    quarter idles."""
    if wanted in SHAPES:
        return SHAPES[wanted]
    draw, total = fraction(seed, key, "shape"), 0.0
    for name, share in _SHARES:
        total += share
        if draw < total:
            return SHAPES[name]
    return SHAPES["steady"]


def fraction(seed: int, *parts: object) -> float:
    """A number from 0 to below 1 that depends on nothing but its arguments."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _noise(seed: int, key: str, channel: str, level: str, index: int) -> bytes:
    return blake2b(f"{seed}/{key}/{channel}/{level}/{index}".encode(), digest_size=64).digest()


class Activity:
    """The work a guest has done since an instant, in seconds of full use.

    Args:
        seed: the lab's seed.
        key: the guest ("namespace/name").
        channel: what kind of work ("cpu", "receive"): each has its own noise around the same shape.
        shape: the pattern.
        start: Unix seconds; nothing is done before.
    """

    def __init__(self, seed: int, key: str, channel: str, shape: LoadShape, start: float) -> None:
        self._seed, self._key, self._channel, self._shape = seed, key, channel, shape
        self._first_day = int(start // DAY)
        self._totals: list[float] = [0.0]
        self._week = tuple(sum(shape.weekend if is_weekend(day) else shape.weekday) * HOUR for day in range(7))
        self._factors: tuple[int, bytes] = (-1, b"")
        self._hours: tuple[int, Sequence[float]] = (-1, ())
        self._slots: tuple[int, Sequence[float]] = (-1, ())
        self._known: tuple[float, float] = (start, 0.0)
        self._intensity: tuple[float, float] = (-1.0, 0.0)
        self._offset = self._until(start)

    def done(self, at: float) -> float:
        """Seconds of full use from the start until ``at`` (Unix seconds); 0 before the start. Never falls."""
        # Several series of a guest are read at one instant: they share the work.
        if self._known[0] != at:
            self._known = (at, max(0.0, self._until(at) - self._offset))
        return self._known[1]

    def intensity(self, at: float) -> float:
        """Use in the five-minute slot around an instant, 0 to about 1."""
        slot = at // SLOT * SLOT
        if self._intensity[0] != slot:
            self._intensity = (slot, (self._until(slot + SLOT) - self._until(slot)) / SLOT)
        return self._intensity[1]

    def _until(self, at: float) -> float:
        day = int(at // DAY)
        if day < self._first_day:
            return 0.0
        totals = self._totals
        while len(totals) <= day - self._first_day:
            totals.append(totals[-1] + self._day_total(self._first_day + len(totals) - 1))
        within = at - day * DAY
        hour = min(23, int(within // HOUR))
        shares = self._hour_shares(day)
        before = shares[hour]
        total = self._day_total(day)
        part = self._slot_share(day * 24 + hour, within - hour * HOUR)
        return totals[day - self._first_day] + total * (before + (shares[hour + 1] - before) * part)

    def _day_total(self, day: int) -> float:
        block, index = divmod(day, _DAYS_A_BLOCK)
        if self._factors[0] != block:
            self._factors = (block, _noise(self._seed, self._key, self._channel, "days", block))
        factor = 1 + self._shape.day_variation * (self._factors[1][index] / 127.5 - 1)
        return self._week[day % 7] * factor

    def _hour_shares(self, day: int) -> Sequence[float]:
        if self._hours[0] != day:
            profile = self._shape.weekend if is_weekend(day) else self._shape.weekday
            noise = _noise(self._seed, self._key, self._channel, "hours", day)
            spread = self._shape.hour_variation
            weights = [value * (1 + spread * (noise[i] / 127.5 - 1)) for i, value in enumerate(profile)]
            self._hours = (day, _cumulative(weights))
        return self._hours[1]

    def _slot_share(self, hour: int, seconds: float) -> float:
        if self._slots[0] != hour:
            noise = _noise(self._seed, self._key, self._channel, "slots", hour)
            spread = self._shape.slot_variation
            weights = [1 + spread * (noise[i] / 127.5 - 1) for i in range(_SLOTS)]
            self._slots = (hour, _cumulative(weights))
        slots = self._slots[1]
        slot = min(_SLOTS - 1, int(seconds // SLOT))
        return slots[slot] + (slots[slot + 1] - slots[slot]) * (seconds - slot * SLOT) / SLOT


def is_weekend(day: int) -> bool:
    """Whether a day (counted from 1970-01-01, a Thursday) is a Saturday or a Sunday."""
    return (day + 3) % 7 >= 5


def _cumulative(weights: Sequence[float]) -> Sequence[float]:
    total = sum(weights) or 1.0
    shares = [0.0, *accumulate(weight / total for weight in weights)]
    shares[-1] = 1.0
    return shares


def wave(seed: int, key: str, channel: str, at: float) -> float:
    """A level from 0 to 1 that drifts from hour to hour without jumps (memory in use, cache)."""
    hour, within = divmod(at, HOUR)
    low, high = (_level(seed, key, channel, int(hour) + step) for step in (0, 1))
    return low + (high - low) * within / HOUR


def _level(seed: int, key: str, channel: str, hour: int) -> float:
    block, index = divmod(hour, 64)
    return _noise(seed, key, channel, "wave", block)[index] / 255
