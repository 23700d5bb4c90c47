"""CustomResourceDefinitions: what they define is served and validated, and goes with them.

Follows k8s.io/apiextensions-apiserver (pkg/apis/apiextensions/validation, pkg/controller/status, .../finalizer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from vmkit.lab.builtin.types import CRDS
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import AdmissionRequest, Column, Object, ObjectKey, Registry, ResourceType
from vmkit.lab.semantics.jsonpath import find_first
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.status import Cause, forbidden, invalid

_MANAGER: Final = "kube-apiserver"
_CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
_BUNDLED: Final = "lab.vmkit.io/bundled"
"""Marks definitions of what the practice cluster brings itself."""


def register(registry: Registry) -> None:
    """Gives definitions their admission."""
    registry.admit(registry.get(CRDS.group, CRDS.plural), mutate=_fill_names, validate=_check)


def _fill_names(request: AdmissionRequest, obj: Object) -> Object:
    names = (obj.get("spec") or {}).get("names")
    if isinstance(names, dict) and isinstance(names.get("kind"), str):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    if isinstance(obj.get("spec"), dict):
        obj["spec"].setdefault("conversion", {"strategy": "None"})
    return obj


def _check(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    name = obj["metadata"].get("name", "")
    if request.operation == "DELETE":
        if _BUNDLED in (obj["metadata"].get("labels") or {}):
            raise forbidden(CRDS.group, CRDS.plural, name, "it is part of the practice cluster")
        return
    causes = list(_find_errors(obj, old))
    if causes:
        raise invalid(CRDS.group, CRDS.kind, name, causes)


def _find_errors(obj: Object, old: Object | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    names, group = spec.get("names") or {}, spec.get("group", "")
    if obj["metadata"].get("name") != f"{names.get('plural', '')}.{group}":
        message = 'must be spec.names.plural+"."+spec.group'
        yield invalid_value("metadata.name", obj["metadata"].get("name", ""), message)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        shown = spec.get("scope", "")
        message = f'Unsupported value: "{shown}": supported values: "Cluster", "Namespaced"'
        yield Cause("FieldValueNotSupported", message, "spec.scope")
    versions = spec.get("versions") or []
    if sum(1 for version in versions if version.get("storage")) != 1:
        message = "must have exactly one version marked as storage version"
        yield invalid_value("spec.versions", [version.get("name") for version in versions], message)
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            field = f"spec.versions[{index}].schema.openAPIV3Schema"
            yield Cause("FieldValueRequired", "Required value: schemas are required", field)
    if old is not None:
        before = old.get("spec") or {}
        for field in ("group", "scope"):
            if spec.get(field) != before.get(field):
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")


def build_resource_type(definition: Object) -> ResourceType:
    """The type that a definition defines."""
    spec = definition["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served", True)]
    storage = next(version for version in spec["versions"] if version.get("storage"))
    parts = storage.get("subresources") or {}
    scale = parts.get("scale")
    selectable = tuple(each["jsonPath"].lstrip(".") for each in storage.get("selectableFields") or ())
    return ResourceType(
        group=spec["group"],
        version=storage["name"],
        versions=tuple(sorted((version["name"] for version in served), key=_version_rank)),
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        list_kind_name=names.get("listKind", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        subresources=tuple(name for name in ("status", "scale") if name in parts),
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=storage["schema"]["openAPIV3Schema"],
        schemas={version["name"]: version["schema"]["openAPIV3Schema"] for version in served},
        columns=tuple(_column(each) for each in storage.get("additionalPrinterColumns") or ()),
        selectable_names=selectable,
        selectable_fields=_selector(selectable) if selectable else None,
        scale_paths=(
            (scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ".none"))
            if scale
            else None
        ),
    )


def _selector(fields: tuple[str, ...]) -> Any:
    def read(obj: Object) -> Mapping[str, str]:
        return {field: str(find_first("." + field, obj) or "") for field in fields}

    return read


def _column(column: Mapping[str, Any]) -> Column:
    return Column(
        column["name"],
        type=column.get("type", "string"),
        path=column.get("jsonPath", ""),
        format=column.get("format", ""),
        description=column.get("description", ""),
        priority=column.get("priority", 0),
    )


def _version_rank(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2, v1, v1beta1, v1alpha1, then the rest by name."""
    stage, rank = version.removeprefix("v"), {"alpha": 2, "beta": 1}
    for word, place in rank.items():
        major, found, minor = stage.partition(word)
        if found and major.isdigit() and (minor.isdigit() or not minor):
            return (place, -int(major), -int(minor or 0), "")
    return (0, -int(stage), 0, "") if stage.isdigit() else (3, 0, 0, version)


