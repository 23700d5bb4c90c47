"""Takes over the objects of a real cluster, so that people rehearse on their own fleet.

What is imported is made safe first: no Secrets, no cloud-init texts, no tokens in annotations. What runs is
started anew here, because its launcher pods and guests stay where they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from vmkit.lab.control import read_object
from vmkit.lab.resources import Response
from vmkit.lab.status import bad_request, method_not_allowed

if TYPE_CHECKING:
    from vmkit.lab.control import Control
    from vmkit.lab.controller import Context
    from vmkit.lab.http.request import Request

Object = dict[str, Any]

KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("v1", "Namespace"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"),
    ("instancetype.kubevirt.io/v1beta1", "VirtualMachineClusterInstancetype"),
    ("instancetype.kubevirt.io/v1beta1", "VirtualMachineInstancetype"),
    ("instancetype.kubevirt.io/v1beta1", "VirtualMachineClusterPreference"),
    ("instancetype.kubevirt.io/v1beta1", "VirtualMachinePreference"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("cdi.kubevirt.io/v1beta1", "DataVolume"),
    ("cdi.kubevirt.io/v1beta1", "DataSource"),
    ("pool.kubevirt.io/v1beta1", "VirtualMachinePool"),
    ("kubevirt.io/v1", "VirtualMachine"),
)
"""What is imported, owners and what others need first."""

_REMOVED_ANNOTATIONS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "cdi.kubevirt.io/storage.clone.token",
    "cdi.kubevirt.io/storage.extended.clone.token",
)
_CLOUD_INIT: Final = ("cloudInitNoCloud", "cloudInitConfigDrive")
_KEPT_BY_NAME: Final = ("Namespace", "VirtualMachine")


def prepare_import(objects: Iterable[Mapping[str, Any]], *, names_only: bool = False) -> list[Object]:
    """Makes objects of a real cluster safe to have in a practice cluster.

    Args:
        objects: of the kinds in `KINDS`; anything else, Secrets above all, is left out.
        names_only: keep of each VM its name, namespace, run strategy and size, and nothing else.
    """
    known = {kind for _, kind in KINDS}
    prepared: list[Object] = []
    for given in objects:
        kind = given.get("kind")
        name = (given.get("metadata") or {}).get("name")
        if kind not in known or not isinstance(name, str) or (names_only and kind not in _KEPT_BY_NAME):
            continue
        obj = _bare(given) if names_only else _whole(given)
        if kind == "VirtualMachine":
            _ask_for_start(obj, given)
        prepared.append(obj)
    return prepared


def _whole(given: Mapping[str, Any]) -> Object:
    obj: Object = copy.deepcopy(dict(given))
    metadata = obj["metadata"]
    for field in (
        "managedFields",
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        metadata.pop(field, None)
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        for key in _REMOVED_ANNOTATIONS:
            annotations.pop(key, None)
    known = {kind for _, kind in KINDS}
    owners = [each for each in metadata.pop("ownerReferences", None) or () if each.get("kind") in known]
    if owners:  # an owner that is not here would take the object with it
        metadata["ownerReferences"] = owners
    if obj["kind"] in ("VirtualMachine", "VirtualMachinePool"):
        _remove_secrets(obj.get("spec"))
    return obj


def _remove_secrets(value: Any) -> None:
    """Empties what guests are given as text, wherever it stands."""
    if isinstance(value, list):
        for item in value:
            _remove_secrets(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _CLOUD_INIT and isinstance(item, dict):
                for field in ("userDataBase64", "networkData", "networkDataBase64"):
                    item.pop(field, None)
                if "secretRef" not in item:
                    item["userData"] = "#cloud-config\n"
            else:
                _remove_secrets(item)


def _bare(given: Mapping[str, Any]) -> Object:
    metadata = given["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "creationTimestamp") if key in metadata}
    obj: Object = {"apiVersion": given.get("apiVersion", ""), "kind": given["kind"], "metadata": kept}
    if given["kind"] == "Namespace":
        return obj
    spec = given.get("spec") if isinstance(given.get("spec"), dict) else {}
    assert isinstance(spec, dict)
    domain = (((spec.get("template") or {}).get("spec") or {}).get("domain")) or {}
    size = {key: domain[key] for key in ("cpu", "memory", "resources") if key in domain}
    obj["spec"] = {
        key: spec[key] for key in ("running", "runStrategy", "instancetype", "preference") if key in spec
    }
    devices = {
        "disks": [{"disk": {"bus": "virtio"}, "name": "root"}],
        "interfaces": [{"masquerade": {}, "name": "default"}],
    }
    obj["spec"]["template"] = {
        "metadata": {},
        "spec": {
            "domain": {**size, "devices": devices},
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [{"containerDisk": {"image": "registry.example/imported:latest"}, "name": "root"}],
        },
    }
    return obj


def _ask_for_start(obj: Object, given: Mapping[str, Any]) -> None:
    """A VM that runs there runs here too; one whose strategy starts nothing by itself is asked to."""
    spec, status = given.get("spec"), given.get("status")
    running = isinstance(status, dict) and bool(status.get("created"))
    obj.pop("status", None)
    if not isinstance(spec, dict):
        return
    if running and spec.get("runStrategy") in ("Manual", "RerunOnFailure"):
        obj["status"] = {"stateChangeRequests": [{"action": "Start"}], "runStrategy": spec["runStrategy"]}
    elif spec.get("runStrategy") == "RerunOnFailure" or (not running and spec.get("runStrategy") == "Once"):
        # Seen before: neither is started a first time.
        obj["status"] = {"runStrategy": spec["runStrategy"]}
        if spec["runStrategy"] == "Once":
            obj["spec"]["runStrategy"] = "Halted"


class Intake:
    """Takes objects from outside into a lab, as they are.

    Args:
        context: the lab's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pending: list[Object] = []

    def add_endpoints(self, control: Control) -> None:
        """Serves ``/vmkit.io/lab/objects``: POST {"objects": [...], "more": true}.

        Objects come in together with the first request that announces no more: none is seen without its owner.
        """
        control.add("objects", self._answer)

    def take(self, objects: Iterable[Object]) -> tuple[int, list[str]]:
        """Puts objects in; returns how many came in, and the kinds that are not served here."""
        count, unknown = 0, set()
        for obj in objects:
            rtype = self._context.registry.find_kind(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))
            if rtype is None:
                unknown.add(str(obj.get("kind", "")))
                continue
            metadata = obj["metadata"]
            if not self._context.store.exists(rtype, metadata.get("namespace", ""), metadata["name"]):
                self._context.store.restore(rtype, obj)
                count += 1
        return count, sorted(unknown)

    def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        body = read_object(request)
        objects = body.get("objects")
        if not isinstance(objects, list):
            raise bad_request('"objects" is a list')
        if not all(
            isinstance(each, dict) and isinstance((each.get("metadata") or {}).get("name"), str)
            for each in objects
        ):
            raise bad_request("every object has a metadata.name")
        self._pending += objects
        if body.get("more"):
            return Response(body={"taken": 0, "unknown": []})
        pending, self._pending = self._pending, []
        count, unknown = self.take(pending)
        return Response(body={"taken": count, "unknown": unknown})
