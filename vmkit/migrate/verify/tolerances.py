"""What may differ between the VM's answer and another one's, because somebody said so. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import ManifestError
from vmkit.migrate.verify.exchange import Request

MASK: Final = "…"
_KEYS: Final = frozenset({"service", "path", "ignorePointers", "masks", "ignoreHeaders", "ignoreBody", "reason"})


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may differ, and where.

    Attributes:
        service, path: which answers; "*" and "?" as in file names, the path without its query.
        pointers: places of a JSON body that are left out (RFC 6901; "*" for every entry of a list or mapping).
        masks: what matches is taken for the same text.
        headers: names in small letters that are not compared.
        body: whether the body is not compared at all.
        reason: why, for the report.
    """

    service: str = "*"
    path: str = "*"
    pointers: tuple[str, ...] = ()
    masks: tuple[re.Pattern[str], ...] = ()
    headers: frozenset[str] = frozenset()
    body: bool = False
    reason: str = ""

    def applies(self, request: Request) -> bool:
        plain = request.path.partition("?")[0]
        return fnmatch.fnmatchcase(request.service, self.service) and fnmatch.fnmatchcase(plain, self.path)


def merge(tolerances: Sequence[Tolerance], request: Request) -> Tolerance:
    """Everything that may differ in the answers to one request."""
    found = [one for one in tolerances if one.applies(request)]
    return Tolerance(
        request.service,
        request.path,
        tuple(pointer for one in found for pointer in one.pointers),
        tuple(mask for one in found for mask in one.masks),
        frozenset(name for one in found for name in one.headers),
        any(one.body for one in found),
        "; ".join(one.reason for one in found if one.reason),
    )


def parse_tolerances(document: Any, *, where: str) -> list[Tolerance]:
    """Reads a tolerance file: ``tolerances:`` with one mapping each, docs/migrate.md says with what keys.

    Raises:
        ManifestError: something in it cannot be understood.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("tolerances"), list) or len(document) != 1:
        raise ManifestError("has not just a list under the key tolerances", hint=_EXAMPLE, where=where)
    return [_parse(row, f"{where}, tolerance {number}") for number, row in enumerate(document["tolerances"], 1)]


_EXAMPLE: Final = (
    'tolerances: [{service: web, path: "/status", ignorePointers: [/uptime], reason: "it is a clock"}]'
)


def _parse(row: Any, where: str) -> Tolerance:
    if not isinstance(row, Mapping):
        raise ManifestError("is no mapping", hint=_EXAMPLE, where=where)
    unknown = sorted(str(key) for key in row if key not in _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise ManifestError(
            f"has keys that are not known: {', '.join(unknown)}", hint=f"known: {known}", where=where
        )
    if not isinstance(row.get("ignoreBody", False), bool):
        raise ManifestError("ignoreBody is neither true nor false", where=where)
    pointers = _texts(row, "ignorePointers", where)
    for pointer in pointers:
        if not pointer.startswith("/"):
            raise ManifestError(f"{pointer!r} is no JSON pointer", hint='it begins with "/"', where=where)
    masks = []
    for text in _texts(row, "masks", where):
        try:
            masks.append(re.compile(text))
        except re.error as error:
            raise ManifestError(f"mask {text!r} is no regular expression: {error}", where=where) from error
    headers = frozenset(name.lower() for name in _texts(row, "ignoreHeaders", where))
    service, path, reason = (
        _text(row, key, default, where) for key, default in (("service", "*"), ("path", "*"), ("reason", ""))
    )
    found = Tolerance(service, path, tuple(pointers), tuple(masks), headers, row.get("ignoreBody", False), reason)
    if not (pointers or masks or headers or found.body):
        raise ManifestError("tolerates nothing", hint=_EXAMPLE, where=where)
    return found


def _text(row: Mapping[str, Any], key: str, default: str, where: str) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise ManifestError(f"{key} is no text", where=where)
    return value


def _texts(row: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = row.get(key) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ManifestError(f"{key} is no list of texts", where=where)
    return value
