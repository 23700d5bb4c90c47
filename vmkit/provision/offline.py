"""Manifests without a cluster: storage and images as they are written, nothing looked up."""

from __future__ import annotations

from typing import Any

from vmkit.provision.catalog import Catalog
from vmkit.provision.preparing import Preparer, read_requests, ref_of
from vmkit.provision.request import CreateRequest, check_requests
from vmkit.provision.secrecy import left_out, mask_manifest
from vmkit.provision.storage import choose_offline


def render_offline(
    request: CreateRequest, catalog: Catalog, *, show_secrets: bool = False
) -> tuple[list[dict[str, Any]], str]:
    """The manifests of one request, and one line that says what was left out of them (empty if nothing was).

    Raises:
        InputError: the request, an answer or the template is wrong.
    """
    check_requests([request], default_namespace="default")
    asked = read_requests([request], catalog, default_namespace="default")[0]
    storage = {request.storage: choose_offline(request.storage)}
    prepared = Preparer(storage, None, mask=not show_secrets).prepare(asked)
    if show_secrets:
        return prepared.manifests, ""
    others = {ref_of(manifest): manifest for manifest in prepared.masked or prepared.manifests}
    shown = [mask_manifest(manifest, others.get(ref_of(manifest), {})) for manifest in prepared.manifests]
    return shown, left_out(shown, prepared.secret_names)
