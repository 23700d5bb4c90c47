"""What CDI's webhooks refuse: causes with its own messages and fields.

Source: CDI pkg/apiserver/webhooks/datavolume-validate.go, dataimportcron-validate.go, transfer of clone
permissions in datavolume-mutate.go. The functions that look at one object are pure; `register` hangs them on
the resource types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vmkit.errors import QuantityError
from vmkit.lab.cdi.cloning import claim_bytes
from vmkit.lab.status import ApiError, Cause
from vmkit.units import parse_bytes

if TYPE_CHECKING:
    from vmkit.lab.resources import AdmissionRequest, Object, Registry

_INVALID = "FieldValueInvalid"
_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_MINIMUM_BYTES = 1024 * 1024
_URL_SOURCES = {"http": "HTTP", "s3": "S3", "gcs": "GCS", "imageio": "Imageio", "vddk": "VDDK"}


def deny(webhook: str, causes: list[Cause]) -> ApiError:
    """The refusal as the API server passes it on from a CDI webhook."""
    text = ", ".join(cause.message for cause in causes)
    return ApiError(
        422,
        "Invalid",
        f'admission webhook "{webhook}" denied the request: {text}',
        details={"causes": [cause.to_dict() for cause in causes]},
    )


def find_data_volume_causes(name: str, spec: Mapping[str, Any], *, field: str = "spec") -> list[Cause]:
    """The first thing wrong with a DataVolume's name or spec, as a list of no or one cause."""
    if len(name) > 253:
        return [Cause(_INVALID, "Name cannot be longer than 253 characters", "metadata.name")]
    pvc, storage = spec.get("pvc"), spec.get("storage")
    if pvc is None and storage is None:
        return [Cause(_INVALID, "Missing Data volume PVC", f"{field}.PVC")]
    if pvc is not None and storage is not None:
        message = "Duplicate storage definition, both target storage and target pvc defined"
        return [Cause(_INVALID, message, f"{field}.PVC.Storage")]
    source, reference = spec.get("source"), spec.get("sourceRef")
    cause = _target_cause(spec, field)
    if cause is not None:
        return [cause]
    external = any((part or {}).get(key) for part in (pvc, storage) for key in ("dataSource", "dataSourceRef"))
    if external and (source is not None or reference is not None):
        return [
            Cause(_INVALID, "External population is incompatible with Source and SourceRef", f"{field}.source")
        ]
    if external:
        return []
    if source is None and reference is None:
        message = "Data volume should have either Source or SourceRef, or be externally populated"
        return [Cause(_INVALID, message, f"{field}.source")]
    if source is not None and reference is not None:
        return [Cause(_INVALID, "Data volume should have either Source or SourceRef", f"{field}.source")]
    cause = _reference_cause(reference, field) if reference is not None else _source_cause(spec, field)
    return [cause] if cause is not None else []


def _target_cause(spec: Mapping[str, Any], field: str) -> Cause | None:
    key, label = ("pvc", "PVC") if spec.get("pvc") is not None else ("storage", "Storage")
    target: Mapping[str, Any] = spec[key]
    asked = ((target.get("resources") or {}).get("requests") or {}).get("storage")
    size_field = f"{field}.{label}.resources.requests.size"
    source = spec.get("source") or {}
    if asked is None:
        sizeless = key == "storage" and (
            "pvc" in source or "snapshot" in source or spec.get("sourceRef") is not None
        )
        if not sizeless:
            return Cause(_INVALID, f"{label} size is missing", size_field)
    else:
        try:
            size = parse_bytes(asked)
        except QuantityError:
            size = 0
        if size <= 0:
            return Cause(_INVALID, f"{label} size can't be equal or less than zero", size_field)
        if size < _MINIMUM_BYTES:
            return Cause(_INVALID, f"{label} size should be at least 1MiB", size_field)
    modes = target.get("accessModes") or []
    modes_field = f"{field}.PVC.accessModes"
    if key == "pvc" and not modes:
        return Cause(_INVALID, "Required value: at least 1 access mode is required", modes_field)
    if key == "pvc" and len(modes) > 1:
        return Cause(_INVALID, "PVC multiple accessModes", modes_field)
    if any(mode not in _MODES for mode in modes):
        supported = '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce"'
        return Cause(_INVALID, f'Unsupported value: "{modes[0]}": supported values: {supported}', modes_field)
    return None


