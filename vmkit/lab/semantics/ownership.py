"""Who owns which field: ``managedFields`` kept on updates, and server-side apply.

Follows sigs.k8s.io/structured-merge-diff (merge/update.go, typed/compare.go, typed/remove.go) and
k8s.io/apimachinery/pkg/util/managedfields. Objects are plain dicts; nothing here changes its arguments unless
said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.lab.semantics.fieldset import FieldSet, item_step, step_type
from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import ApiError, Cause, Details

_ABSENT: Final[Any] = object()
_MAX_UPDATE_MANAGERS: Final = 10
_ANCIENT: Final = "ancient-changes"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# What no manager ever owns (managedfields/internal/stripmeta.go).
_STRIPPED_METADATA: Final = (
    "f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName", "f:generation",
    "f:managedFields", "f:resourceVersion",
)  # fmt: skip
# What the server keeps by itself and drops from an applied configuration.
_SERVER_METADATA: Final = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
    "resourceVersion", "selfLink", "uid",
)  # fmt: skip


@dataclass(slots=True)
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: FieldSet = field(default_factory=FieldSet)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Appliers are one across API versions, updaters are not."""
        version = "" if self.operation == "Apply" else self.api_version
        return (self.operation, self.manager, version, self.subresource)

    def describe(self) -> str:
        """As a conflict names it (managedfields/internal/conflict.go printManager)."""
        text = json.dumps(self.manager)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


Owners = dict[tuple[str, str, str, str], Owner]


def read_owners(entries: object) -> Owners:
    """Reads metadata.managedFields.

    Raises:
        ValueError: an entry cannot be understood.
    """
    owners: Owners = {}
    if entries is None:
        return owners
    if not isinstance(entries, Sequence) or isinstance(entries, (str, bytes)):
        raise ValueError("managedFields is not a list")
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("operation") not in ("Apply", "Update"):
            raise ValueError("managedFields has an entry that is neither Apply nor Update")
        owner = Owner(
            manager=str(entry.get("manager", "")),
            operation=entry["operation"],
            api_version=str(entry.get("apiVersion", "")),
            subresource=str(entry.get("subresource", "")),
            time=str(entry.get("time", "")),
            fields=FieldSet.read(entry.get("fieldsV1") or {}),
        )
        owners[owner.identity] = owner
    return owners


def write_owners(owners: Owners) -> list[dict[str, Any]]:
    """Writes metadata.managedFields in the order of a real server."""
    entries: list[dict[str, Any]] = []
    ranked = sorted(owners.values(), key=lambda o: (o.operation, o.time, o.manager, o.api_version, o.subresource))
    for owner in ranked:
        entry: dict[str, Any] = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owner.api_version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owner.fields.write(),
        }
        if owner.subresource:
            entry["subresource"] = owner.subresource
        entries.append(entry)
    return entries


# --- comparing and collecting -----------------------------------------------------------------------------


@dataclass(slots=True)
class Comparison:
    """Which paths differ between two values."""

    added: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    removed: FieldSet = field(default_factory=FieldSet)


def compare(ftype: FieldType, old: Any, new: Any) -> Comparison:
    """Compares two objects field by field (typed/compare.go)."""
    result = Comparison()
    _compare(ftype, old, new, result.added, result.modified, result.removed)
    return result


def _compare(  # noqa: PLR0917 - the three sets are filled side by side
    ftype: FieldType, old: Any, new: Any, added: FieldSet, modified: FieldSet, removed: FieldSet
) -> None:
    if old is _ABSENT:
        added.here = True
    elif new is _ABSENT:
        removed.here = True
    elif old == new and type(old) is type(new):
        return
    olds, news = _parts(ftype, old), _parts(ftype, new)
    if olds is None and news is None:
        if old is not _ABSENT and new is not _ABSENT:
            modified.here = True
        return
    if (olds is None and not _is_empty(old)) or (news is None and not _is_empty(new)):
        # A value changed its shape: the old parts go, the new ones come. What was empty and now has parts (or the
        # other way round) has not changed itself (doMap and doList of typed/compare.go).
        modified.here = True
    olds, news = olds or {}, news or {}
    for step, (child_type, value) in news.items():
        _descend(step, child_type, olds[step][1] if step in olds else _ABSENT, value, added, modified, removed)
    for step, (child_type, value) in olds.items():
        if step not in news:
            _descend(step, child_type, value, _ABSENT, added, modified, removed)


