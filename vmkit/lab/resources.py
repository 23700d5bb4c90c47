"""What the practice cluster serves: resource types, their hooks, and the registry they are added to.

A module that brings resources has a function ``register(registry: Registry) -> None``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vmkit.lab.status import no_such_resource, qualified

if TYPE_CHECKING:
    from datetime import datetime

    from vmkit.lab.access.users import User
    from vmkit.lab.clock import Clock
    from vmkit.lab.store import Store

Object = dict[str, Any]
"""An API object, decoded."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class ObjectKey(NamedTuple):
    """Which object of a type: ``namespace`` is empty for cluster-wide ones."""

    namespace: str
    name: str


class SchemaRef(NamedTuple):
    """A definition inside a file of ``vmkit/lab/schemas`` (the file without ``.json``); an empty definition is
    the whole file."""

    file: str
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a Table.

    ``path`` is a JSONPath as in a CRD's additionalPrinterColumns; ``value`` computes a cell instead
    (object, present instant).
    """

    name: str
    type: str = "string"
    path: str = ""
    format: str = ""
    description: str = ""
    priority: int = 0
    value: Callable[[Object, datetime], Any] | None = None


@dataclass(slots=True)
class AdmissionRequest:
    """What admission sees besides the object. ``warnings`` may be added to; they become Warning headers."""

    operation: Literal["CREATE", "UPDATE", "DELETE"]
    rtype: ResourceType
    namespace: str
    name: str
    user: User
    dry_run: bool
    subresource: str
    store: Store
    clock: Clock
    options: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    old: Object | None = None
    """The stored object on UPDATE and DELETE (mutators see it here; validators get it as an argument too)."""


Mutate = Callable[[AdmissionRequest, Object], Object]
"""Returns the object with defaults filled in; may change its argument."""

Validate = Callable[[AdmissionRequest, Object, "Object | None"], None]
"""Raises `vmkit.lab.status.ApiError` when the new object (or, on DELETE, the old one) is refused."""


@dataclass(slots=True)
class SubresourceRequest:
    """A request for a subresource or an aggregated API. ``query`` holds the last value of each parameter."""

    user: User
    method: str
    group: str
    version: str
    resource: str
    namespace: str
    name: str
    subresource: str
    """What follows the name ("start", "evacuate/cancel", "portforward/22/tcp"); empty for none."""
    body: bytes
    content_type: str
    accept: str
    query: Mapping[str, str]
    store: Store
    clock: Clock


@dataclass(slots=True)
class Response:
    """What a handler answers. ``body`` is bytes as they are, text, or a JSON object."""

    status: int = 200
    body: bytes | str | Object | None = None
    content_type: str = ""
    """Empty: ``application/json`` for objects, ``text/plain; charset=utf-8`` for text, none for no body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    """Texts of Warning headers."""


