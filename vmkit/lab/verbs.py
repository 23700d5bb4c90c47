"""What the verbs of the API do, from a request's body to the stored object: decoding, ownership, admission,
checks.

Follows k8s.io/apiserver/pkg/endpoints/handlers (create.go, update.go, patch.go, delete.go) and registry/rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vmkit.lab.access.rbac import Attributes, authorize
from vmkit.lab.access.users import User
from vmkit.lab.clock import Clock, format_time
from vmkit.lab.resources import AdmissionRequest, Object, Registry, ResourceType
from vmkit.lab.semantics.decoding import (
    JSON,
    MAX_BODY_BYTES,
    PROTOBUF,
    YAML,
    DecodeFailed,
    cannot_handle,
    check_go_types,
    decode_object,
    find_duplicates,
    find_unknown,
    parse_body,
    parse_json,
    parse_yaml,
    prune_unknown,
    too_large,
    unsupported_media,
)
from vmkit.lab.semantics.objectmeta import find_metadata_changes, find_metadata_errors, invalid_value
from vmkit.lab.semantics.ownership import apply_configuration, track_update
from vmkit.lab.semantics.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from vmkit.lab.semantics.structural import fill_defaults, find_violations
from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import (
    ApiError,
    Cause,
    Details,
    bad_request,
    conflict,
    invalid,
    not_found,
    stale,
    success,
    unsupported_verb,
)
from vmkit.lab.store import Preconditions, Store

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
_PROPAGATION: Final = ("Foreground", "Background", "Orphan", "nil")
_VALIDATION: Final = ("", "Ignore", "Strict", "Warn")
_UNDECLARED_LIMIT: Final = 8


@dataclass(slots=True)
class Call:
    """One request to a resource, its path and query taken apart. ``warnings`` become Warning headers."""

    user: User
    rtype: ResourceType
    version: str
    namespace: str
    name: str
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    user_agent: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be written."""
        return "dryRun" in self.query

    @property
    def manager(self) -> str:
        """Who owns what is written: fieldManager, else the client's name from its User-Agent."""
        given = self.query.get("fieldManager", "")
        if given:
            return given
        name = "".join(letter for letter in self.user_agent.split("/")[0] if letter.isprintable())[:128]
        return name or "unknown"

    @property
    def api_version(self) -> str:
        """``group/version`` as asked for."""
        return self.rtype.api_version_of(self.version)


