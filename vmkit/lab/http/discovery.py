"""Discovery: which groups, versions and resources there are, in the old form and the aggregated one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vmkit.lab.resources import AggregatedApi, Object, Registry, ResourceType

# Verbs stand in this order for custom resources (apiextensions-apiserver customresource_discovery_controller.go).
_CUSTOM_VERBS: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_PART: Final = ("get", "patch", "update")
KUBERNETES_MINOR: Final = "36"

VERSION: Final[Object] = {
    "major": "1",
    "minor": KUBERNETES_MINOR,
    "emulationMajor": "1",
    "emulationMinor": KUBERNETES_MINOR,
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": f"v1.{KUBERNETES_MINOR}.0+vmkit",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""What /version says. There is no Go behind it, and it says so."""


def storage_hash(rtype: ResourceType) -> str:
    """discovery.StorageVersionHash of k8s.io/apiserver."""
    text = f"{rtype.group}/{rtype.version}/{rtype.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def render_api_versions(address: str) -> Object:
    """``/api``."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def render_groups(registry: Registry) -> Object:
    """``/apis``."""
    groups = [_group(name, versions) for name, versions in _groups(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def render_group(registry: Registry, name: str) -> Object | None:
    """``/apis/GROUP``, or None."""
    versions = _groups(registry).get(name)
    if versions is None or not name:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _groups(registry: Registry) -> dict[str, Sequence[str]]:
    groups: dict[str, Sequence[str]] = {name: tuple(versions) for name, versions in registry.groups().items()}
    for api in registry.aggregated_apis():
        groups[api.group] = api.versions
    return groups


def _group(name: str, versions: Sequence[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def render_resources(registry: Registry, group: str, version: str) -> Object | None:
    """``/apis/GROUP/VERSION``, or None."""
    group_version = f"{group}/{version}" if group else version
    api = registry.aggregated(group)
    if api is not None and version in api.versions:
        resources = [_aggregated_line(each) for each in api.resources]
    else:
        served = [rtype for rtype in registry if rtype.group == group and version in rtype.served_versions]
        if not served:
            return None
        resources = [line for rtype in served for line in _lines(registry, rtype, version)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _aggregated_line(resource: Any) -> Object:
    return {
        "name": resource.name,
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": None if resource.verbs is None else list(resource.verbs),
    }


def _lines(registry: Registry, rtype: ResourceType, version: str) -> Iterable[Object]:
    ordered = _CUSTOM_VERBS if rtype.custom else rtype.verbs
    line: Object = {
        "name": rtype.plural,
        "singularName": rtype.singular_name,
        "namespaced": rtype.namespaced,
        "kind": rtype.kind,
        "verbs": [verb for verb in ordered if verb in rtype.verbs],
    }
    if rtype.short_names:
        line["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        line["categories"] = list(rtype.categories)
    if rtype.review is None:
        line["storageVersionHash"] = storage_hash(rtype)
    yield line
    for name, facts in _parts(registry, rtype):
        part: Object = {
            "name": f"{rtype.plural}/{name}",
            "singularName": "",
            "namespaced": rtype.namespaced,
            "kind": facts.get("kind", rtype.kind),
            "verbs": list(facts.get("verbs", _PART)),
        }
        if "group" in facts:
            part["group"], part["version"] = facts["group"], facts["version"]
        yield part


def _parts(registry: Registry, rtype: ResourceType) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name in rtype.subresources:
        if name == "scale":
            yield name, {"kind": "Scale", "group": "autoscaling", "version": "v1"}
        else:
            yield name, {}
    yield from registry.declared(rtype)


# --- the aggregated form -----------------------------------------------------------------------------------


def render_aggregated(registry: Registry, *, legacy: bool, beta: bool = False) -> Object:
    """``/api`` or ``/apis`` as an APIGroupDiscoveryList: everything in one answer."""
    version = "v2beta1" if beta else "v2"
    items: list[Object] = []
    for group, versions in _groups(registry).items():
        if bool(group) == legacy:
            continue
        api = registry.aggregated(group)
        listed = [
            {
                "version": each,
                "resources": _aggregated_resources(registry, api, group, each),
                "freshness": "Current",
            }
            for each in versions
        ]
        metadata: Object = {"creationTimestamp": None, **({"name": group} if group else {})}
        items.append({"metadata": metadata, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resources(registry: Registry, api: AggregatedApi | None, group: str, version: str) -> list[Object]:
    if api is not None:
        # The aggregator leaves out what has no verbs (kube-aggregator's handling of legacy discovery documents).
        return []
    resources: list[Object] = []
    for rtype in registry:
        if rtype.group != group or version not in rtype.served_versions:
            continue
        resource: Object = {
            "resource": rtype.plural,
            "responseKind": {"group": group, "version": version, "kind": rtype.kind},
            "scope": "Namespaced" if rtype.namespaced else "Cluster",
            "singularResource": rtype.singular_name,
            "verbs": list(rtype.verbs),
        }
        if rtype.short_names:
            resource["shortNames"] = list(rtype.short_names)
        if rtype.categories:
            resource["categories"] = list(rtype.categories)
        parts = [
            {
                "subresource": name,
                "responseKind": {
                    "group": facts.get("group", group),
                    "version": facts.get("version", version),
                    "kind": facts.get("kind", rtype.kind),
                },
                "verbs": list(facts.get("verbs", _PART)),
            }
            for name, facts in _parts(registry, rtype)
        ]
        if parts:
            resource["subresources"] = parts
        resources.append(resource)
    return resources