SubresourceHandler = Callable[[SubresourceRequest], Response]


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One kind of object and how it is served. Two types are the same only if they are one object.

    Args:
        group: API group; "" is the core group.
        version: the version objects are stored in.
        kind, plural, singular, short_names, categories: as in discovery.
        namespaced: whether objects live in namespaces.
        verbs: what discovery lists and the server allows.
        subresources: built-in ones the store keeps: "status" (a part of the object of its own), "scale".
        versions: every served version, preferred first; empty: only ``version``.
        custom: served from a CustomResourceDefinition; such objects are shaped a little differently
            (lists carry ``continue: ""``, items carry kind and apiVersion, writes need a resourceVersion).
        schema: its OpenAPI schema, as a reference into package data or inline; None: anything goes.
        columns: a Table's columns after none; empty: Name and Age.
        prepare: fills in what the server itself sets on create (phases, defaults), in place.
        prepare_update: what the server itself does on update (new, old, subresource), in place.
        graceful_seconds: (object, asked seconds or None) -> the seconds to wait before it goes; 0: at once.
        finalizing: whether something else than metadata.finalizers holds the object (a namespace's
        spec.finalizers).
        returns_deleted: DELETE answers with the object instead of a Status (pods, claims, services ...).
        generation: whether metadata.generation is kept.
        unconditional_update: whether PUT without a resourceVersion is allowed.
        selectable_fields: field selectors beside metadata.name and metadata.namespace: (object) -> {field: text}.
        empty: the object as Go has it before any field is set: which structs are always there (managedFields
            never own those themselves).
        mutate, validate: admission of that type, in the order of registration (`Registry.admit` appends).
        validate_name: "subdomain", "label", "path" or "label1035": what metadata.name must look like.
        scale_paths: (spec replicas, status replicas, label selector) JSON paths of the scale subresource.
        create_verbs_only: the object is answered and never stored (SelfSubjectAccessReview): (request, object).
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    custom: bool = False
    schema: SchemaRef | Mapping[str, Any] | None = None
    schemas: Mapping[str, SchemaRef | Mapping[str, Any]] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    prepare: Callable[[Object, datetime], None] | None = None
    prepare_update: Callable[[Object, Object, str], None] | None = None
    graceful_seconds: Callable[[Object, int | None], int] | None = None
    finalizing: Callable[[Object], bool] | None = None
    on_delete: Callable[[Object], None] | None = None
    returns_deleted: bool = False
    generation: bool = False
    unconditional_update: bool = True
    selectable_fields: Callable[[Object], Mapping[str, str]] | None = None
    selectable_names: tuple[str, ...] = ()
    empty: Mapping[str, Any] = field(default_factory=dict)
    mutate: list[Mutate] = field(default_factory=list)
    validate: list[Validate] = field(default_factory=list)
    validate_name: str = "subdomain"
    scale_paths: tuple[str, str, str] | None = None
    review: Callable[[AdmissionRequest, Object], Object] | None = None
    create_on_update: bool = False
    list_kind_name: str = ""

    @cached_property
    def resource(self) -> str:
        """The full name, unique in the registry: ``virtualmachines.kubevirt.io``, ``pods``."""
        return qualified(self.group, self.plural)

    @cached_property
    def api_version(self) -> str:
        """``kubevirt.io/v1``, ``v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def served_versions(self) -> tuple[str, ...]:
        """Every served version, preferred first."""
        return self.versions or (self.version,)

    @cached_property
    def singular_name(self) -> str:
        """The singular, by default the kind in lower case."""
        return self.singular or self.kind.lower()

    @cached_property
    def list_kind(self) -> str:
        """The kind of a list of them."""
        return self.list_kind_name or f"{self.kind}List"

    def api_version_of(self, version: str) -> str:
        """``group/version`` for one of its versions."""
        return f"{self.group}/{version}" if self.group else version

    def schema_of(self, version: str) -> SchemaRef | Mapping[str, Any] | None:
        """The schema in one version; a version without its own shares ``schema``."""
        return self.schemas.get(version, self.schema)


@dataclass(frozen=True, slots=True)
class AggregatedResource:
    """A line in the discovery of an aggregated API (no verbs: KubeVirt's route table says none)."""

    name: str
    namespaced: bool = True
    kind: str = ""
    verbs: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AggregatedApi:
    """A group that another server answers for (``subresources.kubevirt.io``).

    ``fallback`` answers what no registered subresource handler does.
    """

    group: str
    versions: tuple[str, ...]
    resources: Sequence[AggregatedResource]
    fallback: SubresourceHandler | None = None


class Registry:
    """Every resource type and handler of one lab; can be added to while it runs (CRDs do)."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], ResourceType] = {}
        self._by_kind: dict[tuple[str, str], ResourceType] = {}
        self._groups: dict[str, list[str]] = {}
        self._handlers: dict[tuple[str, str, str], SubresourceHandler] = {}
        self._declared: dict[tuple[str, str], tuple[tuple[str, Mapping[str, Any]], ...]] = {}
        self._aggregated: dict[str, AggregatedApi] = {}
        self.generation = 0
        """Grows with every change; caches of discovery hang on it."""
        self.gates: list[Validate] = []
        """What every write of every type passes last, whoever defines the type."""

    def add(self, rtype: ResourceType) -> ResourceType:
        """Serves a type; one of the same group and plural is replaced."""
        self._types[rtype.group, rtype.plural] = rtype
        self._by_kind[rtype.group, rtype.kind] = rtype
        versions = self._groups.setdefault(rtype.group, [])
        versions.extend(version for version in rtype.served_versions if version not in versions)
        self.generation += 1
        return rtype

    def remove(self, rtype: ResourceType) -> None:
        """Serves a type no more."""
        self._types.pop((rtype.group, rtype.plural), None)
        if self._by_kind.get((rtype.group, rtype.kind)) is rtype:
            del self._by_kind[rtype.group, rtype.kind]
        left: list[str] = []
        for other in self._types.values():
            if other.group == rtype.group:
                left.extend(version for version in other.served_versions if version not in left)
        if left:
            self._groups[rtype.group] = left
        else:
            self._groups.pop(rtype.group, None)
        self.generation += 1

    def find(self, group: str, plural: str) -> ResourceType | None:
        """The type, or None."""
        return self._types.get((group, plural))

    def get(self, group: str, plural: str) -> ResourceType:
        """The type.

        Raises:
            ApiError: 404, it is not served.
        """
        rtype = self._types.get((group, plural))
        if rtype is None:
            raise no_such_resource()
        return rtype

    def find_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """The type of an object's apiVersion and kind, or None; any served version will do."""
        group, _, version = api_version.rpartition("/")
        rtype = self._by_kind.get((group, kind))
        return rtype if rtype is not None and version in rtype.served_versions else None

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group -> served versions, preferred first; aggregated ones are not among them."""
        return self._groups

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(tuple(self._types.values()))

    # --- hooks -----------------------------------------------------------------------------------------

    def admit(
        self, rtype: ResourceType, *, mutate: Mutate | None = None, validate: Validate | None = None
    ) -> None:
        """Adds admission to a type: all mutators run before the schema check, all validators after it."""
        if mutate is not None:
            rtype.mutate.append(mutate)
        if validate is not None:
            rtype.validate.append(validate)

    def handle(self, group: str, resource: str, subresource: str, handler: SubresourceHandler) -> None:
        """Answers a subresource (any method; the handler refuses those it does not know).

        ``subresource`` matches whole ("evacuate/cancel") or as a first part ("portforward" gets
        "portforward/22/tcp"). An empty one answers ``/namespaces/NS/RESOURCE`` of an aggregated API.
        """
        self._handlers[group, resource, subresource] = handler

    def handler(self, group: str, resource: str, subresource: str) -> SubresourceHandler | None:
        """The handler of a subresource, the longest match first, or None."""
        parts = subresource.split("/")
        for end in range(len(parts), 0, -1):
            found = self._handlers.get((group, resource, "/".join(parts[:end])))
            if found is not None:
                return found
        return None

    def declare(self, group: str, plural: str, *subresources: tuple[str, Mapping[str, Any]]) -> None:
        """Lists handled subresources of an ordinary type in discovery: (name, {kind, verbs, group, version})."""
        self._declared[group, plural] = (*self._declared.get((group, plural), ()), *subresources)
        self.generation += 1

    def declared(self, rtype: ResourceType) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """What `declare` was told about a type."""
        return self._declared.get((rtype.group, rtype.plural), ())

    def aggregate(self, api: AggregatedApi) -> None:
        """Serves a group by handlers alone."""
        self._aggregated[api.group] = api
        self.generation += 1

    def aggregated(self, group: str) -> AggregatedApi | None:
        """The aggregated API of a group, or None."""
        return self._aggregated.get(group)

    def aggregated_apis(self) -> Sequence[AggregatedApi]:
        """All of them."""
        return tuple(self._aggregated.values())
