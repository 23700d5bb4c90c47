"""What a run has to know of the cluster before it creates anything."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from vmkit.cluster.resources import (
    CEPH_BLOCK_POOLS,
    CEPH_CLUSTERS,
    CLUSTER_INSTANCETYPES,
    CLUSTER_PREFERENCES,
    DATA_SOURCES,
    INSTANCETYPES,
    PERSISTENT_VOLUME_CLAIMS,
    PREFERENCES,
    STORAGE_CLASSES,
    STORAGE_PROFILES,
    VIRTUAL_MACHINES,
    VOLUME_SNAPSHOT_CLASSES,
    VOLUME_SNAPSHOTS,
    Resource,
)
from vmkit.cluster.session import Session
from vmkit.errors import AnswerError, Forbidden, MissingApi, NotFound
from vmkit.guard.storage import DEFAULT_REPLICAS, StorageVerdict, decide_storage
from vmkit.plan.model import ObjectRef
from vmkit.provision.images import Image
from vmkit.provision.request import CreateRequest
from vmkit.provision.storage import StorageChoice, choose_offline, decide_storage_class
from vmkit.provision.walk import as_list, as_mapping, as_text, dig

LIST_FROM: Final = 32
"""From so many VMs of one namespace on, one list costs less than asking for each."""

_SIZES: Final[Mapping[tuple[str, bool], Resource]] = {
    ("instancetype", False): CLUSTER_INSTANCETYPES,
    ("instancetype", True): INSTANCETYPES,
    ("preference", False): CLUSTER_PREFERENCES,
    ("preference", True): PREFERENCES,
}
_ABSENT: Final = (Forbidden, MissingApi, NotFound)
_IMAGE_RESOURCES: Final[Mapping[str, Resource]] = {
    "datasource": DATA_SOURCES,
    "snapshot": VOLUME_SNAPSHOTS,
    "pvc": PERSISTENT_VOLUME_CLAIMS,
}
_T = TypeVar("_T")
_R = TypeVar("_R")


def each(work: Callable[[_T], _R], items: Sequence[_T], *, concurrency: int) -> list[_R]:
    """``work`` for each item, some at once, in order; the first error is raised."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(concurrency, len(items))) as pool:
        return list(pool.map(work, items))


def read_storage(session: Session, texts: Iterable[str]) -> tuple[dict[str, StorageChoice], list[str]]:
    """The storage chosen for each text of ``--storage``, and what people should be warned of.

    Raises:
        UsageError: a class that does not exist, or nothing to choose from.
    """
    wanted = sorted(set(texts))
    if not wanted:
        return {}, []
    classes = _list_or_none(session, STORAGE_CLASSES)
    if classes is None:
        notice = "storage classes cannot be listed: the class named, or the cluster's default, is taken as it is"
        return {text: choose_offline(text) for text in wanted}, [notice]
    profiles = _list_or_none(session, STORAGE_PROFILES) or []
    snapshot_classes = _list_or_none(session, VOLUME_SNAPSHOT_CLASSES) or []
    choices: dict[str, StorageChoice] = {}
    notices: list[str] = []
    for text in wanted:
        choice = decide_storage_class(classes, profiles, text, snapshot_classes=snapshot_classes)
        choices[text] = choice
        notices += choice.warnings
    return choices, notices


def _list_or_none(
    session: Session, resource: Resource, namespace: str | None = None
) -> list[dict[str, Any]] | None:
    try:
        return list(session.list(resource, namespace))
    except _ABSENT:
        return None


def read_present(session: Session, images: Iterable[Image], *, concurrency: int) -> dict[Image, bool | None]:
    """Which of the references the cluster has, ready to be cloned; None: it may not be read, so nobody knows."""
    wanted = sorted(set(images), key=str)

    def look(image: Image) -> bool | None:
        try:
            found = session.find(_IMAGE_RESOURCES[image.kind], image.name, image.namespace)
        except Forbidden:
            return None
        except _ABSENT:
            return False
        return found is not None and _is_ready(image.kind, found)

    return dict(zip(wanted, each(look, wanted, concurrency=concurrency), strict=True))


