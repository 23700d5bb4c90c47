"""Whether two answers to one request are the same in everything that matters. Pure."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from vmkit.migrate.verify.exchange import Answer, Request
from vmkit.migrate.verify.tolerances import MASK, Tolerance

HEADERS: Final = (
    "content-type", "location", "www-authenticate", "allow", "content-disposition", "content-language",
    "cache-control", "access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers",
    "access-control-allow-credentials", "strict-transport-security", "content-security-policy", "x-frame-options",
    "x-content-type-options",
)  # fmt: skip
"""The headers that change what a client does. Of Set-Cookie only the names and attributes are compared: values are
made anew on each side. Date, Server, ETag and their like are the server's own business."""
_UNPACKED_BYTES: Final = 64 * 2**20
_SHOWN: Final = 80
_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where an answer is not the VM's: "status", "header location", "body /visits", "body"."""

    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.place}: {self.found}, the VM said {self.expected}"


def compare_answers(request: Request, expected: Answer, found: Answer, tolerance: Tolerance) -> list[Difference]:
    """What differs between the VM's answer and another one's; nothing where they are the same.

    Both must be answers; one that never came is no difference but no evidence.
    """
    differences: list[Difference] = []
    if expected.status != found.status:
        differences.append(Difference("status", str(expected.status), str(found.status)))
    for name in HEADERS:
        if name in tolerance.headers:
            continue
        ours, theirs = (_normal_header(name, one.header(name)) for one in (found, expected))
        if ours != theirs:
            differences.append(Difference(f"header {name}", _show(theirs), _show(ours)))
    if "set-cookie" not in tolerance.headers:
        ours, theirs = _cookies(found), _cookies(expected)
        if ours != theirs:
            differences.append(Difference("header set-cookie", _show(theirs), _show(ours)))
    if request.method != "HEAD" and not tolerance.body:
        differences += _compare_bodies(expected, found, tolerance)
    return differences


def _normal_header(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    if name == "location":
        # An absolute URL names the host and port that were asked, which are not the same on both sides.
        parts = urlsplit(value)
        return parts._replace(scheme="", netloc="").geturl() if parts.netloc else value
    if name == "content-type":
        return re.sub(r"\s*;\s*", "; ", value.strip()).lower()
    if name in ("allow", "access-control-allow-methods", "access-control-allow-headers"):
        return ", ".join(sorted(one.strip().lower() for one in value.split(",")))
    return value.strip()


def _cookies(answer: Answer) -> str | None:
    rows = []
    for key, value in answer.headers:
        if key == "set-cookie":
            pair, *attributes = (one.strip() for one in value.split(";"))
            kept = sorted(one.partition("=")[0].lower() for one in attributes)
            rows.append("; ".join([pair.partition("=")[0], *kept]))
    return ", ".join(sorted(rows)) if rows else None


def _compare_bodies(expected: Answer, found: Answer, tolerance: Tolerance) -> list[Difference]:
    theirs, ours = _decoded(expected), _decoded(found)
    if theirs == ours:
        return []
    if "json" in (expected.header("content-type") or ""):
        try:
            left, right = json.loads(theirs), json.loads(ours)
        except (ValueError, RecursionError):
            pass
        else:
            rows: list[Difference] = []
            _compare_json(left, right, "", tolerance, rows)
            return rows
    masked = [_mask(one.decode("utf-8", "surrogateescape"), tolerance) for one in (theirs, ours)]
    if tolerance.masks and masked[0] == masked[1]:
        return []
    at = next((n for n, (a, b) in enumerate(zip(*masked, strict=False)) if a != b), min(map(len, masked)))
    where = f"body, character {at}" if at else "body"
    # A little of what comes before shows where it is.
    return [Difference(where, *(_show(one[max(0, at - 20) : at + _SHOWN]) for one in masked))]


def _decoded(answer: Answer) -> bytes:
    """The body without its Content-Encoding, where that is known and does not grow beyond measure."""
    try:
        match answer.header("content-encoding"):
            case "gzip" | "x-gzip":
                unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            case "deflate":
                unpacker = zlib.decompressobj()
            case _:
                return answer.body
        data = unpacker.decompress(answer.body, _UNPACKED_BYTES)
    except (zlib.error, gzip.BadGzipFile):
        return answer.body
    return answer.body if unpacker.unconsumed_tail else data


def _mask(text: str, tolerance: Tolerance) -> str:
    for mask in tolerance.masks:
        text = mask.sub(MASK, text)
    return text


def _compare_json(expected: Any, found: Any, pointer: str, tolerance: Tolerance, rows: list[Difference]) -> None:
    if pointer and any(_points(one, pointer) for one in tolerance.pointers):
        return
    if len(rows) >= 20 or pointer.count("/") > _DEPTH:
        if expected != found and len(rows) < 21:
            rows.append(Difference(f"body {pointer}", "something else", "something"))
        return
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in expected and key in found:
                _compare_json(expected[key], found[key], below, tolerance, rows)
            elif not any(_points(one, below) for one in tolerance.pointers):
                rows.append(
                    Difference(f"body {below}", _show(_text(expected.get(key)) if key in expected else None),
                               _show(_text(found.get(key)) if key in found else None))
                )  # fmt: skip
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            rows.append(Difference(f"body {pointer or '/'}", f"{len(expected)} entries", f"{len(found)} entries"))
        for index, (left, right) in enumerate(zip(expected, found, strict=False)):
            _compare_json(left, right, f"{pointer}/{index}", tolerance, rows)
    elif type(expected) is not type(found) or expected != found:
        left, right = _text(expected), _text(found)
        if not (tolerance.masks and _mask(left, tolerance) == _mask(right, tolerance)):
            rows.append(Difference(f"body {pointer or '/'}", _show(left), _show(right)))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _points(pattern: str, pointer: str) -> bool:
    """Whether a JSON pointer in which "*" stands for any one step is this pointer or above it."""
    wanted, steps = pattern.split("/"), pointer.split("/")
    return len(wanted) <= len(steps) and all(one in ("*", step) for one, step in zip(wanted, steps, strict=False))


def _show(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
