"""Metadata of objects, checked as every kind's is (k8s.io/apimachinery/pkg/api/validation/objectmeta.go)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.lab.semantics.names import check_label_key, check_label_value, check_name, check_qualified_name
from vmkit.lab.status import Cause

_MAX_ANNOTATION_BYTES: Final = 256 * 1024
_FIXED: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


_STANDARD_FINALIZERS: Final = ("kubernetes", "orphan", "foregroundDeletion")


def find_metadata_errors(
    metadata: Mapping[str, Any], *, style: str, namespaced: bool, builtin: bool
) -> Iterator[Cause]:
    """What is wrong with the metadata of a new object.

    Args:
        style: how its name must look (`vmkit.lab.semantics.names.check_name`).
        builtin: its kind is Kubernetes' own, whose finalizers are checked more closely.
    """
    prefix = metadata.get("generateName", "")
    if prefix:
        for complaint in check_name(prefix, style, prefix=True):
            yield invalid_value("metadata.generateName", prefix, complaint)
    name = metadata.get("name", "")
    if not name:
        yield Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
    else:
        for complaint in check_name(name, style):
            yield invalid_value("metadata.name", name, complaint)
    if not namespaced and metadata.get("namespace"):
        yield Cause("FieldValueForbidden", "Forbidden: not allowed on this type", "metadata.namespace")
    yield from _find_map_errors(metadata, builtin)


def _find_map_errors(metadata: Mapping[str, Any], builtin: bool) -> Iterator[Cause]:
    for key, value in (metadata.get("labels") or {}).items():
        complaint = check_label_key(key)
        if complaint:
            yield invalid_value("metadata.labels", key, complaint)
        complaint = check_label_value(value)
        if complaint:
            yield invalid_value("metadata.labels", value, complaint)
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        for complaint in check_qualified_name(key.lower()):
            yield invalid_value("metadata.annotations", key, complaint)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MAX_ANNOTATION_BYTES:
        message = f"Too long: may not be more than {_MAX_ANNOTATION_BYTES} bytes"
        yield Cause("FieldValueTooLong", message, "metadata.annotations")
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                where = (
                    f"metadata.ownerReferences[{index}].{field}"
                    if field != "apiVersion"
                    else (f"metadata.ownerReferences[{index}].apiVersion")
                )
                shown = {"apiVersion": "version must not be empty"}.get(field, f"{field} must not be empty")
                yield invalid_value(where, owner.get(field, ""), shown)
    controllers = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        names = " and ".join(f"{owner['kind']}/{owner['name']}" for owner in controllers[:2])
        yield invalid_value(
            "metadata.ownerReferences",
            list(metadata["ownerReferences"]),
            f'Only one reference can have Controller set to true. Found "true" in references for {names}',
        )
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        for complaint in check_qualified_name(finalizer):
            yield invalid_value(f"metadata.finalizers[{index}]", finalizer, complaint)
        if builtin and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            # pkg/apis/core/validation, validateKubeFinalizerName
            message = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid_value(f"metadata.finalizers[{index}]", finalizer, message)


def find_metadata_changes(new: Mapping[str, Any], old: Mapping[str, Any], *, builtin: bool) -> Iterator[Cause]:
    """What an update must not do to metadata. What is left empty counts as unchanged."""
    for field in _FIXED:
        if new.get(field) and new[field] != old.get(field):
            yield invalid_value(f"metadata.{field}", new[field], "field is immutable")
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            listed = ", ".join(json.dumps(each) for each in added)
            message = (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            yield Cause("FieldValueForbidden", message, "metadata.finalizers")
    yield from _find_map_errors(new, builtin)


def invalid_value(field: str, value: Any, complaint: str) -> Cause:
    """A FieldValueInvalid cause."""
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {complaint}", field)