def _is_empty(value: Any) -> bool:
    return value is _ABSENT or value is None or value in ({}, [])


def _descend(  # noqa: PLR0917 - as above
    step: str, ftype: FieldType, old: Any, new: Any, added: FieldSet, modified: FieldSet, removed: FieldSet
) -> None:
    if old is new or (old == new and type(old) is type(new)):
        return
    inner = (FieldSet(), FieldSet(), FieldSet())
    _compare(ftype, old, new, *inner)
    for parent, child in zip((added, modified, removed), inner, strict=True):
        if child:
            parent.children[step] = child


def _parts(ftype: FieldType, value: Any) -> dict[str, tuple[FieldType, Any]] | None:
    """The items of a granular map or list by step; None for what is one value (atomic, scalar, empty)."""
    if isinstance(value, dict):
        if not value or ftype.atomic or ftype.kind in ("scalar", "list"):
            return None
        return {f"f:{key}": (ftype.field(key), item) for key, item in value.items()}
    if isinstance(value, list):
        if not value or ftype.kind != "list" or ftype.atomic:
            return None
        element = ftype.element
        return {item_step(ftype, item, index): (element, item) for index, item in enumerate(value)}
    return None


def collect(ftype: FieldType, value: Any) -> FieldSet:
    """The paths an applied value claims (typed/tofieldset.go): leaves, map keys and list items."""
    node = FieldSet()
    parts = _parts(ftype, value)
    if parts is None:
        return node
    for step, (child_type, item) in parts.items():
        child = collect(child_type, item)
        declared = step[:2] == "f:" and ftype.has_field(step[2:])
        child.here = not declared or not child.children
        node.children[step] = child
    return node


def strip_unowned(fields: FieldSet) -> FieldSet:
    """Takes out what nobody owns: apiVersion, kind, names and what the server keeps itself."""
    children = dict(fields.children)
    for step in ("f:apiVersion", "f:kind"):
        children.pop(step, None)
    metadata = children.pop("f:metadata", None)
    if metadata is not None:
        kept = {s: child for s, child in metadata.children.items() if s not in _STRIPPED_METADATA}
        if kept:
            children["f:metadata"] = FieldSet(children=kept)
    return FieldSet(children=children)


# --- updates ------------------------------------------------------------------------------------------------


def track_update(
    ftype: FieldType,
    old: Mapping[str, Any] | None,
    new: dict[str, Any],
    *,
    empty: Mapping[str, Any],
    manager: str,
    api_version: str,
    subresource: str,
    time: str,
) -> None:
    """Writes ``new``'s managedFields after a create or an update (in place).

    Args:
        old: the stored object; None on create.
        empty: the object before any field is set, which a create is compared with.
        time: the present instant, as it is written.
    """
    metadata = new["metadata"]
    sent = metadata.pop("managedFields", None)
    live = old["metadata"].get("managedFields") if old is not None else None
    owners = _live_or_sent(live, sent, subresource=subresource)
    base = _without_managed(old) if old is not None else empty
    changes = compare(ftype, base, new)
    changed = strip_unowned(changes.added.union(changes.modified))
    removed = strip_unowned(changes.removed)
    mine = Owner(manager, "Update", api_version, subresource, time)
    before = owners.get(mine.identity)
    _yield(owners, mine.identity, changed, removed)
    fields = (before.fields if before is not None else FieldSet()).difference(removed).union(changed)
    if fields:
        mine.fields = fields
        mine.time = before.time if before is not None and before.fields == fields else time
        owners[mine.identity] = mine
    else:
        owners.pop(mine.identity, None)
    _cap(owners)
    if owners:
        metadata["managedFields"] = write_owners(owners)


def _without_managed(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}}


