"""The scale subresource: replicas of anything that says where it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkit.lab.builtin.columns import format_selector
from vmkit.lab.resources import Object, Registry, Response
from vmkit.lab.semantics.decoding import DecodeFailed, decode_object, parse_json
from vmkit.lab.semantics.jsonpath import find_first, set_path
from vmkit.lab.semantics.patch import apply_json_patch, apply_merge_patch
from vmkit.lab.status import Cause, bad_request, invalid, method_not_allowed, no_such_resource, not_found, stale
from vmkit.lab.store import Store
from vmkit.lab.verbs import JSON_PATCH, Call, Verbs


class Scales:
    """Reads and writes ``autoscaling/v1`` Scales."""

    def __init__(self, store: Store, registry: Registry, verbs: Verbs) -> None:
        self._store = store
        self._registry = registry
        self._verbs = verbs

    def answer(self, call: Call, method: str) -> Response:
        """GET, PUT and PATCH of a scale.

        Raises:
            ApiError: whatever is wrong with it.
        """
        if call.rtype.scale_paths is None:
            raise no_such_resource()
        obj = self._store.find(call.rtype, call.namespace, call.name)
        if obj is None:
            raise not_found(call.rtype, call.name)
        scale = build_scale(call.rtype.scale_paths, obj)
        if method in ("GET", "HEAD"):
            return Response(body=scale)
        if method == "PUT":
            wanted = decode_object(
                call.body, call.content_type, kind="Scale", custom=False, api_version="autoscaling/v1"
            )
        elif method == "PATCH":
            wanted = _patched(call, scale)
        else:
            raise method_not_allowed()
        return Response(body=self._write(call, obj, wanted))

    def _write(self, call: Call, obj: Object, wanted: Mapping[str, Any]) -> Object:
        paths = call.rtype.scale_paths
        assert paths is not None
        spec = wanted.get("spec") or {}
        replicas = spec.get("replicas", 0)
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise bad_request(
                'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal into Go struct field '
                "ScaleSpec.spec.replicas of type int32"
            )
        if replicas < 0:
            cause = Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise invalid("autoscaling", "Scale", call.name, [cause])
        sent = (wanted.get("metadata") or {}).get("resourceVersion")
        if sent and sent != obj["metadata"]["resourceVersion"]:
            raise stale(call.rtype, call.name)
        set_path(paths[0], obj, replicas)
        stored = self._store.update(
            call.rtype, obj, manager=call.manager, subresource="scale", dry_run=call.dry_run
        )
        return build_scale(paths, stored)


def _patched(call: Call, scale: Object) -> Object:
    try:
        patch = parse_json(call.body)
    except DecodeFailed as error:
        raise bad_request(f"error decoding patch: {error}") from error
    media = call.content_type.split(";")[0].strip()
    result = apply_json_patch(scale, patch) if media == JSON_PATCH else apply_merge_patch(scale, patch)
    if not isinstance(result, dict):
        raise bad_request("the patched object is no Scale")
    return result


def build_scale(paths: tuple[str, str, str], obj: Object) -> Object:
    """The Scale of an object."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = find_first(paths[2], obj)
    text = selector if isinstance(selector, str) else format_selector(selector).replace("<none>", "")
    status: Object = {"replicas": find_first(paths[1], obj) or 0}
    if text:
        status["selector"] = text
    replicas = find_first(paths[0], obj)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }
