"""Which instance type and preference a VM means (pkg/instancetype/find, infer, revision)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkit.lab.resources import Registry, ResourceType
from vmkit.lab.status import ApiError, not_found, not_found_named
from vmkit.lab.store import Store

Object = dict[str, Any]

_KINDS: Final = {
    "instancetype": ("VirtualMachineClusterInstancetype", "VirtualMachineInstancetype"),
    "preference": ("VirtualMachineClusterPreference", "VirtualMachinePreference"),
}
DEFAULT_LABEL: Final = "instancetype.kubevirt.io/default-{}"
DEFAULT_KIND_LABEL: Final = "instancetype.kubevirt.io/default-{}-kind"


class InferenceError(Exception):
    """Nothing could be inferred from the volume that a matcher names; the text is KubeVirt's."""


class Finder:
    """Looks up what matchers name.

    Args:
        store: the objects.
        registry: every resource type, for inference from claims and data sources.
        types: the four kinds by name.
    """

    def __init__(self, store: Store, registry: Registry, types: Mapping[str, ResourceType]) -> None:
        self._store = store
        self._registry = registry
        self._types = types

    def find(self, vm: Object, matcher: str) -> tuple[Object, ResourceType] | None:
        """The object that ``spec.instancetype`` or ``spec.preference`` names, and its type; None if none is named.

        A recorded revision wins over the object as it is now.

        Raises:
            ApiError: 404, there is no such object.
        """
        wanted = (vm.get("spec") or {}).get(matcher)
        if not wanted or not wanted.get("name"):
            return None
        rtype = self.type_of(wanted, matcher)
        revision = wanted.get("revisionName") or (
            ((vm.get("status") or {}).get(f"{matcher}Ref") or {}).get("controllerRevisionRef") or {}
        ).get("name")
        recorded = ((vm.get("status") or {}).get(f"{matcher}Ref") or {}).get("name", wanted["name"])
        namespace = (vm.get("metadata") or {}).get("namespace", "")
        if revision and recorded == wanted["name"]:
            stored = self._store.find(self._registry.get("apps", "controllerrevisions"), namespace, revision)
            if stored is not None:
                return stored.get("data") or {}, rtype
        found = self._store.find(rtype, namespace if rtype.namespaced else "", wanted["name"])
        if found is None:
            raise not_found(rtype, wanted["name"])
        return found, rtype

    def type_of(self, wanted: Object, matcher: str) -> ResourceType:
        """The resource type a matcher means.

        Raises:
            ApiError: 404, its kind is not served.
        """
        kind = wanted.get("kind") or _KINDS[matcher][0]
        for rtype in self._types.values():
            if (
                kind.lower() in (rtype.kind.lower(), rtype.plural, rtype.singular_name)
                and rtype.kind in _KINDS[matcher]
            ):
                return rtype
        raise not_found_named("instancetype.kubevirt.io", str(kind).lower(), str(wanted.get("name", "")))

    def find_spec(self, vm: Object, matcher: str) -> Object | None:
        """Only its spec.

        Raises:
            ApiError: 404.
        """
        found = self.find(vm, matcher)
        return None if found is None else found[0].get("spec") or {}

    def infer(self, vm: Object, namespace: str) -> None:
        """Replaces inferFromVolume by the name that the volume's claim or source carries as a label, in place.

        Raises:
            InferenceError: there is none, and the matcher does not say to ignore that.
        """
        for matcher in ("instancetype", "preference"):
            wanted = vm["spec"].get(matcher)
            if not wanted or not wanted.get("inferFromVolume"):
                continue
            try:
                name, kind = self._infer(vm, namespace, matcher, wanted["inferFromVolume"])
            except InferenceError:
                if wanted.get("inferFromVolumeFailurePolicy") != "Ignore":
                    raise
                del vm["spec"][matcher]
                continue
            vm["spec"][matcher] = {"name": name, **({"kind": kind} if kind else {})}

    def _infer(self, vm: Object, namespace: str, matcher: str, volume_name: str) -> tuple[str, str]:
        volumes = vm["spec"].get("template", {}).get("spec", {}).get("volumes") or []
        volume = next((each for each in volumes if each.get("name") == volume_name), None)
        if volume is None:
            raise InferenceError(f"unable to find volume {volume_name} to infer defaults")
        if "persistentVolumeClaim" in volume:
            source = self._object(
                "", "persistentvolumeclaims", namespace, volume["persistentVolumeClaim"].get("claimName")
            )
        elif "dataVolume" in volume:
            source = self._data_volume(vm, namespace, volume["dataVolume"].get("name"))
        else:
            raise InferenceError(f"unable to infer defaults from volume {volume_name} as type is not supported")
        labels = source["metadata"].get("labels") or {}
        name = labels.get(DEFAULT_LABEL.format(matcher))
        if not name:
            raise InferenceError(f"unable to find required {DEFAULT_LABEL.format(matcher)} label on the volume")
        return name, labels.get(DEFAULT_KIND_LABEL.format(matcher), "")

    def _data_volume(self, vm: Object, namespace: str, name: str) -> Object:
        template: Object | None = next(
            (
                each
                for each in vm["spec"].get("dataVolumeTemplates") or []
                if (each.get("metadata") or {}).get("name") == name
            ),
            None,
        )
        if template is None:
            try:
                template = self._object("cdi.kubevirt.io", "datavolumes", namespace, name)
            except InferenceError:
                return self._object("", "persistentvolumeclaims", namespace, name)
        template.setdefault("metadata", {})
        if (template["metadata"].get("labels") or {}).get(DEFAULT_LABEL.format("instancetype")):
            return template
        spec = template.get("spec") or {}
        reference = spec.get("sourceRef")
        if reference is not None:
            return self._data_source(reference.get("namespace") or namespace, reference.get("name"))
        for kind, group, plural in (
            ("pvc", "", "persistentvolumeclaims"),
            ("snapshot", "snapshot.storage.k8s.io", "volumesnapshots"),
        ):
            source = (spec.get("source") or {}).get(kind)
            if source is not None:
                return self._object(group, plural, source.get("namespace") or namespace, source.get("name"))
        return template

    def _data_source(self, namespace: str, name: str) -> Object:
        source = self._object("cdi.kubevirt.io", "datasources", namespace, name)
        if (source["metadata"].get("labels") or {}).get(DEFAULT_LABEL.format("instancetype")):
            return source
        spec = (source.get("spec") or {}).get("source") or {}
        for kind, group, plural in (
            ("pvc", "", "persistentvolumeclaims"),
            ("snapshot", "snapshot.storage.k8s.io", "volumesnapshots"),
        ):
            if kind in spec:
                return self._object(
                    group, plural, spec[kind].get("namespace") or namespace, spec[kind].get("name")
                )
        return source

    def _object(self, group: str, plural: str, namespace: str, name: str | None) -> Object:
        try:
            return self._store.get(self._registry.get(group, plural), namespace, name or "")
        except ApiError as error:
            raise InferenceError(error.message) from None