def _live_or_sent(live: object, sent: object, *, subresource: str) -> Owners:
    """Which managedFields count: those sent, unless there are none or they make no sense; ``[{}]`` resets."""
    if not subresource and isinstance(sent, list):
        if not sent or sent == [{}]:
            return {}
        try:
            owners = read_owners(sent)
        except (ValueError, AttributeError):
            owners = {}
        if owners:
            return owners
    try:
        return read_owners(live)
    except (ValueError, AttributeError):
        return {}


def _yield(owners: Owners, mine: tuple[str, str, str, str], changed: FieldSet, removed: FieldSet) -> None:
    """Others lose what was changed or removed; who is left with nothing goes."""
    lost = changed.union(removed)
    if not lost:
        return
    for identity, owner in list(owners.items()):
        if identity == mine:
            continue
        left = owner.fields.difference(lost)
        if not left:
            del owners[identity]
        elif left != owner.fields:
            owner.fields = left


def _cap(owners: Owners) -> None:
    """Merges the oldest updaters beyond ten (managedfields/internal/capmanagers.go)."""
    updaters = [owner for owner in owners.values() if owner.operation == "Update"]
    if len(updaters) <= _MAX_UPDATE_MANAGERS:
        return
    updaters.sort(key=lambda owner: (owner.time, owner.manager))
    for owner in updaters[: len(updaters) - _MAX_UPDATE_MANAGERS + 1]:
        del owners[owner.identity]
        bucket = Owner(_ANCIENT, "Update", owner.api_version, "", owner.time)
        present = owners.setdefault(bucket.identity, bucket)
        present.fields = present.fields.union(owner.fields)
        present.time = max(present.time, owner.time)


# --- server-side apply ----------------------------------------------------------------------------------------


def apply_configuration(
    ftype: FieldType,
    live: Mapping[str, Any] | None,
    configuration: Mapping[str, Any],
    *,
    empty: Mapping[str, Any],
    manager: str,
    api_version: str,
    subresource: str,
    time: str,
    force: bool,
) -> dict[str, Any]:
    """Server-side apply: the merged object, with its managedFields.

    Args:
        live: the stored object, or None when the apply creates it.
        configuration: what was applied, without anything the server keeps itself.

    Raises:
        ApiError: 409, others own fields this would change (unless forced).
    """
    owners = _live_or_sent(live["metadata"].get("managedFields") if live else None, None, subresource="")
    config = dict(configuration)
    config["metadata"] = {
        k: v for k, v in (configuration.get("metadata") or {}).items() if k not in _SERVER_METADATA
    }
    base = _without_managed(live) if live is not None else dict(empty)
    merged = merge(ftype, base, config)
    mine = Owner(manager, "Apply", api_version, subresource, time)
    last = owners.get(mine.identity)
    mine.fields = strip_unowned(collect(ftype, config))
    owners[mine.identity] = mine
    result = _prune(ftype, merged, owners, last)
    changes = compare(ftype, base, result)
    changed = strip_unowned(changes.added.union(changes.modified))
    removed = strip_unowned(changes.removed)
    if not force:
        allowed = _last_applied(ftype, base) if manager == "kubectl" and live is not None else FieldSet()
        _refuse_conflicts(owners, mine.identity, changed.difference(allowed))
    _yield(owners, mine.identity, changed, removed)
    if not mine.fields:
        owners.pop(mine.identity, None)
    elif last is not None and last.fields == mine.fields and last.api_version == api_version:
        mine.time = last.time
    result.setdefault("metadata", {})
    if owners:
        result["metadata"]["managedFields"] = write_owners(owners)
    return result


def _last_applied(ftype: FieldType, live: Mapping[str, Any]) -> FieldSet:
    """Fields that kubectl once applied by itself and that are still so: its server-side apply may take them over.

    managedFields of client-side apply belong to another manager's name
    (managedfields/internal/lastappliedmanager.go).
    """
    text = (live.get("metadata", {}).get("annotations") or {}).get(_LAST_APPLIED)
    try:
        applied = json.loads(text) if text else None
    except ValueError:
        return FieldSet()
    if not isinstance(applied, dict):
        return FieldSet()
    differences = compare(ftype, live, applied)
    claimed = strip_unowned(collect(ftype, applied))
    return claimed.difference(differences.modified).difference(differences.added).difference(differences.removed)