class DefinitionController(Controller):
    """Serves what definitions define, tells so in their status, and cleans up after them."""

    name: ClassVar[str] = "crd-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._served: dict[str, ResourceType] = {}

    def setup(self) -> None:
        self.watch(CRDS)

    def reconcile(self, key: ObjectKey) -> None:
        definition = self.store.find(CRDS, "", key.name)
        if definition is None:
            rtype = self._served.pop(key.name, None)
            if rtype is not None:
                self.registry.remove(rtype)
            return
        metadata = definition["metadata"]
        if _BUNDLED in (metadata.get("labels") or {}):
            return
        if "deletionTimestamp" in metadata:
            self._clean_up(definition)
            return
        if _CLEANUP not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), _CLEANUP]
            definition = self.store.update(CRDS, definition)
        spec = definition["spec"]
        taken = self.registry.find(spec["group"], spec["names"]["plural"])
        if taken is None or self._served.get(key.name) is taken:
            self.serve(definition)
        self._tell(definition)

    def serve_only(self, definitions: list[Object]) -> None:
        """Serves these definitions instead of those served so far (a state is being loaded)."""
        for rtype in self._served.values():
            self.registry.remove(rtype)
        self._served.clear()
        for definition in definitions:
            self.serve(definition)

    def serve(self, definition: Object) -> None:
        """Serves what a definition defines, from now on; the practice cluster's own are served anyway."""
        metadata = definition["metadata"]
        if _BUNDLED not in (metadata.get("labels") or {}):
            rtype = build_resource_type(definition)
            self._served[metadata["name"]] = rtype
            self.registry.add(rtype)

    def _tell(self, definition: Object) -> None:
        status = definition.get("status") or {}
        known = {each["type"]: each for each in status.get("conditions") or ()}
        at = format_time(self.clock.now())
        wanted = (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
        conditions = [
            known.get(kind)
            or {"type": kind, "status": "True", "lastTransitionTime": at, "reason": reason, "message": message}
            for kind, reason, message in wanted
        ]
        storage = next(version["name"] for version in definition["spec"]["versions"] if version.get("storage"))
        stored = list(status.get("storedVersions") or ())
        definition["status"] = {
            "conditions": conditions,
            "acceptedNames": definition["spec"]["names"],
            "storedVersions": stored if storage in stored else [*stored, storage],
        }
        self.store.update(CRDS, definition, manager=_MANAGER, subresource="status")

    def _clean_up(self, definition: Object) -> None:
        metadata = definition["metadata"]
        rtype = self._served.get(metadata["name"])
        if rtype is not None:
            for entry in tuple(self.store.entries(rtype)):
                self.store.delete(rtype, entry.key.namespace, entry.key.name)
            if self.store.count(rtype):
                # Finalizers hold instances; look again when time has passed.
                self.requeue_after(ObjectKey("", metadata["name"]), 1.0)
                return
        metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != _CLEANUP]
        self.store.update(CRDS, definition)


def build_bundled(registry: Registry) -> list[Object]:
    """Definitions of the custom resources that the practice cluster brings, as ``kubectl get crd`` lists them."""
    return [_describe(rtype) for rtype in registry if rtype.custom]


def _describe(rtype: ResourceType) -> Object:
    names: Object = {
        "kind": rtype.kind,
        "listKind": rtype.list_kind,
        "plural": rtype.plural,
        "singular": rtype.singular_name,
    }
    if rtype.short_names:
        names["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        names["categories"] = list(rtype.categories)
    stored = sorted({*rtype.served_versions, rtype.version}, key=_version_rank)
    versions = [
        {
            "name": version,
            "served": version in rtype.served_versions,
            "storage": version == rtype.version,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            "subresources": {name: {} for name in rtype.subresources if name == "status"},
        }
        for version in stored
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": rtype.resource, "labels": {_BUNDLED: "true"}},
        "spec": {
            "group": rtype.group,
            "names": names,
            "scope": "Namespaced" if rtype.namespaced else "Cluster",
            "versions": versions,
            "conversion": {"strategy": "None"},
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [rtype.version],
            "conditions": [
                {"type": kind, "status": "True", "reason": reason, "message": message}
                for kind, reason, message in (
                    ("NamesAccepted", "NoConflicts", "no conflicts found"),
                    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                )
            ],
        },
    }