def _reference_cause(reference: Mapping[str, Any], field: str) -> Cause | None:
    kind = reference.get("kind") or ""
    if not kind:
        return Cause(_INVALID, "Missing sourceRef kind", f"{field}.sourceRef.Kind")
    if kind != "DataSource":
        message = f"Unsupported sourceRef kind {kind}, currently only DataSource is supported"
        return Cause(_INVALID, message, f"{field}.sourceRef.Kind")
    if not reference.get("name"):
        return Cause(_INVALID, "Missing sourceRef name", f"{field}.sourceRef.Name")
    return None


def _source_cause(spec: Mapping[str, Any], field: str) -> Cause | None:
    sources = [key for key, value in spec["source"].items() if value is not None]
    if not sources:
        return Cause(_INVALID, "Missing Data volume source", f"{field}.source")
    if len(sources) > 1:
        return Cause(_INVALID, "Multiple Data volume sources", f"{field}.source")
    kind = sources[0]
    source: Mapping[str, Any] = spec["source"][kind]
    if kind in _URL_SOURCES:
        problem = _url_problem(str(source.get("url") or ""), kind)
        if problem:
            return Cause(_INVALID, f"{field}.source {problem}", f"{field}.source.{_URL_SOURCES[kind]}.url")
    content = spec.get("contentType") or ""
    if content not in ("", "kubevirt", "archive"):
        return Cause(_INVALID, "ContentType not one of: kubevirt, archive", f"{field}.contentType")
    if kind == "blank" and content == "archive":
        return Cause(_INVALID, "SourceType cannot be blank and the contentType be archive", f"{field}.contentType")
    if kind == "registry":
        return _registry_cause(source, content, field)
    if kind == "imageio" and not all(source.get(key) for key in ("secretRef", "certConfigMap", "diskId")):
        where = f"{field}.source.Imageio"
        return Cause(_INVALID, f"{where} source Imageio is not valid", where)
    if kind == "vddk" and not all(source.get(key) for key in ("secretRef", "uuid", "backingFile", "thumbprint")):
        where = f"{field}.source.VDDK"
        return Cause(_INVALID, f"{where} source VDDK is not valid", where)
    if kind in ("pvc", "snapshot") and not (source.get("namespace") and source.get("name")):
        label = "PVC" if kind == "pvc" else "Snapshot"
        where = f"{field}.source.{label}"
        return Cause(_INVALID, f"{where} source {label} is not valid", where)
    return None


def _url_problem(url: str, kind: str) -> str:
    if not url:
        return "source URL is empty"
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"Invalid source URL: {url}"
    if not parts.scheme:
        return f"Invalid source URL: {url}"
    allowed = ("http", "https", "gs") if kind == "gcs" else ("http", "https")
    return "" if parts.scheme in allowed else f"Invalid source URL scheme: {url}"


def _registry_cause(source: Mapping[str, Any], content: str, field: str) -> Cause | None:
    where = f"{field}.source.Registry"
    if content not in ("", "kubevirt"):
        return Cause(_INVALID, "ContentType must be kubevirt when Source is Registry", f"{field}.contentType")
    url, stream = source.get("url"), source.get("imageStream")
    if not url and not stream:
        return Cause(_INVALID, "Source registry should have either imageStream or url", where)
    if url and stream:
        return Cause(_INVALID, "Source registry should have either imageStream or url", where)
    if url and not re.match(r"(docker|oci-archive)://", str(url)):
        return Cause(_INVALID, f"Illegal registry source URL scheme {url}", f"{where}.URL")
    method = source.get("pullMethod") or ""
    if method not in ("", "pod", "node"):
        return Cause(_INVALID, f'ImportMethod {method} is neither pod, node or ""', f"{where}.importMethod")
    return None