class Verbs:
    """The verbs, on one store."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self.store = store
        self.registry = registry
        self.clock = clock

    # --- create ----------------------------------------------------------------------------------------

    def create(self, call: Call) -> Object:
        """POST of an object."""
        rtype = call.rtype
        self._need(call, "create")
        _check_options(call, "CreateOptions")
        obj = self._decode(call)
        obj = self._typed(call, obj, obj.get("kind", rtype.kind))
        return self._admit_new(call, obj, owned=False)

    def _admit_new(self, call: Call, obj: Object, *, owned: bool) -> Object:
        rtype, metadata = call.rtype, obj["metadata"]
        sent = metadata.get("namespace", "")
        if rtype.namespaced and sent not in ("", call.namespace):
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if rtype.namespaced:
            metadata["namespace"] = call.namespace
        else:
            metadata.pop("namespace", None)
        if metadata.get("resourceVersion") and rtype.review is None:
            raise bad_request("resourceVersion should not be set on objects to be created")
        self.store.check_namespace(rtype, call.namespace, metadata.get("name", ""))
        if not owned:
            self._claim(call, None, obj)
        request = self._admission(call, "CREATE", metadata.get("name", ""), None)
        if rtype.review is not None:
            return self._present(call, rtype.review(request, obj))
        for mutate in rtype.mutate:
            obj = mutate(request, obj)
        ftype = self.store.schemas.of(rtype, call.version)
        if rtype.custom:
            fill_defaults(ftype, obj)

        def check(new: Object) -> None:
            causes = list(
                find_metadata_errors(
                    new["metadata"],
                    style=rtype.validate_name,
                    namespaced=rtype.namespaced,
                    builtin=not rtype.custom,
                )
            )
            causes.extend(_type_errors(call, new))
            causes.extend(find_violations(ftype, new, typed=not rtype.custom))
            request.name = new["metadata"].get("name", "")
            self._validate(request, new, None, causes)

        stored = self.store.create(rtype, obj, dry_run=call.dry_run, check=check)
        call.warnings.extend(request.warnings)
        return self._present(call, stored)

    # --- update ----------------------------------------------------------------------------------------

    def update(self, call: Call) -> tuple[Object, bool]:
        """PUT of an object or its status; says whether it created it (few kinds allow that)."""
        rtype = call.rtype
        self._need(call, "update")
        _check_options(call, "UpdateOptions")
        obj = self._decode(call)
        obj = self._typed(call, obj, obj.get("kind", rtype.kind))
        _check_name(call, obj)
        old = self.store.find(rtype, call.namespace, call.name)
        if old is None:
            if rtype.create_on_update and not call.subresource:
                self._authorize(call, "create")
                obj["metadata"].pop("resourceVersion", None)
                return self._admit_new(call, obj, owned=False), True
            raise not_found(rtype, call.name)
        uid = obj["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(rtype.group, rtype.plural, call.name, why)
        if not rtype.unconditional_update and not obj["metadata"].get("resourceVersion"):
            cause = Cause(
                "FieldValueInvalid",
                "Invalid value: 0: must be specified for an update",
                "metadata.resourceVersion",
            )
            raise invalid(rtype.group, rtype.plural, call.name, [cause])
        return self._admit_change(call, obj, old, owned=False), False

    def _admit_change(self, call: Call, obj: Object, old: Object, *, owned: bool) -> Object:
        rtype = call.rtype
        metadata = obj["metadata"]
        metadata.setdefault("name", call.name)
        if rtype.namespaced:
            metadata.setdefault("namespace", call.namespace)
        version = metadata.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise stale(rtype, call.name)
        if not rtype.custom and not call.subresource and rtype.prepare is not None:
            self._default_again(rtype, obj, old)
        if not owned:
            obj = self._only_part(call, obj, old)
            self._claim(call, old, obj)
        request = self._admission(call, "UPDATE", call.name, old)
        for mutate in rtype.mutate:
            obj = mutate(request, obj)
        ftype = self.store.schemas.of(rtype, call.version)
        if rtype.custom:
            fill_defaults(ftype, obj)
        fixed = {key: obj["metadata"].get(key) for key in ("uid", "creationTimestamp", "namespace")}

        def check(new: Object, present: Object) -> None:
            causes = list(
                find_metadata_changes({**new["metadata"], **fixed}, present["metadata"], builtin=not rtype.custom)
            )
            causes.extend(_type_errors(call, new))
            causes.extend(find_violations(ftype, new, typed=not rtype.custom))
            self._validate(request, new, present, causes)

        stored = self.store.update(
            rtype, obj, subresource=call.subresource or None, dry_run=call.dry_run, owned=True, check=check
        )
        call.warnings.extend(request.warnings)
        return self._present(call, stored)

    def _validate(self, request: AdmissionRequest, new: Object, old: Object | None, causes: list[Cause]) -> None:
        """Refuses for the causes found so far and those of the kind's own validation.

        A custom object is refused for its schema before webhooks see it. A built-in kind has one validation in
        Go, which names everything at once; what its schema says about the same fields is left out.

        Raises:
            ApiError: 422, or whatever a validation refuses with.
        """
        rtype = request.rtype
        for validate in rtype.validate:
            if causes and rtype.custom:
                break
            try:
                validate(request, new, old)
            except ApiError as error:
                if error.code != 422 or not causes:
                    raise
                own = [Cause(**cause) for cause in (error.details or {}).get("causes", ())]
                causes = [cause for cause in causes if not any(_covers(cause, each) for each in own)] + own
        if causes:
            raise invalid(rtype.group, rtype.kind, request.name, causes)

    def _default_again(self, rtype: ResourceType, obj: Object, old: Object) -> None:
        """Built-in kinds are defaulted whenever they are read from a request, so on updates too."""
        status, metadata = obj.get("status"), obj["metadata"]
        # Labels and finalizers that the server sets on create are the owner's afterwards.
        kept = {name: metadata.get(name) for name in ("labels", "finalizers")}
        metadata["uid"] = old["metadata"]["uid"]
        if rtype.prepare is not None:
            rtype.prepare(obj, self.clock.now())
        obj.pop("status", None)
        if status is not None:
            obj["status"] = status
        if rtype.kind == "Namespace":
            kept.pop("labels")
        for name, value in kept.items():
            metadata.pop(name, None)
            if value is not None:
                metadata[name] = value

    def _only_part(self, call: Call, obj: Object, old: Object) -> Object:
        """What this endpoint may change, laid over the present object; ownership is worked out on that."""
        if call.subresource == "status":
            part = {**old, "metadata": {**old["metadata"]}}
            part.pop("status", None)
            if "status" in obj:
                part["status"] = obj["status"]
            if "annotations" in obj["metadata"] and not call.rtype.custom:
                part["metadata"]["annotations"] = obj["metadata"]["annotations"]
            part["apiVersion"] = call.api_version
            return part
        if "status" in call.rtype.subresources:
            obj = dict(obj)
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = old["status"]
        return obj

    # --- patch -----------------------------------------------------------------------------------------

    def patch(self, call: Call) -> tuple[Object, bool]:
        """PATCH; says whether it created the object (server-side apply may)."""
        rtype = call.rtype
        self._need(call, "patch")
        media = call.content_type.split(";")[0].strip().lower()
        accepted = [JSON_PATCH, MERGE_PATCH, *(() if rtype.custom else (STRATEGIC_PATCH,)), APPLY_PATCH]
        if media not in accepted:
            if media.startswith("application/") and "patch" not in media and not rtype.custom:
                raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
            raise unsupported_media(", ".join([*accepted, "application/apply-patch+cbor"]))
        if len(call.body) > MAX_BODY_BYTES:
            raise too_large()
        _check_patch_options(call, applying=media == APPLY_PATCH)
        if media == APPLY_PATCH:
            return self._apply(call)
        old = self.store.find(rtype, call.namespace, call.name)
        if old is None:
            raise not_found(rtype, call.name)
        return self._admit_change(call, self._patched(call, old, media), old, owned=False), False

    def _patched(self, call: Call, old: Object, media: str) -> Object:
        rtype = call.rtype
        try:
            patch = parse_json(call.body)
        except DecodeFailed as error:
            prefix = "" if media == JSON_PATCH else "error decoding patch: "
            raise bad_request(f"{prefix}{error}") from error
        base = self._present(call, old)
        if media == JSON_PATCH:
            result = apply_json_patch(base, patch)
        elif not isinstance(patch, dict):
            raise bad_request("error decoding patch: json: cannot unmarshal array into Go value of type map")
        elif media == MERGE_PATCH:
            self._validate_fields(call, list(find_duplicates(call.body)), "duplicate field")
            result = apply_merge_patch(base, patch)
        else:
            result = apply_strategic_patch(base, patch, self.store.schemas.of(rtype, call.version))
        if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
            raise _unreadable_patch(result, "Object 'metadata' is missing")
        try:
            result = self._typed(call, result, "", patched=True)
        except DecodeFailed as error:
            raise _unreadable_patch(result, str(error)) from error
        for key, expected in (("kind", rtype.kind), ("apiVersion", call.api_version)):
            if result.get(key) != expected:
                result[key] = expected
        _check_name(call, result)
        return result

    def _apply(self, call: Call) -> tuple[Object, bool]:
        rtype = call.rtype
        try:
            config = parse_yaml(call.body)
        except DecodeFailed as error:
            raise bad_request(f"error decoding YAML: {error}") from error
        if not isinstance(config, dict):
            raise bad_request("error decoding YAML: error unmarshaling JSON: json: cannot unmarshal into Go value")
        metadata = config.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise bad_request("error decoding YAML: metadata is no object")
        if config.get("apiVersion") != call.api_version or config.get("kind") != rtype.kind:
            sent, kind = config.get("apiVersion", ""), config.get("kind", "")
            if not sent or not kind:
                missing = "apiVersion" if not sent else "Kind"
                raise bad_request(f"Object '{missing}' is missing in the applied configuration")
            raise bad_request(
                f"the API version in the data ({sent}) does not match the expected API version "
                f"({call.api_version})"
                if sent != call.api_version
                else f"the kind in the data ({kind}) does not match the expected kind ({rtype.kind})"
            )
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        config = _without_nulls(config)
        metadata = config["metadata"]
        metadata.setdefault("name", call.name)
        if rtype.namespaced:
            metadata.setdefault("namespace", call.namespace)
        _check_name(call, config)
        ftype = self.store.schemas.of(rtype, call.version)
        self._check_declared(call, ftype, config)
        old = self.store.find(rtype, call.namespace, call.name)
        if old is None:
            if metadata.get("uid"):
                why = (
                    f"uid mismatch: the provided object specified uid {metadata['uid']}, "
                    "and no existing object was found"
                )
                raise conflict(rtype.group, rtype.plural, call.name, why)
            if metadata.get("resourceVersion"):
                raise stale(rtype, call.name)
            self._authorize(call, "create")
            self.store.check_namespace(rtype, call.namespace, call.name)
        elif metadata.get("uid") and metadata["uid"] != old["metadata"]["uid"]:
            why = (
                f"Precondition failed: UID in precondition: {metadata['uid']}, "
                f"UID in object meta: {old['metadata']['uid']}"
            )
            raise conflict(rtype.group, rtype.plural, call.name, why)
        base = None if old is None else self._present(call, old)
        result = apply_configuration(
            ftype,
            base,
            config,
            empty={**rtype.empty, "metadata": {}},
            manager=call.manager,
            api_version=call.api_version,
            subresource=call.subresource,
            time=format_time(self.clock.now()),
            force=call.query.get("force", "false").lower() not in ("false", "0"),
        )
        result = {"apiVersion": call.api_version, "kind": rtype.kind, **copy.deepcopy(result)}
        if metadata.get("resourceVersion"):
            result["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        if old is None:
            result["metadata"].setdefault("name", call.name)
            result["metadata"].pop("resourceVersion", None)
            return self._admit_new(call, result, owned=True), True
        return self._admit_change(call, result, old, owned=True), False

    def _check_declared(self, call: Call, ftype: FieldType, config: Object) -> None:
        """An applied configuration must fit the schema at once (structured-merge-diff refuses it otherwise)."""
        complaints = [f".{path}: field not declared in schema" for path in find_unknown(ftype, config)]
        try:
            check_go_types(ftype, config, call.rtype.kind)
        except DecodeFailed as error:
            complaints.append(str(error))
        if not complaints:
            return
        shown = (
            complaints[0]
            if len(complaints) == 1
            else "errors:\n" + "\n".join(f"  {each}" for each in complaints[:_UNDECLARED_LIMIT])
        )
        group_version = call.api_version if call.rtype.group else f"/{call.version}"
        where = f"{call.namespace}/{call.name}; {group_version}, Kind={call.rtype.kind}"
        raise ApiError(500, "", f"failed to create typed patch object ({where}): {shown}")

    # --- delete ----------------------------------------------------------------------------------------

    def delete(self, call: Call) -> tuple[Object, int]:
        """DELETE of one object: the answer and its status code."""
        rtype = call.rtype
        self._need(call, "delete")
        options = self.delete_options(call)
        old = self.store.find(rtype, call.namespace, call.name)
        if old is None:
            raise not_found(rtype, call.name)
        preconditions = options.get("preconditions") or {}
        wanted = Preconditions(
            uid=str(preconditions.get("uid") or ""),
            resource_version=str(preconditions.get("resourceVersion") or ""),
        )
        request = self._admission(call, "DELETE", call.name, old)
        request.options = options
        result = self._delete_one(call, old, options, wanted, request)
        call.warnings.extend(request.warnings)
        if result is not None:
            return self._present(call, result), 200
        return success(name=call.name, group=rtype.group, kind=rtype.plural, uid=old["metadata"]["uid"]), 200

    def _delete_one(
        self,
        call: Call,
        old: Object,
        options: Mapping[str, Any],
        wanted: Preconditions,
        request: AdmissionRequest,
    ) -> Object | None:
        """Deletes; returns the object when the answer is to show it."""
        rtype = call.rtype
        if not wanted.uid or wanted.uid == old["metadata"]["uid"]:
            for validate in rtype.validate:
                validate(request, old, old)
        deleted = self.store.delete(
            rtype,
            old["metadata"].get("namespace", "") if rtype.namespaced else "",
            old["metadata"]["name"],
            preconditions=wanted,
            propagation=options.get("propagationPolicy"),
            grace_seconds=options.get("gracePeriodSeconds"),
            dry_run=call.dry_run or bool(options.get("dryRun")),
        )
        return deleted.object if not deleted.gone or rtype.returns_deleted else None

    def delete_each(self, call: Call, objects: list[Object]) -> None:
        """DELETE of a collection, its members already picked."""
        self._need(call, "deletecollection")
        options = self.delete_options(call)
        for old in objects:
            request = self._admission(call, "DELETE", old["metadata"]["name"], old)
            request.options = options
            try:
                self._delete_one(call, old, options, Preconditions(), request)
            except ApiError as error:
                if error.code != 404:
                    raise

    def delete_options(self, call: Call) -> dict[str, Any]:
        """DeleteOptions from body and query.

        Raises:
            ApiError: 400 or 422.
        """
        options: dict[str, Any] = {}
        if call.body.strip():
            media = call.content_type.split(";")[0].strip().lower()
            if media not in ("", JSON, YAML, PROTOBUF):
                raise unsupported_media("application/json, application/yaml, application/vnd.kubernetes.protobuf")
            try:
                parsed = parse_body(call.body, media)
            except DecodeFailed as error:
                raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
            if not isinstance(parsed, dict):
                raise bad_request(
                    "couldn't get version/kind; json parse error: cannot unmarshal into DeleteOptions"
                )
            kind = parsed.get("kind") or "DeleteOptions"
            if kind != "DeleteOptions":
                raise bad_request(f"decoded object cannot be converted to DeleteOptions: it is a {kind}")
            options = parsed
        query = call.query
        if "propagationPolicy" in query:
            options.setdefault("propagationPolicy", query["propagationPolicy"])
        if "gracePeriodSeconds" in query and "gracePeriodSeconds" not in options:
            try:
                options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
            except ValueError as error:
                text = query["gracePeriodSeconds"]
                raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
        causes: list[Cause] = []
        policy = options.get("propagationPolicy")
        if options.get("orphanDependents") is not None:
            if policy is not None:
                message = "orphanDependents and deletionPropagation cannot be both set"
                causes.append(invalid_value("propagationPolicy", policy, message))
            policy = options["propagationPolicy"] = "Orphan" if options["orphanDependents"] else "Background"
        if policy is not None and policy not in _PROPAGATION[:3]:
            causes.append(_unsupported("propagationPolicy", policy, _PROPAGATION))
        dry_run = options.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
        if any(each != "All" for each in dry_run):
            causes.append(_unsupported("dryRun", dry_run, ("All",)))
        grace = options.get("gracePeriodSeconds")
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
            raise bad_request(
                "json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
            )
        if causes:
            raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
        return options

    # --- parts -----------------------------------------------------------------------------------------

    def _need(self, call: Call, verb: str) -> None:
        if verb not in call.rtype.verbs and not call.subresource:
            raise unsupported_verb(call.rtype, verb)

    def _authorize(self, call: Call, verb: str) -> None:
        rtype = call.rtype
        authorize(
            self.store,
            call.user,
            Attributes(verb, rtype.group, rtype.plural, call.subresource, call.namespace, call.name),
        )

    def _decode(self, call: Call) -> Object:
        rtype = call.rtype
        obj = decode_object(
            call.body, call.content_type, kind=rtype.kind, custom=rtype.custom, api_version=call.api_version
        )
        duplicates = find_duplicates(call.body) if "yaml" not in call.content_type else []
        self._validate_fields(call, duplicates, "duplicate field", obj.get("kind", rtype.kind))
        return obj

    def _typed(self, call: Call, obj: Object, sent_kind: str, *, patched: bool = False) -> Object:
        """The object as decoding into its type leaves it: unknown fields reported and dropped, types checked.

        Raises:
            ApiError: 400 for unknown fields under strict validation, or a wrong type.
            DecodeFailed: the same for a patched object, whose 422 shows it.
        """
        rtype = call.rtype
        ftype = self.store.schemas.of(rtype, call.version)
        try:
            if rtype.custom:
                check_go_types(ftype.field("metadata"), obj.get("metadata"), "ObjectMeta")
            else:
                check_go_types(ftype, obj, rtype.kind)
        except DecodeFailed as error:
            if patched:
                raise
            raise cannot_handle(sent_kind, call.api_version, rtype.kind, str(error)) from error
        unknown = list(find_unknown(ftype, obj))
        if unknown:
            if patched and call.query.get("fieldValidation") == "Strict":
                listed = ", ".join(f'unknown field "{path}"' for path in unknown)
                raise DecodeFailed(f"strict decoding error: {listed}")
            self._validate_fields(call, unknown, "unknown field", sent_kind or rtype.kind)
            obj = prune_unknown(ftype, obj)
        if not rtype.custom:
            obj = _without_nulls(obj)
        if obj.get("metadata") is None:
            obj["metadata"] = {}
        return obj

    def _validate_fields(self, call: Call, paths: list[str], what: str, sent_kind: str = "") -> None:
        """fieldValidation: refuse, warn about, or ignore fields."""
        if not paths:
            return
        directive = call.query.get("fieldValidation") or "Warn"
        texts = [f'{what} "{path}"' for path in paths]
        if directive == "Strict":
            why = "strict decoding error: " + ", ".join(texts)
            raise cannot_handle(sent_kind or call.rtype.kind, call.api_version, call.rtype.kind, why)
        if directive == "Warn":
            call.warnings.extend(texts)

    def _claim(self, call: Call, old: Object | None, obj: Object) -> None:
        """Works out managedFields before admission changes the object: what webhooks fill in nobody owns."""
        rtype = call.rtype
        view = obj
        if not rtype.custom and rtype.prepare is not None and old is None and rtype.review is None:
            # Defaults belong to whoever creates the object; what the server sets as its own (status) does not.
            view = copy.deepcopy(obj)
            view["metadata"].setdefault("uid", "")
            view["metadata"].setdefault("name", "")
            rtype.prepare(view, self.clock.now())
            view["metadata"]["labels"] = obj["metadata"].get("labels")
            if view["metadata"]["labels"] is None:
                del view["metadata"]["labels"]
            view.pop("status", None)
        if old is None and rtype.custom and "status" in rtype.subresources:
            view = {key: value for key, value in obj.items() if key != "status"}
        track_update(
            self.store.schemas.of(rtype, call.version),
            None if old is None else self._present(call, old),
            view,
            empty={**rtype.empty, "metadata": {}},
            manager=call.manager,
            api_version=call.api_version,
            subresource=call.subresource,
            time=format_time(self.clock.now()),
        )
        managed = view["metadata"].get("managedFields")
        obj["metadata"].pop("managedFields", None)
        if managed:
            obj["metadata"]["managedFields"] = managed

    def _admission(self, call: Call, operation: Any, name: str, old: Object | None) -> AdmissionRequest:
        return AdmissionRequest(
            operation=operation,
            rtype=call.rtype,
            namespace=call.namespace,
            name=name,
            user=call.user,
            dry_run=call.dry_run,
            subresource=call.subresource,
            store=self.store,
            clock=self.clock,
            old=old,
        )

    def _present(self, call: Call, obj: Object) -> Object:
        """The object in the version asked for."""
        return {**obj, "apiVersion": call.api_version, "kind": call.rtype.kind}


def _covers(general: Cause, own: Cause) -> bool:
    """Whether a kind's own validation speaks of the same field, or of a part of it."""
    return own.field == general.field or own.field.startswith(f"{general.field}.")


