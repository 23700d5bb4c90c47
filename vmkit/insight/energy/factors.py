"""Grams of CO2 for a kilowatt-hour by country, and sites: how much a data centre takes beyond its servers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import UsageError

GRID_SOURCE: Final = "Our World in Data and Ember, as in codecarbon's global_energy_mix.json"
GRID_YEAR: Final = 2023
GRID_GRAMS: Final[Mapping[str, float]] = {
    "CH": 34.8, "CN": 582.3, "DE": 380.95, "FR": 56.0, "GB": 237.6, "IN": 713.4, "IT": 330.7, "NL": 267.6,
    "NO": 30.1, "PL": 661.9, "SE": 40.7, "US": 369.5, "WORLD": 475.0,
}  # fmt: skip
"""Averages over a year, location-based. Others have other values: source and year belong beside each."""

DEFAULT_PUE: Final = 1.58
PUE_SOURCE: Final = "on-premises default of Cloud Carbon Footprint (March 2024)"


@dataclass(frozen=True, slots=True)
class Factor:
    """How much carbon a kilowatt-hour stands for.

    Attributes:
        grams_per_kwh: grams of CO2 (equivalents, where the source says so).
        zone: where.
        source: whose number it is.
        year: of the data; None for a value of this moment.
        marginal: whether it tells of the plant that would run for one kilowatt-hour more; such factors are not to
            be mixed with averages.
    """

    grams_per_kwh: float
    zone: str
    source: str
    year: int | None = None
    marginal: bool = False

    def __str__(self) -> str:
        when = str(self.year) if self.year is not None else "now"
        kind = "marginal" if self.marginal else "average"
        return f"{self.grams_per_kwh:g} g/kWh, {self.zone}, {kind}, {when} ({self.source})"


@dataclass(frozen=True, slots=True)
class Site:
    """A data centre.

    Attributes:
        name: its name; empty for the one site of a cluster that says nothing about any.
        pue: energy of the whole over that of the servers (ISO/IEC 30134-2); at least 1.
        pue_source: whose number it is.
        wue_litres: litres of water for a kilowatt-hour of the servers (ISO/IEC 30134-9); None where nobody says.
        factor: its carbon.
    """

    name: str
    pue: float
    pue_source: str
    wue_litres: float | None
    factor: Factor


def find_factor(country: str) -> Factor:
    """The average of a country ("DE"), or of the "world".

    Raises:
        UsageError: it is not in the table.
    """
    zone = country.strip().upper()
    if zone not in GRID_GRAMS:
        raise UsageError(
            f"there is no carbon factor for {country!r}",
            hint=f"one of {', '.join(sorted(GRID_GRAMS))}; or give a number with --grid-intensity",
        )
    return Factor(GRID_GRAMS[zone], zone, GRID_SOURCE, GRID_YEAR)


def build_site(
    name: str = "",
    *,
    factor: Factor,
    pue: float | None = None,
    wue_litres: float | None = None,
) -> Site:
    """A site.

    Raises:
        UsageError: PUE or WUE cannot be.
    """
    where = f" of site {name}" if name else ""
    if pue is not None and not 1 <= pue < 10:
        raise UsageError(f"the PUE{where} is {pue:g}", hint="it is at least 1, and usually below 2")
    if wue_litres is not None and not 0 <= wue_litres < 100:
        raise UsageError(f"the WUE{where} is {wue_litres:g}", hint="litres for a kilowatt-hour, usually below 3")
    source = "as told" if pue is not None else PUE_SOURCE
    return Site(name, DEFAULT_PUE if pue is None else pue, source, wue_litres, factor)


def parse_sites(document: Any, *, default: Factor, where: str) -> dict[str, Site]:
    """The sites of a file: ``sites: {name: {pue: 1.2, wue: 0.2, country: FR}}``, or ``grid`` in grams.

    Raises:
        UsageError: it is no such document.
    """
    listed = document.get("sites") if isinstance(document, Mapping) else None
    hint = "sites: {par1: {pue: 1.2, wue: 0.2, country: FR}}"
    if not isinstance(listed, Mapping) or not listed:
        raise UsageError(f"{where} lists no sites", hint=hint, where=where)
    found: dict[str, Site] = {}
    for name, body in listed.items():
        if not isinstance(name, str) or not isinstance(body, Mapping):
            raise UsageError(f"{where}: site {name!r} is no mapping", hint=hint, where=where)
        unknown = sorted(str(key) for key in body.keys() - {"pue", "wue", "country", "grid"})
        if unknown:
            raise UsageError(f"{where}: site {name} has no {unknown[0]!r}", hint=hint, where=where)
        factor, country, grams = default, body.get("country"), _number(body, "grid", name, where)
        if country is not None:
            factor = find_factor(str(country))
        if grams is not None:
            factor = Factor(grams, str(country or name), "as told")
        found[name] = build_site(
            name,
            factor=factor,
            pue=_number(body, "pue", name, where),
            wue_litres=_number(body, "wue", name, where),
        )
    return found


def _number(body: Mapping[Any, Any], key: str, name: str, where: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise UsageError(f"{where}: {key} of site {name} is {value!r}, which is no amount", where=where)
    return float(value)
