"""What a disk is filled from: golden images, imports, copies.

An image is written as one text:

    datasource:[NAMESPACE/]NAME    a golden image (CDI DataSource): cloned in seconds where the storage has
    snapshots snapshot:[NAMESPACE/]NAME      a VolumeSnapshot
    pvc:[NAMESPACE/]NAME           a claim
    docker://HOST/PATH[:TAG]       a disk image in a container registry
    http://... https://...         a disk image on a web server
    s3://... gs://...              a disk image in an object store
    blank                          nothing
    upload                         what is uploaded later

A parameter of type ``image`` holds several, best first: the first one that the cluster can serve is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import AnswerError
from vmkit.plan.model import Reason

_NAME: Final = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_REFERENCE: Final = re.compile(rf"(datasource|snapshot|pvc):(?:({_NAME})/)?({_NAME})")
_URL: Final = re.compile(r"(docker|oci-archive|https?|s3|gs)://[^\s\x00-\x1f\x7f]+")
_SOURCES: Final = {
    "docker": "registry",
    "oci-archive": "registry",
    "http": "http",
    "https": "http",
    "s3": "s3",
    "gs": "gcs",
}


@dataclass(frozen=True, slots=True)
class Image:
    """One image.

    Attributes:
        kind: "datasource", "snapshot", "pvc", "registry", "http", "s3", "gcs", "blank" or "upload".
        namespace: of a reference; empty means the VM's own.
        name: of a reference.
        url: of an import.
    """

    kind: str
    namespace: str = ""
    name: str = ""
    url: str = ""

    @property
    def needs_cluster(self) -> bool:
        """Whether the cluster has to hold something for it."""
        return self.kind in {"datasource", "snapshot", "pvc"}

    def within(self, namespace: str) -> Image:
        """The same reference with its namespace filled in."""
        return Image(self.kind, self.namespace or namespace, self.name, self.url) if self.name else self

    def __str__(self) -> str:
        if self.url:
            return self.url
        if not self.name:
            return self.kind
        return f"{self.kind}:{self.namespace}/{self.name}" if self.namespace else f"{self.kind}:{self.name}"


def parse_image(text: Any) -> Image:
    """Reads one image.

    Raises:
        AnswerError: it is none of the forms above.
    """
    if isinstance(text, str):
        if text in {"blank", "upload"}:
            return Image(text)
        reference = _REFERENCE.fullmatch(text)
        if reference is not None:
            return Image(reference[1], reference[2] or "", reference[3])
        url = _URL.fullmatch(text)
        if url is not None:
            return Image(_SOURCES[url[1]], url=text)
    raise AnswerError(
        f"{text!r} is no image",
        hint="write docker://HOST/PATH:TAG, https://..., datasource:NAME, snapshot:NAME, pvc:NAME or blank",
    )


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The image taken, and why."""

    image: Image
    reason: Reason

    def to_value(self, namespace: str) -> dict[str, Any]:
        """What bodies see: ``source`` or ``source_ref`` for a DataVolume's spec, the other one none."""
        image = self.image
        source: dict[str, Any] | None = None
        reference: dict[str, Any] | None = None
        if image.kind == "datasource":
            reference = {"kind": "DataSource", "name": image.name, "namespace": image.namespace or namespace}
        elif image.kind in {"snapshot", "pvc"}:
            source = {image.kind: {"namespace": image.namespace or namespace, "name": image.name}}
        elif image.url:
            source = {image.kind: {"url": image.url}}
        else:
            source = {image.kind: {}}
        return {"source": source, "source_ref": reference, "text": str(image), "kind": image.kind}


def decide_image(
    candidates: Sequence[str], *, namespace: str, present: Mapping[Image, bool | None] | None
) -> ImageChoice:
    """Takes the first image that can be had.

    Args:
        candidates: the images, best first; each as `parse_image` reads it.
        namespace: the VM's, where references without a namespace look.
        present: which references the cluster has, ready, namespaces filled in (None: it may not be read); no
            mapping where no cluster was asked.

    Returns:
        The choice. Where no candidate is known to be had, the last one: the cluster will say what it misses.
    """
    images = [parse_image(text) for text in candidates]
    missing: list[str] = []
    for image in images:
        if not image.needs_cluster:
            why = f"; not to be had: {', '.join(missing)}" if missing else ""
            return ImageChoice(image, Reason("Imported", f"{image} is imported{why}"))
        if present is None:
            if len(images) == 1:
                return ImageChoice(image, Reason("Asked", f"{image} was asked for; no cluster was looked at"))
            missing.append(f"{image} (no cluster was looked at)")
        elif present.get(image.within(namespace), False) is None:
            missing.append(f"{image} (it may not be read)")
        elif present.get(image.within(namespace)):
            return ImageChoice(image, Reason("Cloned", f"{image} is there: cloned rather than imported"))
        else:
            missing.append(str(image))
    last = images[-1]
    return ImageChoice(last, Reason("NotThere", f"{last} was asked for and is not there yet"))
