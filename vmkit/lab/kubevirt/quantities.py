"""Kubernetes quantities as Go reads and writes them: "1024Mi" comes back as "1Gi".

KubeVirt's mutating webhooks decode an object into Go structs and write it back, so quantities in what they return
are in canonical form (k8s.io/apimachinery/pkg/api/resource.Quantity).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from vmkit.errors import QuantityError
from vmkit.units import parse_quantity

BAD_FORMAT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SHAPE: Final = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*")
_BINARY: Final = (("Ei", 2**60), ("Pi", 2**50), ("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_DECIMAL: Final = (("E", 10**18), ("P", 10**15), ("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3))


class BadQuantity(ValueError):
    """A text that Go's resource.Quantity refuses; the message is Go's."""


def read(value: object) -> Decimal:
    """The value of a quantity; an absent one (None, "") is 0.

    Raises:
        BadQuantity: not a quantity.
    """
    if value is None or value == "":
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadQuantity(BAD_FORMAT)
    try:
        return parse_quantity(value)
    except QuantityError:
        if isinstance(value, str) and _SHAPE.fullmatch(value):
            raise BadQuantity("unable to parse quantity's suffix") from None
        raise BadQuantity(BAD_FORMAT) from None


def whole(value: object) -> int:
    """The value rounded up to a whole number, as Go's Quantity.Value does."""
    return math.ceil(read(value))


def canonical(value: object) -> str:
    """The quantity as Go writes it: the largest suffix of its own kind that leaves a whole number.

    Raises:
        BadQuantity: not a quantity.
    """
    text = str(value)
    amount = read(value)
    if "e" in text.lower().lstrip("0123456789+-.")[:1] and text[-1:].isdigit():
        return _exponent(amount)
    if text.endswith("i") and abs(amount) >= 1024 and amount == amount.to_integral_value():
        return _largest(int(amount), _BINARY)
    return _decimal(amount)


def binary(size: int) -> str:
    """Bytes in binary suffixes: 301989888 -> "288Mi"."""
    return _largest(size, _BINARY)


def _largest(amount: int, units: tuple[tuple[str, int], ...]) -> str:
    for suffix, factor in units:
        if amount and amount % factor == 0:
            return f"{amount // factor}{suffix}"
    return str(amount)


def _decimal(amount: Decimal) -> str:
    if amount == amount.to_integral_value():
        return _largest(int(amount), _DECIMAL)
    for suffix, digits in (("m", 3), ("u", 6), ("n", 9)):
        scaled = amount.scaleb(digits)
        if scaled == scaled.to_integral_value() or suffix == "n":
            return f"{math.ceil(scaled)}{suffix}"
    raise AssertionError("unreachable")


def _exponent(amount: Decimal) -> str:
    if amount != amount.to_integral_value():
        return _decimal(amount)
    for exponent in (18, 15, 12, 9, 6, 3):
        if amount and int(amount) % 10**exponent == 0:
            return f"{int(amount) // 10**exponent}e{exponent}"
    return str(int(amount))