def _refuse_conflicts(owners: Owners, mine: tuple[str, str, str, str], changed: FieldSet) -> None:
    found: list[tuple[Owner, str]] = []
    for identity in sorted(owners, key=lambda key: (key[1], key[0], key[3])):
        if identity != mine:
            owner = owners[identity]
            found.extend((owner, path) for path in owner.fields.intersection(changed).paths())
    if not found:
        return
    if len(found) == 1:
        owner, path = found[0]
        message = f"Apply failed with 1 conflict: conflict with {owner.describe()}: {path}"
    else:
        lines: list[str] = []
        described: list[str] = list(dict.fromkeys(owner.describe() for owner, _ in found))
        for name in described:
            lines.append(f"conflicts with {name}:")
            lines.extend(f"- {path}" for owner, path in found if owner.describe() == name)
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    causes = [Cause("FieldManagerConflict", f"conflict with {owner.describe()}", path) for owner, path in found]
    raise ApiError(409, "Conflict", message, details=Details(causes=causes).to_dict())


def merge(ftype: FieldType, base: Any, config: Any) -> Any:
    """Lays a configuration over a value (typed/merge.go): structs and maps by key, keyed lists by item."""
    if isinstance(base, dict) and isinstance(config, dict) and not ftype.atomic and ftype.kind in ("map", "any"):
        merged = dict(base)
        for key, value in config.items():
            merged[key] = merge(ftype.field(key), base[key], value) if key in base else value
        return merged
    if isinstance(base, list) and isinstance(config, list) and ftype.kind == "list" and not ftype.atomic:
        return _merge_items(ftype, base, config)
    return config


def _merge_items(ftype: FieldType, base: list[Any], config: list[Any]) -> list[Any]:
    """Common items stand in the configuration's order; those only the value has come as soon as they can."""
    olds = {item_step(ftype, item, index): item for index, item in enumerate(base)}
    news = {item_step(ftype, item, index): item for index, item in enumerate(config)}
    element = ftype.element
    merged: list[Any] = []
    left, right = list(olds), list(news)
    while left or right:
        if left and left[0] not in news:
            merged.append(olds[left.pop(0)])
            continue
        if not right:
            # What is left of the value is common, and has been taken with the configuration already.
            left.pop(0)
            continue
        step = right.pop(0)
        merged.append(merge(element, olds[step], news[step]) if step in olds else news[step])
        if step in olds:
            left.remove(step)
    return merged


def remove(ftype: FieldType, value: Any, gone: FieldSet) -> Any:
    """The value without the set's members (typed/remove.go)."""
    parts = _parts(ftype, value)
    if parts is None or not gone.children:
        return value
    kept: list[tuple[str, Any]] = []
    for step, (child_type, item) in parts.items():
        inside = gone.children.get(step)
        if inside is None:
            kept.append((step, item))
        elif not inside.here:
            kept.append((step, remove(child_type, item, inside)))
    if isinstance(value, dict):
        return {step[2:]: item for step, item in kept}
    return [item for _, item in kept]


def _prune(ftype: FieldType, merged: Any, owners: Owners, last: Owner | None) -> dict[str, Any]:
    """Takes out what this applier set last time, does not now, and nobody else owns."""
    if last is None or not last.fields:
        return dict(merged)
    last_named = last.fields.with_named_fields(ftype)
    everything = collect(ftype, merged).with_named_fields(ftype)
    pruned = remove(ftype, merged, last_named)
    owned = FieldSet()
    for owner in owners.values():
        owned = owned.union(owner.fields)
    kept = collect(ftype, pruned).with_named_fields(ftype)
    pruned = remove(ftype, merged, everything.difference(kept.union(owned.with_named_fields(ftype))))
    kept = collect(ftype, pruned).with_named_fields(ftype)
    result: dict[str, Any] = remove(ftype, merged, everything.difference(kept).intersection(last_named))
    return result


__all__ = [
    "Comparison",
    "Owner",
    "apply_configuration",
    "collect",
    "compare",
    "merge",
    "read_owners",
    "remove",
    "step_type",
    "strip_unowned",
    "track_update",
    "write_owners",
]
