"""A proof taken into a verdict: what was a candidate is proven, or differs. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from vmkit.errors import EvidenceError
from vmkit.migrate.generate.manifests import to_label
from vmkit.migrate.verdict import Verdict
from vmkit.migrate.verify.proof import KIND, SCHEMA_VERSION, Outcome

_SHOWN: Final = {str(Outcome.PROVEN), str(Outcome.DIFFERS)}


def decode_proof(data: bytes, *, where: str) -> dict[tuple[str, str], str]:
    """What a proof document says: outcome by workload and target.

    Raises:
        EvidenceError: it is none, or of a version that is not known.
    """
    hint = "vmkit migrate verify writes one, as proof.json in the folder of artifacts"
    try:
        document = json.loads(data)
        if not isinstance(document, Mapping) or document.get("kind") != KIND:
            raise EvidenceError("not a proof", hint=hint, where=where)
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise EvidenceError(
                f"its schema version is {document.get('schemaVersion')!r}, this vmkit reads {SCHEMA_VERSION}",
                hint="make the proof again with this vmkit",
                where=where,
            )
        return {_key(one): str(one["outcome"]) for one in document["targets"]}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise EvidenceError(f"not a proof: {error}", hint=hint, where=where) from error


def _key(row: Any) -> tuple[str, str]:
    return str(row["service"]), str(row["target"])


def take_proof(verdict: Verdict, outcomes: Mapping[tuple[str, str], str]) -> Verdict:
    """The verdict with every target that was run said to be proven, or to differ; the others stay candidates."""

    def outcome(service: str, target: str) -> str:
        said = outcomes.get((to_label(service), target), "")
        return said if said in _SHOWN else ""

    services = tuple(
        replace(
            one,
            targets=tuple(
                replace(target, proven=outcome(one.service.name, str(target.target)) or target.proven)
                if target.proven
                else target
                for target in one.targets
            ),
        )
        for one in verdict.services
    )
    return replace(verdict, services=services)
