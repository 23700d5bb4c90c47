"""Lists: selectors, pages, versions, and their bytes joined from what is stored."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vmkit.lab.resources import Object, ResourceType
from vmkit.lab.semantics.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from vmkit.lab.status import ApiError, Cause, bad_request, expired, invalid, too_large_version
from vmkit.lab.store import Entry, Store

_CONTINUE_VERSION: Final = "meta.k8s.io/v1"
_EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or watch is about."""

    rtype: ResourceType
    namespace: str | None
    labels: LabelSelector
    fields: FieldSelector

    @property
    def everything(self) -> bool:
        """Whether no selector narrows it."""
        return not self.labels and not self.fields

    def matches(self, namespace: str, name: str, labels: Mapping[str, str], decode: Callable[[], Object]) -> bool:
        """Whether an object is selected; it is decoded only when a field of its body is asked for."""
        if self.namespace is not None and namespace != self.namespace:
            return False
        if self.labels and not self.labels.matches(labels):
            return False
        if not self.fields:
            return True
        known = {"metadata.name": name, "metadata.namespace": namespace}
        if self.rtype.selectable_fields is not None and any(term.field not in known for term in self.fields.terms):
            known.update(self.rtype.selectable_fields(decode()))
        return self.fields.matches(known)


def parse_selection(rtype: ResourceType, namespace: str, name: str, query: Mapping[str, str]) -> Selection:
    """Reads labelSelector and fieldSelector.

    Raises:
        ApiError: 400.
    """
    labels = parse_label_selector(query.get("labelSelector", ""))

    def check(field: str) -> ApiError | None:
        if field in ("metadata.name", "metadata.namespace") or field in rtype.selectable_names:
            if field == "metadata.namespace" and rtype.custom and not rtype.namespaced:
                return bad_request(f"field label not supported: {field}")
            return None
        if rtype.custom or rtype.selectable_names:
            return bad_request(f"field label not supported: {field}")
        return bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')

    fields = parse_field_selector(query.get("fieldSelector", ""), check)
    if name:
        fields = parse_field_selector(f"metadata.name={name}", check)
    return Selection(rtype, namespace or None, labels, fields)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: its entries in order, and what goes into its metadata."""

    entries: Sequence[Entry]
    version: int
    continue_token: str = ""
    remaining: int | None = None

    def metadata(self, *, custom: bool) -> dict[str, Any]:
        """List metadata; lists of custom resources always carry ``continue``."""
        document: dict[str, Any] = {"resourceVersion": str(self.version)}
        if self.continue_token or custom:
            document["continue"] = self.continue_token
        if self.remaining:
            document["remainingItemCount"] = self.remaining
        return document


def read_page(store: Store, selection: Selection, query: Mapping[str, str]) -> Page:
    """The entries a list request asks for.

    Raises:
        ApiError: 400, 410, 422 or 504.
    """
    limit = _parse_limit(query.get("limit", ""))
    token = query.get("continue", "")
    asked = parse_version(query.get("resourceVersion", ""))
    _check_match(query, token)
    start = ""
    version = store.version
    if token:
        if asked:
            raise bad_request("specifying resource version is not allowed when using continue")
        version, start = _read_token(token, selection.namespace)
        if version < 0:
            version = store.version
        elif version > store.version:
            raise too_large_version(version, store.version)
        entries = _entries_at(store, selection, version, start)
    elif query.get("resourceVersionMatch") == "Exact":
        if asked > store.version:
            raise too_large_version(asked, store.version)
        version = asked
        entries = store.entries_at(selection.rtype, asked, selection.namespace)
    else:
        if asked > store.version:
            raise too_large_version(asked, store.version)
        entries = store.entries(selection.rtype, selection.namespace)  # type: ignore[assignment]
    return _cut(entries, selection, limit, start, version)


def _cut(entries: Iterable[Entry], selection: Selection, limit: int, start: str, version: int) -> Page:
    cluster_wide = selection.namespace is None and selection.rtype.namespaced
    picked: list[Entry] = []
    more = 0
    for entry in entries:
        if start and _storage_key(entry, cluster_wide=cluster_wide) < start:
            continue
        if not selection.everything and not selection.matches(
            entry.key.namespace, entry.key.name, entry.labels, entry.decode
        ):
            continue
        if limit and len(picked) >= limit:
            more += 1
            if not selection.everything:
                break
            continue
        picked.append(entry)
    if not more:
        return Page(picked, version)
    after = _storage_key(picked[-1], cluster_wide=cluster_wide) + "\0"
    return Page(picked, version, _write_token(version, after), more if selection.everything else None)


def _storage_key(entry: Entry, *, cluster_wide: bool) -> str:
    return f"/{entry.key.namespace}/{entry.key.name}" if cluster_wide else f"/{entry.key.name}"


def _entries_at(store: Store, selection: Selection, version: int, start: str) -> Sequence[Entry]:
    try:
        return store.entries_at(selection.rtype, version, selection.namespace)
    except ApiError as error:
        token = _write_token(-1, start)
        raise expired(_EXPIRED, metadata={"continue": token}) from error


def _parse_limit(text: str) -> int:
    if not text:
        return 0
    try:
        limit = int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
    if limit < 0:
        # A negative limit means none.
        return 0
    return limit


def parse_version(text: str) -> int:
    """A resourceVersion parameter; empty is 0.

    Raises:
        ApiError: 400, it is no version.
    """
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise bad_request(
            f'invalid resource version "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def _check_match(query: Mapping[str, str], token: str) -> None:
    """resourceVersionMatch goes only with a version, and not with everything (apis/meta/internalversion)."""
    match = query.get("resourceVersionMatch", "")
    causes: list[Cause] = []
    if query.get("sendInitialEvents") is not None:
        message = "Forbidden: sendInitialEvents is forbidden for list"
        causes.append(Cause("FieldValueForbidden", message, "sendInitialEvents"))
    if match:
        version = query.get("resourceVersion", "")
        if not version:
            message = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(Cause("FieldValueForbidden", message, "resourceVersionMatch"))
        if token:
            message = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
            causes.append(Cause("FieldValueForbidden", message, "resourceVersionMatch"))
        if match not in ("Exact", "NotOlderThan"):
            message = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
            causes.append(Cause("FieldValueNotSupported", message, "resourceVersionMatch"))
        if match == "Exact" and version == "0":
            message = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(Cause("FieldValueForbidden", message, "resourceVersionMatch"))
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)


def _write_token(version: int, start: str) -> str:
    """k8s.io/apiserver/pkg/storage/continue.go: the next key, its leading slash kept."""
    document = {"v": _CONTINUE_VERSION, "rv": version, "start": start}
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).rstrip(b"=").decode()


def _read_token(token: str, namespace: str | None) -> tuple[int, str]:
    def refuse(why: str) -> ApiError:
        return bad_request(f"invalid continue token: continue key is not valid: {why}")

    bad = re.search(r"[^A-Za-z0-9_-]", token)
    if bad is not None or len(token) % 4 == 1:
        at = bad.start() if bad is not None else len(token) - 1
        raise refuse(f"illegal base64 data at input byte {at}")
    try:
        document = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise refuse("invalid character looking for beginning of value") from error
    if not isinstance(document, dict) or document.get("v") != _CONTINUE_VERSION:
        shown = document.get("v", "") if isinstance(document, dict) else ""
        raise refuse(f'server does not recognize this encoded version "{shown}"')
    version, start = document.get("rv"), document.get("start")
    if not isinstance(version, int) or version == 0:
        raise refuse(f"incorrect encoded start resourceVersion (version {_CONTINUE_VERSION})")
    if not isinstance(start, str) or not start:
        raise refuse(f"encoded start key empty (version {_CONTINUE_VERSION})")
    return version, start


def prefix_of(rtype: ResourceType, version: str) -> bytes:
    """How the stored bytes of an object begin, for one version."""
    head = msgspec.json.encode({"kind": rtype.kind, "apiVersion": rtype.api_version_of(version)})
    return head[:-1] + b","


def convert(rtype: ResourceType, version: str, data: bytes) -> bytes:
    """Stored bytes in the version asked for."""
    if version == rtype.version:
        return data
    stored = prefix_of(rtype, rtype.version)
    return prefix_of(rtype, version) + data[len(stored) :] if data.startswith(stored) else data


def encode_list(rtype: ResourceType, version: str, page: Page) -> bytes:
    """A list's JSON. Items of built-in kinds leave kind and apiVersion out, as the real server does."""
    stored = prefix_of(rtype, rtype.version)
    cut = len(stored)
    start = prefix_of(rtype, version) if rtype.custom else b"{"
    if rtype.custom and version == rtype.version:
        items: Iterable[bytes] = (entry.data for entry in page.entries)
    else:
        items = (start + entry.data[cut:] for entry in page.entries)
    head = msgspec.json.encode(
        {
            "kind": rtype.list_kind,
            "apiVersion": rtype.api_version_of(version),
            "metadata": page.metadata(custom=rtype.custom),
        }
    )
    return b"".join((head[:-1], b',"items":[', b",".join(items), b"]}"))
