"""Kubernetes' protobuf, as far as typed clients send it: kubectl's ``create`` and ``auth`` speak nothing else.

Bodies begin with four magic bytes and hold a ``runtime.Unknown`` around the object
(k8s.io/apimachinery/pkg/runtime/serializer/protobuf). Field numbers stand in ``schemas/protobuf.json``;
answers are JSON,
which such clients accept.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources as package_data
from typing import Any, Final

import msgspec

from vmkit.lab.clock import format_micro_time, format_time
from vmkit.lab.semantics.decoding import DecodeFailed

_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 64

# Go structs that are no pointers are always on the wire: empty, they say nothing.
_STRUCTS: Final = frozenset(
    (
        "metadata",
        "spec",
        "status",
        "resources",
        "strategy",
        "loadBalancer",
        "template",
        "source",
        "jobTemplate",
        "involvedObject",
        "nodeInfo",
        "daemonEndpoints",
        "state",
        "lastState",
        "target",
        "roleRef",
        "kubeletEndpoint",
    )
)
# Numbers and truths that are pointers in Go are on the wire only when set: zero and false count.
_POINTERS: Final = frozenset(
    (
        "replicas",
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "suspend",
        "manualSelector",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "automountServiceAccountToken",
        "controller",
        "blockOwnerDeletion",
        "optional",
        "immutable",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "fsGroup",
        "privileged",
        "allowPrivilegeEscalation",
        "readOnlyRootFilesystem",
        "shareProcessNamespace",
        "enableServiceLinks",
        "tolerationSeconds",
        "gracePeriodSeconds",
        "orphanDependents",
        "defaultMode",
        "mode",
        "priority",
        "expirationSeconds",
        "deletionGracePeriodSeconds",
        "leaseTransitions",
        "leaseDurationSeconds",
        "value",
    )
)

Fields = Mapping[str, list[str]]


@cache
def _messages() -> Mapping[str, Fields]:
    data = package_data.files("vmkit.lab.schemas").joinpath("protobuf.json").read_bytes()
    messages: Mapping[str, Fields] = msgspec.json.decode(data)
    return messages


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """The object of a protobuf body.

    Raises:
        DecodeFailed: it is malformed, or of a kind whose fields are not known here.
    """
    if not body.startswith(_MAGIC):
        raise DecodeFailed("provided data does not appear to be a protobuf message")
    api_version, kind, raw = "", "", b""
    for number, value in _fields(body[len(_MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for inner, text in _fields(value):
                if inner == 1:
                    api_version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
    name = f"{_package(api_version)}.{kind}"
    if name not in _messages():
        name = f"meta.v1.{kind}"
    if name not in _messages():
        raise DecodeFailed(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind, **_decode_message(name, raw, 0)}


def _package(api_version: str) -> str:
    group, _, version = api_version.rpartition("/")
    return f"{group.partition('.')[0] or 'core'}.{version}"


def _decode_message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise DecodeFailed("the message is nested too deeply")
    fields = _messages().get(name, {})
    result: dict[str, Any] = {}
    for number, value in _fields(data):
        known = fields.get(str(number))
        if known is None:
            continue
        field, kind, *rest = known
        shape = rest[0] if rest else ""
        if shape == "map":
            key, item = _entry(kind, value, depth)
            result.setdefault(field, {})[key] = item
        elif shape == "list":
            result.setdefault(field, []).append(_value(kind, value, depth))
        else:
            decoded = _value(kind, value, depth)
            if _says_something(field, decoded):
                result[field] = decoded
    return result


def _says_something(field: str, value: Any) -> bool:
    if value is None or value == "":
        return False
    if value == {}:
        return field not in _STRUCTS
    if value is False or (isinstance(value, int) and value == 0):
        return field in _POINTERS
    return True


def _entry(kind: str, data: Any, depth: int) -> tuple[str, Any]:
    key: str = ""
    item: Any = "" if kind == "string" else None
    for number, value in _fields(_bytes(data)):
        if number == 1:
            key = _text(value)
        elif number == 2:
            item = _value(kind, value, depth)
            if kind.endswith(".ExtraValue"):
                item = item.get("items", [])
    return key, item


def _value(kind: str, value: Any, depth: int) -> Any:
    if kind == "string":
        return _text(value)
    if kind == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    if kind == "bool":
        return bool(value)
    if kind == "int":
        if not isinstance(value, int):
            raise DecodeFailed("proto: wrong wireType for a number")
        return value - (1 << 64) if value >= 1 << 63 else value
    if kind == "float64":
        return struct.unpack("<d", struct.pack("<Q", value))[0] if isinstance(value, int) else 0.0
    return _special(kind, _bytes(value)) if kind in _SPECIAL else _decode_message(kind, _bytes(value), depth + 1)


_SPECIAL: Final = frozenset(
    (
        "meta.v1.Time",
        "meta.v1.MicroTime",
        "api.resource.Quantity",
        "util.intstr.IntOrString",
        "meta.v1.FieldsV1",
        "meta.v1.Fields",
        "runtime.RawExtension",
    )
)


def _special(kind: str, data: bytes) -> Any:
    parts = dict(_fields(data))
    if kind in ("meta.v1.Time", "meta.v1.MicroTime"):
        if 1 not in parts:
            return None
        at = datetime.fromtimestamp(parts[1], UTC).replace(microsecond=parts.get(2, 0) // 1000)
        return format_time(at) if kind == "meta.v1.Time" else format_micro_time(at)
    if kind == "api.resource.Quantity":
        return _text(parts.get(1, b""))
    if kind == "util.intstr.IntOrString":
        return _text(parts.get(3, b"")) if parts.get(1) else parts.get(2, 0)
    try:
        return msgspec.json.decode(parts.get(1, b"") or b"{}")
    except msgspec.DecodeError as error:
        raise DecodeFailed(str(error)) from error


def _text(value: Any) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise DecodeFailed("proto: invalid UTF-8 in string") from error


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeFailed("proto: wrong wireType")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: number, and an integer or bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if position + size > len(data):
                raise DecodeFailed("unexpected EOF")
            yield number, int.from_bytes(data[position : position + size], "little")
            position += size
        elif wire == 2:
            size, position = _varint(data, position)
            if position + size > len(data):
                raise DecodeFailed("unexpected EOF")
            yield number, data[position : position + size]
            position += size
        else:
            raise DecodeFailed(f"proto: illegal wireType {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data):
            raise DecodeFailed("unexpected EOF")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & ((1 << 64) - 1), position
        shift += 7
        if shift > 63:
            raise DecodeFailed("proto: integer overflow")