# --- on the resource types ------------------------------------------------------------------------

_DV_VALIDATOR = "datavolume-validate.cdi.kubevirt.io"
_DV_MUTATOR = "datavolume-mutate.cdi.kubevirt.io"
_CRON_VALIDATOR = "dataimportcron-validate.cdi.kubevirt.io"
_SOURCE_VALIDATOR = "datasource-validate.cdi.kubevirt.io"
_CLAIMS = ("", "persistentvolumeclaims")


def validate_data_volume(registry: Registry, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Refuses what CDI refuses on creating or changing a DataVolume.

    Raises:
        ApiError: 422 with the causes.
    """
    if request.operation == "DELETE":
        return
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    if old is not None:
        if request.subresource != "status" and _comparable(spec) != _comparable(old.get("spec") or {}):
            raise deny(_DV_VALIDATOR, [Cause("FieldValueDuplicate", "Cannot update DataVolume Spec", "spec")])
        return
    causes = find_data_volume_causes(metadata.get("name", ""), spec)
    if not causes:
        causes = _existing_claim_causes(registry, request, obj) or _clone_source_causes(registry, request, spec)
    if causes:
        raise deny(_DV_VALIDATOR, causes)


def _comparable(spec: Mapping[str, Any]) -> dict[str, Any]:
    # Checkpoints of a warm import may be added while it runs.
    return {key: value for key, value in spec.items() if key not in ("checkpoints", "finalCheckpoint")}


def _existing_claim_causes(registry: Registry, request: AdmissionRequest, obj: Object) -> list[Cause]:
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    claim = request.store.find(registry.get(*_CLAIMS), request.namespace, metadata.get("name", ""))
    if claim is None or claim["metadata"].get("deletionTimestamp"):
        return []
    marks = claim["metadata"].get("annotations") or {}
    adopts = "true" in (
        annotations.get("cdi.kubevirt.io/allowClaimAdoption"),
        marks.get("cdi.kubevirt.io/allowClaimAdoption"),
    )
    populated = marks.get("cdi.kubevirt.io/storage.populatedFor") == metadata.get("name")
    if adopts or populated or annotations.get("cdi.kubevirt.io/storage.prePopulated"):
        return []
    message = f"Destination PVC {request.namespace}/{metadata.get('name')} already exists"
    return [Cause("FieldValueDuplicate", message, "metadata.name")]


def _clone_source_causes(registry: Registry, request: AdmissionRequest, spec: Mapping[str, Any]) -> list[Cause]:
    source = spec.get("source") or {}
    if "pvc" not in source:
        return []
    where = source["pvc"]
    claim = request.store.find(registry.get(*_CLAIMS), where["namespace"], where["name"])
    # A source that does not exist yet is waited for; one that is too large is refused at once.
    if claim is None:
        return []
    asked = (((spec.get("pvc") or spec.get("storage") or {}).get("resources") or {}).get("requests") or {}).get(
        "storage"
    )
    requested = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    if (
        asked is not None
        and requested is not None
        and parse_bytes(asked) < min(claim_bytes(claim), parse_bytes(requested))
    ):
        message = "target resources requests storage size is smaller than the source"
        return [Cause(_INVALID, message, "spec.source.PVC")]
    return []


def authorize_clone(registry: Registry, request: AdmissionRequest, obj: Object) -> Object:
    """Checks that whoever creates a DataVolume may clone its source, and marks the permission on it.

    CDI asks for ``create`` on ``datavolumes/source`` in the source's namespace (pkg/clone/auth.go).

    Raises:
        ApiError: 403 when the source is in another namespace and the user may not.
    """
    if request.operation != "CREATE":
        return obj
    spec = obj.get("spec") or {}
    where = clone_source(registry, request, spec)
    if where is None:
        return obj
    kind, namespace, name = where
    if namespace != request.namespace and not may_clone(registry, request, namespace):
        raise ApiError(
            403,
            "Forbidden",
            f'admission webhook "{_DV_MUTATOR}" denied the request: '
            f"User {request.user.name} has insufficient permissions in clone source namespace {namespace}",
        )
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault("cdi.kubevirt.io/storage.clone.token", f"lab.{kind}.{namespace}.{name}")
    return obj


def clone_source(
    registry: Registry, request: AdmissionRequest, spec: Mapping[str, Any]
) -> tuple[str, str, str] | None:
    """What a DataVolume clones: (pvc or snapshot, namespace, name), or None if it clones nothing (yet)."""
    source: Mapping[str, Any] = spec.get("source") or {}
    reference = spec.get("sourceRef")
    if reference is not None:
        sources = registry.get("cdi.kubevirt.io", "datasources")
        namespace = reference.get("namespace") or request.namespace
        found = request.store.find(sources, namespace, reference.get("name") or "")
        source = (
            ((found or {}).get("status") or {}).get("source")
            or ((found or {}).get("spec") or {}).get("source")
            or {}
        )
    for kind in ("pvc", "snapshot"):
        if source.get(kind):
            return kind, source[kind].get("namespace") or request.namespace, source[kind].get("name") or ""
    return None


def may_clone(registry: Registry, request: AdmissionRequest, namespace: str) -> bool:
    """Whether the user may ``create datavolumes/source`` in a namespace."""
    from vmkit.lab.access.rbac import is_allowed

    return is_allowed(
        request.store,
        request.user,
        verb="create",
        group="cdi.kubevirt.io",
        resource="datavolumes",
        subresource="source",
        namespace=namespace,
    )


def validate_data_source(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Refuses a DataSource with several sources.

    Raises:
        ApiError: 422 with the causes.
    """
    if request.operation == "DELETE" or request.subresource:
        return
    sources = [key for key, value in ((obj.get("spec") or {}).get("source") or {}).items() if value]
    if len(sources) > 1:  # none at all is what a DataImportCron's source has before its first import
        raise deny(
            _SOURCE_VALIDATOR, [Cause(_INVALID, "DataSource should have exactly one source", "spec.source")]
        )


def validate_cron(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Refuses a DataImportCron whose schedule, template or policies are not valid.

    Raises:
        ApiError: 422 with the causes.
    """
    if request.operation == "DELETE" or request.subresource:
        return
    spec = obj.get("spec") or {}
    if old is not None and spec != old.get("spec"):
        raise deny(_CRON_VALIDATOR, [Cause("FieldValueDuplicate", "Cannot update DataImportCron Spec", "spec")])
    if old is not None:
        return
    causes = find_cron_causes(obj["metadata"].get("name", ""), spec)
    if causes:
        raise deny(_CRON_VALIDATOR, causes)


def find_cron_causes(name: str, spec: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with a DataImportCron's spec, as a list of no or one cause."""
    from vmkit.lab.semantics.cron import CronError, parse_cron

    template = (spec.get("template") or {}).get("spec") or {}
    registry = (template.get("source") or {}).get("registry")
    if len(name) > 253:
        return [Cause(_INVALID, "Name of data import cron cannot be longer than 253 characters", "metadata.name")]
    if registry is None:
        return [Cause(_INVALID, "Missing registry source", "spec.template")]
    causes = find_data_volume_causes("", template, field="spec.template.spec")
    if causes:
        return causes
    try:
        parse_cron(str(spec.get("schedule") or ""))
    except CronError as error:
        return [Cause(_INVALID, f"Illegal cron schedule: {error}", "spec.schedule")]
    if int(spec.get("importsToKeep", 3)) < 0:
        return [Cause(_INVALID, "Illegal ImportsToKeep value", "spec.importsToKeep")]
    if spec.get("garbageCollect") not in (None, "", "Outdated", "Never"):
        return [Cause(_INVALID, "Illegal GarbageCollect value", "spec.garbageCollect")]
    if not spec.get("managedDataSource"):
        return [Cause(_INVALID, "Illegal ManagedDataSource value", "spec.managedDataSource")]
    return []
