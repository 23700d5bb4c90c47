"""What a client accepts: plain JSON, a Table, metadata alone, YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmkit.lab.status import ApiError

_PLAIN: Final = ("application/json", "application/*", "*/*")
ACCEPTED: Final = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Format:
    """How an answer is written. ``shape`` is "", "Table", "PartialObjectMetadata" or
    "PartialObjectMetadataList".
    """

    shape: str = ""
    yaml: bool = False


def negotiate(accept: str, *, custom: bool = False) -> Format:
    """The first format of an Accept header that can be served.

    Raises:
        ApiError: 406, none can.
    """
    if not accept.strip():
        return Format()
    for clause in sorted(_clauses(accept), key=lambda each: -each[2]):
        media, parameters, _ = clause
        shape = parameters.get("as", "")
        if shape and parameters.get("g", "meta.k8s.io") != "meta.k8s.io":
            continue
        if shape and parameters.get("v", "v1") not in ("v1", "v1beta1"):
            continue
        if shape not in (
            "",
            "Table",
            "PartialObjectMetadata",
            "PartialObjectMetadataList",
            "APIGroupDiscoveryList",
        ):
            continue
        if media in _PLAIN:
            return Format(shape=shape)
        if media in ("application/yaml", "text/yaml") and not shape:
            return Format(yaml=True)
    known = "application/json, application/yaml" if custom else ACCEPTED
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {known}")


def _clauses(accept: str) -> list[tuple[str, dict[str, str], float]]:
    clauses: list[tuple[str, dict[str, str], float]] = []
    for part in accept.split(","):
        media, *rest = (each.strip() for each in part.split(";"))
        parameters = dict(each.partition("=")[::2] for each in rest)
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 1.0
        if weight > 0:
            clauses.append((media.lower(), parameters, weight))
    return clauses
