"""Uploads: the token a client asks for, and the proxy that takes the bytes.

Source: CDI pkg/apiserver/apiserver.go (uploadtokenrequests), pkg/uploadproxy/uploadproxy.go (paths and refusals).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

from vmkit.lab.cdi.making import MANAGER, UPLOADED
from vmkit.lab.cdi.resources import GROUP, UPLOAD_GROUP, VERSION
from vmkit.lab.resources import AdmissionRequest, Object, Registry, ResourceType, Response
from vmkit.lab.rook.csi import CLAIMS
from vmkit.lab.status import ApiError, method_not_allowed, not_found

if TYPE_CHECKING:
    from vmkit.lab.control import Control
    from vmkit.lab.controller import Context
    from vmkit.lab.http.request import Request

_KEY = b"the practice cluster signs its upload tokens with this"
UPLOAD_TARGET = "cdi.kubevirt.io/storage.upload.target"


def register_types(registry: Registry) -> None:
    """Serves uploadtokenrequests: they are answered and never stored."""
    claims = registry.get(*CLAIMS)

    def review(request: AdmissionRequest, obj: Object) -> Object:
        name = (obj.get("spec") or {}).get("pvcName", "")
        claim = request.store.find(claims, request.namespace, name)
        if claim is None:
            raise not_found(claims, name)
        if UPLOAD_TARGET not in (claim["metadata"].get("annotations") or {}):
            raise ApiError(400, "BadRequest", f"PVC {name} is not an upload target")
        return {**obj, "status": {"token": make_token(request.namespace, name, claim["metadata"]["uid"])}}

    registry.add(
        ResourceType(
            UPLOAD_GROUP,
            VERSION,
            "UploadTokenRequest",
            "uploadtokenrequests",
            short_names=("utr", "utrs"),
            verbs=("create",),
            review=review,
        )
    )


def make_token(namespace: str, name: str, uid: str) -> str:
    """The token for one claim: it says which, and is signed."""
    subject = f"{namespace}/{name}/{uid}"
    return f"{subject}.{hmac.new(_KEY, subject.encode(), sha256).hexdigest()}"


def read_token(token: str) -> tuple[str, str, str] | None:
    """(namespace, claim, its uid) of a valid token, else None."""
    subject, _, signature = token.rpartition(".")
    expected = hmac.new(_KEY, subject.encode(), sha256).hexdigest()
    parts = subject.split("/")
    if len(parts) != 3 or not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    return parts[0], parts[1], parts[2]


def finish_upload(context: Context, token: str) -> tuple[int, str]:
    """What the upload proxy answers once all bytes have come, and their effect on the DataVolume: (HTTP status,
    text)."""
    subject = read_token(token)
    if subject is None:
        return 401, ""
    claims, volumes = context.registry.get(*CLAIMS), context.registry.get(GROUP, "datavolumes")
    claim = context.store.find(claims, subject[0], subject[1])
    volume = context.store.find(volumes, subject[0], subject[1])
    if claim is None or claim["metadata"]["uid"] != subject[2]:
        return 404, ""
    annotations = claim["metadata"].setdefault("annotations", {})
    if annotations.get(UPLOADED) == "Succeeded":
        return 409, ""
    if ((volume or {}).get("status") or {}).get("phase") != "UploadReady":
        return 503, "Upload Server not ready"
    annotations[UPLOADED] = "Succeeded"
    context.store.update(claims, claim, manager=MANAGER)
    return 200, ""


class UploadProxy:
    """Takes uploads at ``/vmkit.io/lab/upload?token=...``; the bytes themselves are let go.

    Args:
        context: the lab's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def add_endpoints(self, control: Control) -> None:
        """Serves the endpoint."""
        control.add("upload", self._answer)

    def _answer(self, request: Request) -> Response:
        if request.method not in ("POST", "PUT"):
            raise method_not_allowed()
        status, text = finish_upload(self._context, request.query.get("token", ""))
        return Response(status, body=text or None)
