"""Compares what Git wants with what is there, as Argo CD does: only fields that are asked for count. Pure.

Source: Argo CD docs/user-guide/{diffing,sync-options}.md; gitops-engine pkg/diff.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]
Path = tuple[str | int, ...]


def find_drift(
    desired: Mapping[str, Any], live: Mapping[str, Any] | None, ignored: Sequence[Path] = ()
) -> list[Path]:
    """The paths at which a live object differs from the desired one; the empty path if it is missing.

    Lists of objects with names are compared by name, as the API merges them; other lists as a whole.
    """
    if live is None:
        return [()]
    found: list[Path] = []
    for key in ("metadata", "spec", "data", "stringData"):
        if key in desired and key != "metadata":
            _compare(desired[key], live.get(key), (key,), found)
    for key in ("labels", "annotations"):
        wanted = (desired.get("metadata") or {}).get(key)
        if wanted:
            _compare(wanted, (live.get("metadata") or {}).get(key) or {}, ("metadata", key), found)
    return [path for path in found if not any(path[: len(prefix)] == prefix for prefix in ignored)]


def _compare(desired: Any, live: Any, path: Path, found: list[Path]) -> None:
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        for key, value in desired.items():
            if value is None and key not in live:
                continue
            _compare(value, live.get(key), (*path, key), found)
    elif isinstance(desired, list) and isinstance(live, list) and _is_named(desired) and _is_named(live):
        known = {item["name"]: item for item in live}
        for item in desired:
            _compare(item, known.get(item["name"]), (*path, item["name"]), found)
    elif desired != live:
        found.append(path)


def _is_named(items: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items)


def heal(desired: Mapping[str, Any], live: Mapping[str, Any], kept: Sequence[Path] = ()) -> Object:
    """The live object with the desired fields put back; paths that begin with one of ``kept`` stay as they are."""
    healed = copy.deepcopy(dict(live))
    for key in ("spec", "data", "stringData"):
        if key in desired:
            healed[key] = _overlay(desired[key], healed.get(key), (key,), kept)
    metadata = healed.setdefault("metadata", {})
    for key in ("labels", "annotations"):
        wanted = (desired.get("metadata") or {}).get(key)
        if wanted:
            metadata[key] = {**(metadata.get(key) or {}), **wanted}
    return healed


def _overlay(desired: Any, live: Any, path: Path, kept: Sequence[Path]) -> Any:
    if live is not None and any(path[: len(prefix)] == prefix for prefix in kept):
        return live
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return {
            **live,
            **{key: _overlay(value, live.get(key), (*path, key), kept) for key, value in desired.items()},
        }
    if isinstance(desired, list) and isinstance(live, list) and _is_named(desired) and _is_named(live):
        wanted = {item["name"]: item for item in desired}
        merged = [_overlay(wanted.pop(item["name"], item), item, (*path, item["name"]), kept) for item in live]
        return merged + [item for item in desired if item["name"] in wanted]
    return copy.deepcopy(desired)


def read_ignored(differences: Iterable[Mapping[str, Any]], obj: Mapping[str, Any]) -> list[Path]:
    """The paths that an Application's ``ignoreDifferences`` leave out for an object.

    JSON pointers and plain jq paths (``.spec.runStrategy``) are understood, and managers of fields.
    """
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    metadata = obj.get("metadata") or {}
    paths: list[Path] = []
    for each in differences:
        if each.get("group", "") not in ("*", group) or each.get("kind") not in ("*", obj.get("kind")):
            continue
        if each.get("name") not in (None, "", metadata.get("name")):
            continue
        if each.get("namespace") not in (None, "", metadata.get("namespace")):
            continue
        paths += [_pointer(text) for text in each.get("jsonPointers") or ()]
        paths += [path for text in each.get("jqPathExpressions") or () if (path := _jq(text))]
        managers = set(each.get("managedFieldsManagers") or ())
        for entry in metadata.get("managedFields") or ():
            if entry.get("manager") in managers:
                paths += list(_owned(entry.get("fieldsV1") or {}, ()))
    return paths


def _pointer(text: str) -> Path:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _jq(text: str) -> Path:
    if not re.fullmatch(r"(\.[A-Za-z_][\w-]*|\[\"[^\"]+\"\])+", text):
        return ()
    return tuple(a or b for a, b in re.findall(r"\.([A-Za-z_][\w-]*)|\[\"([^\"]+)\"\]", text))


def _owned(fields: Mapping[str, Any], path: Path) -> Iterable[Path]:
    below = {key: value for key, value in fields.items() if key != "."}
    if not below and path:
        yield path
    for key, value in below.items():
        if key.startswith("f:"):
            yield from _owned(value, (*path, key[2:]))
        elif match := re.fullmatch(r'k:\{"name":"(.+)"\}', key):
            yield from _owned(value, (*path, match[1]))


def judge_health(obj: Mapping[str, Any]) -> tuple[str, str]:
    """The health of an object: (status, message).

    Source: Argo CD resource_customizations/kubevirt.io/VirtualMachine/health.lua and cdi.kubevirt.io/DataVolume.
    """
    status = obj.get("status") or {}
    if obj.get("kind") == "VirtualMachine":
        if not status:
            return "Progressing", ""
        conditions = {each.get("type"): each for each in status.get("conditions") or ()}
        ready = conditions.get("Ready") or {}
        if (conditions.get("Paused") or {}).get("status") == "True":
            return "Suspended", str(conditions["Paused"].get("message", "Paused"))
        if ready.get("status") == "True":
            return "Healthy", "Running"
        if not status.get("created"):
            return "Suspended", "Stopped"
        return "Progressing", str(status.get("printableStatus", ""))
    if obj.get("kind") == "DataVolume":
        phase = str(status.get("phase", ""))
        return {"Succeeded": "Healthy", "Failed": "Degraded"}.get(phase, "Progressing"), phase
    return "Healthy", ""


def worst_health(states: Iterable[str]) -> str:
    """The health of a whole Application: the worst of its objects', in Argo CD's order."""
    order = ("Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown")
    return max(states, key=order.index, default="Healthy")
