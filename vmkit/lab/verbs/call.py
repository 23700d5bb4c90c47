"""One request to a resource, and what is wrong with its options before anything is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vmkit.lab.access.users import User
from vmkit.lab.resources import Object, ResourceType
from vmkit.lab.status import Cause, bad_request, invalid

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
_VALIDATION: Final = ("", "Ignore", "Strict", "Warn")


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

    def present(self, obj: Object) -> Object:
        """The object in the version asked for."""
        return {**obj, "apiVersion": self.api_version, "kind": self.rtype.kind}


def check_name(call: Call, obj: Object) -> None:
    """Refuses an object whose name or namespace is not that of the URL (400)."""
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


def unsupported_value(field_name: str, value: Any, supported: tuple[str, ...]) -> Cause:
    """The cause of a 422: a value that is none of those there are."""
    shown = msgspec.json.encode(value).decode()
    listed = ", ".join(f'"{each}"' for each in supported)
    message = f"Unsupported value: {shown}: supported values: {listed}"
    return Cause("FieldValueNotSupported", message, field_name)


def _option_causes(call: Call) -> list[Cause]:
    causes: list[Cause] = []
    if call.query.get("dryRun", "All") != "All":
        causes.append(unsupported_value("dryRun", [call.query["dryRun"]], ("All",)))
    if call.query.get("fieldValidation") not in (None, *_VALIDATION):
        causes.append(unsupported_value("fieldValidation", call.query["fieldValidation"], _VALIDATION))
    manager = call.query.get("fieldManager", "")
    if len(manager) > 128:
        causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"))
    elif not manager.isprintable():
        message = (
            f"Invalid value: {msgspec.json.encode(manager).decode()}: should only contain printable characters"
        )
        causes.append(Cause("FieldValueInvalid", message, "fieldManager"))
    return causes


def check_options(call: Call, kind: str) -> None:
    """Refuses options of a create or an update that make no sense (422)."""
    causes = _option_causes(call)
    if causes:
        raise invalid("meta.k8s.io", kind, "", causes)


def check_patch_options(call: Call, *, applying: bool) -> None:
    """Refuses options of a patch that make no sense (422)."""
    causes: list[Cause] = []
    if applying and not call.query.get("fieldManager"):
        causes.append(Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"))
    if not applying and "force" in call.query:
        causes.append(Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"))
    causes.extend(_option_causes(call))
    if causes:
        raise invalid("meta.k8s.io", "PatchOptions", "", causes)
