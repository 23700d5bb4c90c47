"""Quantities, durations and counts: strict text in, numbers out, and back.

Everything here is pure. A text that is not exactly what is described raises `QuantityError`, which says what
would have been understood.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from vmkit.errors import QuantityError

# The grammar of k8s.io/apimachinery/pkg/api/resource.Quantity: a signed number, then a binary suffix, a decimal
# suffix or a decimal exponent.
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?P<suffix>Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,3})?",
)
_FACTORS: Final[dict[str, Decimal]] = {
    "": Decimal(1),
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_BINARY: Final = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")
_BINARY_LOOKALIKES: Final = {
    "KB": "Ki", "MB": "Mi", "GB": "Gi", "TB": "Ti", "KIB": "Ki", "MIB": "Mi", "GIB": "Gi", "TIB": "Ti",
    "K": "Ki", "KI": "Ki", "MI": "Mi", "GI": "Gi", "TI": "Ti", "B": "",
}  # fmt: skip
_MAX: Final = Decimal(2**63 - 1)

_DURATION_PART: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d|w)")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_quantity(text: str | int | float, *, where: str = "") -> Decimal:
    """Reads a Kubernetes quantity ("500m", "10Gi", "1e3") exactly.

    Args:
        text: the quantity; numbers are taken as they are.
        where: named in the error.

    Returns:
        The value in its base unit (cores, bytes, ...).

    Raises:
        QuantityError: the text is not a quantity, or is larger than Kubernetes holds (2^63 - 1).
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise QuantityError(f"{text!r} is not a quantity", hint='write it as "10Gi" or "500m"', where=where)
    if isinstance(text, float) and not math.isfinite(text):
        raise QuantityError(f"{text!r} is not a quantity", hint='write it as "10Gi" or "500m"', where=where)
    match = _QUANTITY.fullmatch(str(text)) if len(str(text)) <= 64 else None
    if match is None:
        raise QuantityError(f"{_shown(str(text))} is not a quantity", hint=_quantity_hint(str(text)), where=where)
    suffix = match["suffix"] or ""
    number = Decimal(match["number"])
    value = number * _FACTORS[suffix] if suffix in _FACTORS else number.scaleb(int(suffix[1:]))
    if abs(value) > _MAX:
        raise QuantityError(f"{text!r} is larger than Kubernetes can hold", where=where)
    return value


def _shown(text: str) -> str:
    # Bad input may be anything: what an error repeats of it is bounded.
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _quantity_hint(text: str) -> str:
    if len(text) > 40:
        return 'a number and one of Ki Mi Gi Ti k M G T m, like "10Gi" or "500m"'
    # The two mistakes people make: "100GB"/"100gb" where Kubernetes knows G and Gi, and a space before the unit.
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is not None:
        number, unit = match.groups()
        if unit in _FACTORS:
            return f'write it without spaces: "{number}{unit}"'
        meant = _BINARY_LOOKALIKES.get(unit.upper())
        if meant is not None:
            return f'did you mean "{number}{meant}"?'
    return 'a number and one of Ki Mi Gi Ti k M G T m, like "10Gi" or "500m"'


def parse_bytes(text: str | int, *, where: str = "") -> int:
    """Reads a size ("10Gi") as whole bytes, rounded up as Kubernetes does.

    Raises:
        QuantityError: not a quantity, or negative.
    """
    value = parse_quantity(text, where=where)
    if value < 0:
        raise QuantityError(f"{text!r} is negative", hint='give a size like "10Gi"', where=where)
    return math.ceil(value)


def format_bytes(size: int) -> str:
    """Writes bytes as the shortest exact Kubernetes quantity ("10Gi", "1500M" stays exact as "1500000000")."""
    for suffix in _BINARY:
        factor = int(_FACTORS[suffix])
        if size and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def format_size(size: float) -> str:
    """Writes bytes for people: three significant digits and a binary unit ("9.31 GiB")."""
    for suffix in _BINARY:
        factor = int(_FACTORS[suffix])
        if abs(size) >= factor:
            value = size / factor
            digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
            text = f"{value:.{digits}f}"
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {suffix}B"
    return f"{size:.0f} B"


def format_cores(cores: Decimal | float) -> str:
    """Writes cores as a Kubernetes quantity ("2", "500m"), rounded up to a thousandth."""
    milli = math.ceil(Decimal(str(cores)) * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def parse_duration(text: str, *, where: str = "") -> timedelta:
    """Reads "90m", "1h30m", "7d", "500ms"; units ms s m h d w, each at most once, largest first.

    A bare number is refused: nobody can tell its unit.

    Raises:
        QuantityError: anything else.
    """
    rest, seconds, last = text.strip(), 0.0, math.inf
    hint = 'write it as "90m", "1h30m" or "7d"'
    if not rest:
        raise QuantityError("an empty text is not a duration", hint=hint, where=where)
    while rest:
        match = _DURATION_PART.match(rest)
        if match is None:
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", rest):
                hint = f'say the unit: "{text}s", "{text}m" or "{text}h"?'
            raise QuantityError(f"{_shown(text)} is not a duration", hint=hint, where=where)
        unit = _UNIT_SECONDS[match["unit"]]
        if unit >= last:
            raise QuantityError(
                f"{_shown(text)} is not a duration: units go from large to small, each once",
                hint=hint,
                where=where,
            )
        seconds, last, rest = seconds + float(match["number"]) * unit, unit, rest[match.end() :]
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise QuantityError(f"{_shown(text)} is too long a duration", hint=hint, where=where) from error


def format_duration(duration: timedelta, *, parts: int = 2) -> str:
    """Writes a duration for people and for `parse_duration`: its largest units ("2d4h", "90ms" as "0s")."""
    seconds = int(abs(duration.total_seconds()))
    sign = "-" if duration < timedelta(0) else ""
    texts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            texts.append(f"{count}{unit}")
        elif texts:
            # Units left out between would read as more exact than they are: "2d5s" says less than "2d".
            break
    return sign + ("".join(texts[:parts]) or "0s")


@dataclass(frozen=True, slots=True)
class Limit:
    """So many, or such a share: "10" or "5%"."""

    count: int | None = None
    percent: float | None = None

    def of(self, total: int) -> int:
        """How many of ``total`` it allows; a share is rounded down, but never below one where it is not zero."""
        if self.count is not None:
            return self.count
        share = self.percent or 0.0
        return max(1, math.floor(total * share / 100)) if share and total else 0

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


def parse_limit(text: str, *, where: str = "") -> Limit:
    """Reads "10" or "5%".

    Raises:
        QuantityError: neither, negative, or over 100 %.
    """
    match = re.fullmatch(r"([0-9]{1,9})|([0-9]+(?:\.[0-9]+)?)%", text.strip())
    hint = 'write a number like "10" or a share like "5%"'
    if match is None:
        raise QuantityError(f"{_shown(text)} is neither a number nor a percentage", hint=hint, where=where)
    if match[1] is not None:
        return Limit(count=int(match[1]))
    percent = float(match[2])
    if percent > 100:
        raise QuantityError(f"{text!r} is more than everything", hint=hint, where=where)
    return Limit(percent=percent)