def check_sizes(session: Session, requests: Iterable[CreateRequest]) -> None:
    """Makes sure that instancetypes and preferences are there: KubeVirt takes a VM without, and never starts it.

    One that may not be read is left to the cluster.

    Raises:
        AnswerError: it is not there; the hint names one that is.
    """
    wanted = {
        (what, text, request.namespace or session.namespace)
        for request in requests
        for what, text in (("instancetype", request.instancetype), ("preference", request.preference))
        if text
    }
    for what, text, namespace in sorted(wanted):
        scope, _, name = text.rpartition("/")
        resource = _SIZES[what, scope == "namespaced"]
        where = namespace if resource.namespaced else None
        try:
            if session.find(resource, name, where) is not None:
                continue
            names = [as_text(dig(item, "metadata", "name")) for item in session.list(resource, where)]
        except (Forbidden, MissingApi):
            continue
        near = difflib.get_close_matches(name, names, 1) or names[:3]
        raise AnswerError(
            f"there is no {what} {name!r}" + (f" in namespace {namespace}" if where else ""),
            hint=f"there is {', '.join(near)}" if near else f"kubectl get {resource.plural} lists them",
            where=f"--{what}",
        )


def _is_ready(kind: str, found: Mapping[str, Any]) -> bool:
    if kind == "datasource":
        return any(
            as_mapping(condition).get("type") == "Ready" and as_mapping(condition).get("status") == "True"
            for condition in as_list(dig(found, "status", "conditions"))
        )
    if kind == "snapshot":
        return dig(found, "status", "readyToUse") is True
    return as_text(dig(found, "status", "phase")) == "Bound"


def read_health(session: Session, choice: StorageChoice, requested_bytes: int) -> StorageVerdict:
    """The verdict on the Ceph that a storage class lies on."""
    namespace = choice.parameters.get("clusterID", "")
    clusters = _list_or_none(session, CEPH_CLUSTERS, namespace or None)
    replicas = DEFAULT_REPLICAS
    pool = choice.parameters.get("pool", "")
    if clusters and namespace and pool and choice.is_rbd:
        try:
            size = dig(session.find(CEPH_BLOCK_POOLS, pool, namespace), "spec", "replicated", "size")
        except _ABSENT:
            size = None
        replicas = size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else replicas
    return decide_storage(clusters, requested_bytes, cluster_namespace=namespace, replicas=replicas)


def read_existing(
    session: Session, targets: Sequence[ObjectRef], api_versions: Mapping[str, str], *, concurrency: int
) -> dict[ObjectRef, dict[str, Any]]:
    """Those of the targets that exist.

    Args:
        api_versions: of each kind among the targets.
    """
    groups: dict[tuple[str, str], list[ObjectRef]] = {}
    for target in targets:
        groups.setdefault((target.kind, target.namespace), []).append(target)
    found: dict[ObjectRef, dict[str, Any]] = {}
    singles: list[ObjectRef] = []
    for (kind, namespace), refs in groups.items():
        if kind == VIRTUAL_MACHINES.kind and len(refs) >= LIST_FROM:
            names = {ref.name: ref for ref in refs}
            for item in session.list(VIRTUAL_MACHINES, namespace):
                ref = names.get(as_text(dig(item, "metadata", "name")))
                if ref is not None:
                    found[ref] = item
        else:
            singles += refs

    def look(ref: ObjectRef) -> dict[str, Any] | None:
        resource = session.resource_for(api_versions[ref.kind], ref.kind)
        return session.find(resource, ref.name, ref.namespace or None)

    looked = zip(singles, each(look, singles, concurrency=concurrency), strict=True)
    found.update({ref: live for ref, live in looked if live is not None})
    return found
