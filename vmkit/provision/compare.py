"""What is there against what is wanted: only the fields vmkit sends count. Pure.

A server adds much to an object; what it adds is no difference. A field vmkit sent once and does not send any more
would be removed by the next apply (its name stands in managedFields), so that is one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.errors import InputError
from vmkit.provision.walk import as_list, as_mapping, dig
from vmkit.provision.yamlwrite import write_yaml
from vmkit.units import parse_quantity
from vmkit.vm.markers import FIELD_MANAGER

_QUANTITY: Final = re.compile(r"[0-9.]+(?:[eE][0-9]+|[munkMGTPE]i?|Ki)?")
_IDENTITY: Final = frozenset({"apiVersion", "kind"})
POWER_FIELDS: Final = ("runStrategy", "running")
"""What says whether a VM runs: never sent for a VM that exists (facts: a stop makes virt-api its owner)."""

_MISSING: Final = object()


def without_power(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A VirtualMachine without its run strategy; any other object as it is."""
    if manifest.get("kind") != "VirtualMachine":
        return dict(manifest)
    spec = {key: value for key, value in as_mapping(manifest.get("spec")).items() if key not in POWER_FIELDS}
    return {**manifest, "spec": spec}


def shared_part(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``live`` that ``wanted`` speaks of, and what vmkit owns there beyond it.

    Equal to ``wanted`` where nothing differs: quantities that mean the same read alike, and what a server drops
    because it says nothing (an empty list, false) is taken as said.
    """
    part = _shared(live, wanted, "")
    assert isinstance(part, dict)
    for path in _owned_paths(live):
        if path[0] in _IDENTITY or path[:2] == ("spec", "runStrategy") or path[:2] == ("spec", "running"):
            continue
        if path[:2] == ("metadata", "ownerReferences"):
            continue
        _add_forgotten(part, live, wanted, path)
    return part


def _shared(live: Any, wanted: Any, key: str) -> Any:
    if live is _MISSING:
        # Go leaves such values out when it writes an object back.
        return wanted if wanted in ({}, [], "", False) else _MISSING
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        part = {}
        for name, item in wanted.items():
            value = _shared(live.get(name, _MISSING), item, name)
            if value is not _MISSING:
                part[name] = value
        return part
    if isinstance(wanted, list) and isinstance(live, list):
        if len(wanted) == len(live):
            return [_shared(one, other, key) for one, other in zip(live, wanted, strict=True)]
        return live
    return wanted if _same_scalar(live, wanted) else live


def _same_scalar(live: Any, wanted: Any) -> bool:
    if live == wanted and type(live) is type(wanted):
        return True
    if isinstance(live, bool) or isinstance(wanted, bool):
        return False
    texts = (str(live), str(wanted))
    if isinstance(live, str | int) and isinstance(wanted, str | int) and all(map(_QUANTITY.fullmatch, texts)):
        try:
            return parse_quantity(live) == parse_quantity(wanted)
        except InputError:
            return False
    return False


def _owned_paths(live: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The plain field paths that vmkit owns by apply; lists are compared whole, so their items are passed over."""
    for entry in as_list(dig(live, "metadata", "managedFields")):
        fields = as_mapping(as_mapping(entry).get("fieldsV1"))
        if as_mapping(entry).get("manager") == FIELD_MANAGER and as_mapping(entry).get("operation") == "Apply":
            yield from _leaves(fields, ())


def _leaves(fields: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    below = {key[2:]: value for key, value in fields.items() if key.startswith("f:")}
    for name, value in below.items():
        inner = as_mapping(value)
        if any(key.startswith("f:") for key in inner):
            yield from _leaves(inner, (*path, name))
        elif not any(key.startswith("k:") for key in inner):
            yield (*path, name)


def _add_forgotten(part: dict[str, Any], live: Any, wanted: Any, path: tuple[str, ...]) -> None:
    here: Any = part
    for depth, name in enumerate(path):
        live = live.get(name, _MISSING) if isinstance(live, Mapping) else _MISSING
        wanted = wanted.get(name, _MISSING) if isinstance(wanted, Mapping) else _MISSING
        if live is _MISSING or not isinstance(here, dict):
            return
        if wanted is _MISSING:
            here.setdefault(name, live)
            return
        if depth < len(path) - 1:
            here = here.setdefault(name, {})


def owns_power(live: Mapping[str, Any]) -> bool:
    """Whether vmkit's own apply still owns the run strategy: leaving it out would then remove it."""
    return any(path[:1] == ("spec",) and path[1:2] and path[1] in POWER_FIELDS for path in _owned_paths(live))


def render_diff(live: Mapping[str, Any] | None, wanted: Mapping[str, Any], *, name: str) -> str:
    """A unified diff from what is there to what is wanted; empty where nothing differs.

    Args:
        live: as `shared_part` gives it; None where there is no such object.
        name: what the diff calls the object.
    """
    before = write_yaml(_ordered(live, wanted)).splitlines(keepends=True) if live else []
    after = write_yaml(wanted).splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"live/{name}" if live else "/dev/null", f"wanted/{name}"))


def _ordered(value: Any, like: Any) -> Any:
    """``value`` with its keys in the order of ``like``, so that a diff shows differences only."""
    if isinstance(value, Mapping) and isinstance(like, Mapping):
        keys = [key for key in like if key in value] + [key for key in value if key not in like]
        return {key: _ordered(value[key], like.get(key)) for key in keys}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [_ordered(one, other) for one, other in zip(value, like, strict=True)]
    return value
