"""The routes of subresources.kubevirt.io, as go-restful answers: unknown path, wrong method, unacceptable type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from vmkit.lab.resources import Response, SubresourceRequest
from vmkit.lab.status import ApiError, bad_request

Object = dict[str, Any]
Handler = Callable[[SubresourceRequest], Response]

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Route:
    """One call.

    Attributes:
        methods: the HTTP methods it has.
        handler: what answers it.
        produces_json: it says that it answers with JSON; the others answer to any Accept but one for JSON alone.
    """

    methods: tuple[str, ...]
    handler: Handler
    produces_json: bool = False

    def __call__(self, request: SubresourceRequest) -> Response:
        """Answers a request, whatever it is."""
        if request.method not in self.methods:
            return Response(405, "405: Method Not Allowed", _TEXT, headers={"Allow": ", ".join(self.methods)})
        if not _is_acceptable(request.accept, self.produces_json):
            available = "application/json" if self.produces_json else ""
            return Response(406, f"406: Not Acceptable\n\nAvailable representations: {available}", _TEXT)
        try:
            return self.handler(request)
        except ApiError as error:
            return Response(error.code, error.to_dict(), headers=error.headers)


def page_not_found(request: SubresourceRequest) -> Response:
    """404 of a path without a route."""
    return Response(404, "404: Page Not Found", _TEXT)


def _is_acceptable(accept: str, produces_json: bool) -> bool:
    if not accept.strip():
        return True
    for part in accept.split(","):
        kind = part.split(";")[0].strip()
        if kind == "*/*" or (produces_json and kind in ("application/json", "application/*")):
            return True
    return False


def read_body(request: SubresourceRequest, **fields: type | tuple[type, ...]) -> Object:
    """The body of a call: JSON or YAML, empty for no options; unknown fields are ignored.

    Args:
        request: the request.
        fields: the type each known field must have, if it is there.

    Raises:
        ApiError: 400, it cannot be read.
    """
    text = request.body.strip()
    if not text:
        return {}
    try:
        body = yaml.safe_load(text) if not text.startswith(b"{") else _load_json(text)
    except (ValueError, yaml.YAMLError) as error:
        raise unreadable(str(error).replace("\n", " ")) from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise unreadable(f"json: cannot unmarshal {_go_type(body)} into Go value of type v1.Options")
    for name, wanted in fields.items():
        value = body.get(name)
        if value is None:
            body.pop(name, None)
        elif not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise unreadable(f"json: cannot unmarshal {_go_type(value)} into Go struct field .{name}")
    return body


def _load_json(text: bytes) -> Any:
    import json

    try:
        # YAMLOrJSONDecoder reads the first document and does not look further.
        return json.JSONDecoder().raw_decode(text.decode())[0]
    except json.JSONDecodeError as error:
        shown = error.doc[error.pos : error.pos + 1]
        raise ValueError(
            f"json: offset {error.pos + 1}: invalid character '{shown}' looking for beginning of object key string"
        ) from None
    except RecursionError:
        raise ValueError("json: exceeded max depth") from None


def unreadable(why: str) -> ApiError:
    """400 of a body that cannot be read."""
    return bad_request(f"Can not unmarshal Request body to struct, error: {why}")


def _go_type(value: object) -> str:
    return {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}.get(
        type(value), "null"
    )


def is_dry_run(body: Object) -> bool:
    """Whether the call is only tried out.

    Raises:
        ApiError: 422, dryRun says something else than All.
    """
    values = body.get("dryRun") or []
    if not values:
        return False
    if values != ["All"]:
        raise ApiError(
            422,
            "Invalid",
            f' "" is invalid: dryRun: Unsupported value: {values!r}: supported values: "All"',
        )
    return True
