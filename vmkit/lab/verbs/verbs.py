"""What the verbs of the API do, from a request's body to the stored object: decoding, ownership, admission,
checks.

Follows k8s.io/apiserver/pkg/endpoints/handlers (create.go, update.go, patch.go, delete.go) and registry/rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from vmkit.lab.access.rbac import Attributes, authorize
from vmkit.lab.clock import Clock, format_time
from vmkit.lab.resources import AdmissionRequest, Object, Registry, ResourceType
from vmkit.lab.semantics.decoding import (
    MAX_BODY_BYTES,
    too_large,
    unsupported_media,
)
from vmkit.lab.semantics.objectmeta import find_metadata_changes, find_metadata_errors
from vmkit.lab.semantics.ownership import apply_configuration, track_update
from vmkit.lab.semantics.structural import fill_defaults, find_violations
from vmkit.lab.status import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    invalid,
    not_found,
    stale,
    success,
    unsupported_verb,
)
from vmkit.lab.store import Preconditions, Store
from vmkit.lab.verbs.call import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Call,
    check_name,
    check_options,
    check_patch_options,
)
from vmkit.lab.verbs.deletion import read_delete_options
from vmkit.lab.verbs.reading import read_configuration, read_object, read_patched, read_typed


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
        check_options(call, "CreateOptions")
        obj = read_object(call)
        obj = read_typed(call, self.store.schemas.of(rtype, call.version), obj, obj.get("kind", rtype.kind))
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
            return call.present(rtype.review(request, obj))
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
        return call.present(stored)

    # --- update ----------------------------------------------------------------------------------------

    def update(self, call: Call) -> tuple[Object, bool]:
        """PUT of an object or its status; says whether it created it (few kinds allow that)."""
        rtype = call.rtype
        self._need(call, "update")
        check_options(call, "UpdateOptions")
        obj = read_object(call)
        obj = read_typed(call, self.store.schemas.of(rtype, call.version), obj, obj.get("kind", rtype.kind))
        check_name(call, obj)
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
        return call.present(stored)

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
        for gate in self.registry.gates:
            gate(request, new, old)

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
        check_patch_options(call, applying=media == APPLY_PATCH)
        if media == APPLY_PATCH:
            return self._apply(call)
        old = self.store.find(rtype, call.namespace, call.name)
        if old is None:
            raise not_found(rtype, call.name)
        patched = read_patched(call, self.store.schemas.of(rtype, call.version), old, media)
        return self._admit_change(call, patched, old, owned=False), False

    def _apply(self, call: Call) -> tuple[Object, bool]:
        rtype = call.rtype
        ftype = self.store.schemas.of(rtype, call.version)
        config = read_configuration(call, ftype)
        metadata = config["metadata"]
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
        base = None if old is None else call.present(old)
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

    def delete(self, call: Call) -> tuple[Object, int]:
        """DELETE of one object: the answer and its status code."""
        rtype = call.rtype
        self._need(call, "delete")
        options = read_delete_options(call)
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
            return call.present(result), 200
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
            for gate in self.registry.gates:
                gate(request, old, old)
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
        options = read_delete_options(call)
        for old in objects:
            request = self._admission(call, "DELETE", old["metadata"]["name"], old)
            request.options = options
            try:
                self._delete_one(call, old, options, Preconditions(), request)
            except ApiError as error:
                if error.code != 404:
                    raise

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
            None if old is None else call.present(old),
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


def _covers(general: Cause, own: Cause) -> bool:
    """Whether a kind's own validation speaks of the same field, or of a part of it."""
    return own.field == general.field or own.field.startswith(f"{general.field}.")


def _type_errors(call: Call, obj: Object) -> list[Cause]:
    """A custom object must say its own kind and version (apiextensions validation.ValidateTypeMeta)."""
    if not call.rtype.custom or obj.get("kind") == call.rtype.kind:
        return []
    message = f'Invalid value: "{obj.get("kind", "")}": must be {call.rtype.kind}'
    return [Cause("FieldValueInvalid", message, "kind")]
