"""Manifests held to the API schemas that the practice cluster serves, unknown fields refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

from vmkit.lab.schemas import OBJECT_META

_DEFINITIONS = ("kubevirt.io_v1", "cdi.kubevirt.io_v1beta1", "kubernetes")
_SINGLE = {
    ("ceph.rook.io/v1", "CephBlockPool"): "cephblockpools.ceph.rook.io_v1",
    ("ceph.rook.io/v1", "CephFilesystem"): "cephfilesystems.ceph.rook.io_v1",
}
# The definition of kubernetes-csi/external-snapshotter, client/config/crd, v8: small enough to stand here.
_SNAPSHOT_CLASS = {
    "type": "object",
    "required": ["deletionPolicy", "driver"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "deletionPolicy": {"type": "string", "enum": ["Delete", "Retain"]},
        "driver": {"type": "string"},
        "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """What the manifest's schema has against it, as "path: message"."""
    validator = _validator(manifest["apiVersion"], manifest["kind"])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    if kind == "VolumeSnapshotClass":
        return jsonschema.Draft202012Validator(_strict(_SNAPSHOT_CLASS))
    if (api_version, kind) in _SINGLE:
        return jsonschema.Draft202012Validator(_strict(_load(_SINGLE[api_version, kind])))
    group, _, version = api_version.rpartition("/")
    reverse = ".".join(reversed(group.split(".")))
    names = (f"io.k8s.api.{group.split('.')[0] or 'core'}.{version}.{kind}", f"{reverse}.{version}.{kind}")
    for name in names:
        if name in _strict_all():
            root = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": _strict_all()}}
            return jsonschema.Draft202012Validator(root)
    raise AssertionError(f"no schema for {kind} of {api_version}")


@cache
def _load(name: str) -> dict[str, Any]:
    return json.loads(resources.files("vmkit.lab.schemas").joinpath(f"{name}.json").read_text())


@cache
def _strict_all() -> dict[str, Any]:
    schemas = {key: _strict(schema) for file in _DEFINITIONS for key, schema in _load(file).items()}
    return {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": _strict(OBJECT_META), **schemas}


def _strict(schema: Any) -> Any:
    """The schema with unknown fields refused where the API server would prune or refuse them."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Patterns are Go's; ``format`` and the x- extensions say nothing to jsonschema.
    strict = {key: _strict(value) for key, value in schema.items() if key not in {"format", "nullable"}}
    if schema.get("format") == "int-or-string":
        strict["type"] = ["integer", "string"]
    if (
        isinstance(strict.get("properties"), dict)
        and "additionalProperties" not in strict
        and not strict.get("x-kubernetes-preserve-unknown-fields")
        and not strict.get("x-kubernetes-embedded-resource")
        and "type" in strict
    ):
        strict["additionalProperties"] = False
    return strict
