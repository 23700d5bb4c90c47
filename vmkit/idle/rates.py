"""What turns hours into grams and money: a file, since nothing of it can be assumed."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vmkit.errors import ConfigError
from vmkit.idle.ledger import Rates

_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "carbon": frozenset({"grams-per-kwh", "source", "year"}),
    "idle": frozenset({"watts-per-vcpu", "source"}),
    "price": frozenset({"currency", "vcpu-hour", "gb-hour", "kwh"}),
}


def read_rates(path: str | Path) -> Rates:
    """Reads a TOML file with the tables ``carbon``, ``idle`` and ``price``; docs/idle.md shows one.

    Raises:
        ConfigError: the file cannot be read, or says what is not understood; a factor without its source or year.
    """
    where = str(path)
    try:
        document: Mapping[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}", where=where) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is no TOML: {error}", where=where) from error
    for name, table in document.items():
        if name not in _KEYS or not isinstance(table, dict):
            raise ConfigError(f"[{name}] is no table of rates", hint="one of " + ", ".join(_KEYS), where=where)
        unknown = sorted(set(table) - _KEYS[name])
        if unknown:
            hint = "one of " + ", ".join(sorted(_KEYS[name]))
            raise ConfigError(f"{unknown[0]} is nothing that [{name}] says", hint=hint, where=where)
    carbon, idle, price = (document.get(name, {}) for name in _KEYS)
    grams = _number(carbon, "grams-per-kwh", where)
    year = carbon.get("year", 0)
    if grams is not None and not (carbon.get("source") and isinstance(year, int) and 1990 <= year <= 2100):
        raise ConfigError(
            "a factor of CO2 needs its source and year", hint='source = "Ember", year = 2024', where=where
        )
    watts = _number(idle, "watts-per-vcpu", where)
    if watts is not None and not idle.get("source"):
        raise ConfigError("idle power needs its source", hint='source = "measured in March"', where=where)
    if price and not price.get("currency"):
        raise ConfigError("prices need a currency", hint='currency = "EUR"', where=where)
    return Rates(
        grams_per_kwh=grams,
        carbon_source=str(carbon.get("source", "")),
        carbon_year=year,
        idle_watts_per_vcpu=watts,
        idle_source=str(idle.get("source", "")),
        currency=str(price.get("currency", "")),
        vcpu_hour=_number(price, "vcpu-hour", where) or 0.0,
        gb_hour=_number(price, "gb-hour", where) or 0.0,
        kwh=_number(price, "kwh", where) or 0.0,
    )


def _number(table: Mapping[str, Any], key: str, where: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"{key} is no number that makes sense", hint=f"{key} = 0.5", where=where)
    return float(value)
