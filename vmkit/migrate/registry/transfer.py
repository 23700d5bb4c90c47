"""Whole images between a layout on disk and a registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vmkit.errors import EvidenceError
from vmkit.migrate.oci.layout import Descriptor, Layout, LayoutWriter, blob_path, read_descriptor, read_layout
from vmkit.migrate.registry.client import Registry


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: the manifest's digest, how many blobs went up, and how many were there already."""

    digest: str
    uploaded: int
    present: int
    size_bytes: int


def push_layout(layout: Layout, registry: Registry) -> Pushed:
    """Uploads an image: blobs first, then the manifest, so that nobody sees half of it. Repeating it costs little.

    Raises:
        ClusterError: the registry refuses, or is away.
        EvidenceError: the layout is damaged.
    """
    uploaded = 0
    blobs = list({one.digest: one for one in (*layout.layers, layout.config)}.values())
    for one in blobs:
        uploaded += registry.push_blob(one, layout.path(one))
    data = layout.path(layout.manifest).read_bytes()
    version = registry.reference.tag if not registry.reference.digest else registry.reference.digest
    digest = registry.push_manifest(data, layout.manifest.media_type, version)
    if digest != layout.manifest.digest:
        raise EvidenceError("its manifest is not what its index says", where=str(layout.folder))
    return Pushed(digest, uploaded, len(blobs) - uploaded, layout.size_bytes)


def pull_layout(registry: Registry, target: Path) -> Layout:
    """Downloads an image of one platform into a layout; every blob is checked against its digest.

    Raises:
        Refused: the target holds something.
        EvidenceError: something came damaged, or the image has several platforms.
    """
    LayoutWriter(target)
    data, media_type = registry.pull_manifest(registry.reference.version)
    try:
        document = json.loads(data)
        blobs = [read_descriptor(one) for one in (document["config"], *document["layers"])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EvidenceError(
            "it is no image of one platform",
            hint="name one of its manifests by digest",
            where=str(registry.reference),
        ) from error
    for one in blobs:
        with blob_path(target, one.digest).open("wb") as file:
            registry.pull_blob(one, file)
    writer_manifest = _write_index(target, data, media_type, registry.reference.tag)
    layout = read_layout(target)
    assert layout.manifest == writer_manifest
    return layout


def _write_index(target: Path, manifest: bytes, media_type: str, tag: str) -> Descriptor:
    import hashlib

    from vmkit.migrate.oci.layout import INDEX_TYPE, REFERENCE_NAME, encode

    found = Descriptor(media_type, f"sha256:{hashlib.sha256(manifest).hexdigest()}", len(manifest))
    blob_path(target, found.digest).write_bytes(manifest)
    listed = {**found.to_dict(), "annotations": {REFERENCE_NAME: tag}}
    (target / "index.json").write_bytes(
        encode({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [listed]})
    )
    (target / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
    return found