def _type_errors(call: Call, obj: Object) -> list[Cause]:
    """A custom object must say its own kind and version (apiextensions validation.ValidateTypeMeta)."""
    if not call.rtype.custom or obj.get("kind") == call.rtype.kind:
        return []
    message = f'Invalid value: "{obj.get("kind", "")}": must be {call.rtype.kind}'
    return [Cause("FieldValueInvalid", message, "kind")]


def _check_name(call: Call, obj: Object) -> None:
    metadata = obj["metadata"]
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    if not name:
        raise bad_request(
            f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        )
    if name != call.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
    if call.namespace and namespace not in ("", call.namespace):
        raise bad_request(
            f"the namespace of the object ({namespace}) does not match the namespace on the request "
            f"({call.namespace})"
        )


def _unsupported(field_name: str, value: Any, supported: tuple[str, ...]) -> Cause:
    shown = msgspec.json.encode(value).decode()
    listed = ", ".join(f'"{each}"' for each in supported)
    message = f"Unsupported value: {shown}: supported values: {listed}"
    return Cause("FieldValueNotSupported", message, field_name)


_NULLABLE: Final = ("eventTime", "firstTimestamp", "lastTimestamp")


def _option_causes(call: Call) -> list[Cause]:
    causes: list[Cause] = []
    if call.query.get("dryRun", "All") != "All":
        causes.append(_unsupported("dryRun", [call.query["dryRun"]], ("All",)))
    if call.query.get("fieldValidation") not in (None, *_VALIDATION):
        causes.append(_unsupported("fieldValidation", call.query["fieldValidation"], _VALIDATION))
    manager = call.query.get("fieldManager", "")
    if len(manager) > 128:
        causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"))
    elif not manager.isprintable():
        message = (
            f"Invalid value: {msgspec.json.encode(manager).decode()}: should only contain printable characters"
        )
        causes.append(Cause("FieldValueInvalid", message, "fieldManager"))
    return causes


def _check_options(call: Call, kind: str) -> None:
    causes = _option_causes(call)
    if causes:
        raise invalid("meta.k8s.io", kind, "", causes)


def _check_patch_options(call: Call, *, applying: bool) -> None:
    causes: list[Cause] = []
    if applying and not call.query.get("fieldManager"):
        causes.append(Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"))
    if not applying and "force" in call.query:
        causes.append(Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"))
    causes.extend(_option_causes(call))
    if causes:
        raise invalid("meta.k8s.io", "PatchOptions", "", causes)


def _unreadable_patch(result: Any, why: str) -> ApiError:
    shown = msgspec.json.encode(msgspec.json.encode(result).decode()).decode()
    cause = Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", "patch")
    return ApiError(
        422, "Invalid", f' "" is invalid: patch: {cause.message}', details=Details(causes=(cause,)).to_dict()
    )


def _without_nulls(value: Any) -> Any:
    """Nulls are nothing to a typed object, except in an Event's times, which are written as null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None or key in _NULLABLE}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
