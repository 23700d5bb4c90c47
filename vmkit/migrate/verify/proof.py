"""From answers to a verdict for each workload and target, and the document that says so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vmkit.errors import ExitCode
from vmkit.migrate.verify.compare import Difference, compare_answers
from vmkit.migrate.verify.exchange import UNKNOWN_PATH, Answer, Request
from vmkit.migrate.verify.tolerances import Tolerance, merge
from vmkit.report.text import escape_text

SCHEMA_VERSION: Final = 1
KIND: Final = "Proof"


class Outcome(StrEnum):
    """What a run showed."""

    PROVEN = "proven"
    DIFFERS = "differs"
    NOT_PROVEN = "not proven"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side cost in this run; None where it was not measured.

    Attributes:
        cold_seconds: from its start to its first answer. For a component this includes compiling it.
        warm_seconds: the median time of one answer once it runs.
        image_bytes: what lies on disk: the VM's disk images, the container's image, the component.
        memory_bytes: resident memory of its processes after the requests; for a VM those of its emulator.
        how: what was run, in words.
    """

    cold_seconds: float | None = None
    warm_seconds: float | None = None
    image_bytes: int | None = None
    memory_bytes: int | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One workload run one way: its answers in the order of the requests, or why it did not run."""

    answers: tuple[Answer, ...] = ()
    measured: Measured = Measured()
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One request that was compared."""

    request: Request
    expected: Answer
    found: Answer
    differences: tuple[Difference, ...]
    tolerated: str = ""


@dataclass(frozen=True, slots=True)
class TargetProof:
    """What was shown for one workload and one target ("container", "wasm")."""

    service: str
    target: str
    outcome: Outcome
    reason: str
    compared: tuple[Compared, ...] = ()
    measured: Measured = Measured()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that one run showed.

    Attributes:
        machine: how the VM was asked, in words.
        targets: what was shown of each workload and target.
        measured: what the VM cost, by workload.
    """

    machine: str
    targets: tuple[TargetProof, ...]
    measured: dict[str, Measured]

    @property
    def exit_code(self) -> ExitCode:
        """0 where everything is proven, 1 where something differs, 6 where something could not be shown."""
        outcomes = {one.outcome for one in self.targets}
        if Outcome.DIFFERS in outcomes:
            return ExitCode.SOME_FAILED
        return ExitCode.OK if outcomes == {Outcome.PROVEN} else ExitCode.EVIDENCE


def decide_proof(
    service: str,
    target: str,
    *,
    requests: Sequence[Request],
    vm: Side,
    other: Side,
    tolerances: Sequence[Tolerance] = (),
) -> TargetProof:
    """Judges one workload on one target by the answers of both sides to the same requests."""

    def say(outcome: Outcome, reason: str, rows: Sequence[Compared] = ()) -> TargetProof:
        return TargetProof(service, target, outcome, reason, tuple(rows), other.measured, other.notes)

    if not requests:
        return say(Outcome.NOT_PROVEN, "there is no request to ask it: give some with --requests")
    for who, side in (("the VM", vm), (f"the {_NAMES.get(target, target)}", other)):
        if side.problem:
            return say(Outcome.NOT_PROVEN, f"{who} was not asked: {side.problem}")
    rows: list[Compared] = []
    for request, expected, found in zip(requests, vm.answers, other.answers, strict=True):
        tolerance = merge([*tolerances, *_of_error_page(request, expected, found)], request)
        both = not expected.problem and not found.problem
        different = compare_answers(request, expected, found, tolerance) if both else []
        rows.append(Compared(request, expected, found, tuple(different), tolerance.reason))
    for row in rows:
        if row.expected.problem:
            return say(Outcome.NOT_PROVEN, f"the VM gave no answer to {row.request}: {row.expected.problem}", rows)
        if row.found.problem:
            return say(Outcome.DIFFERS, f"no answer to {row.request}: {row.found.problem}", rows)
    differing = [row for row in rows if row.differences]
    if differing:
        first = differing[0]
        return say(
            Outcome.DIFFERS,
            f"{len(differing)} of {len(rows)} answers differ; {first.request}: {first.differences[0]}",
            rows,
        )
    if all(row.expected.status >= 400 for row in rows):
        # Two servers that know nothing agree on everything.
        return say(
            Outcome.NOT_PROVEN,
            "the VM answered every request with an error: give better ones with --requests",
            rows,
        )
    return say(Outcome.PROVEN, f"{len(rows)} answer{'s' * (len(rows) != 1)}, all the same", rows)


def _of_error_page(request: Request, expected: Answer, found: Answer) -> list[Tolerance]:
    """Of what is not there only that it is not: the page that says so is the server's, not the application's."""
    if request.origin != "discovered" or request.path != UNKNOWN_PATH or {expected.status, found.status} != {404}:
        return []
    return [
        Tolerance(
            headers=frozenset({"content-type"}), body=True, reason="the server's own page for what is not there"
        )
    ]


_NAMES: Final = {"wasm": "component", "container": "container"}


def proof_to_dict(proof: Proof, *, masked: Iterable[str] = ()) -> dict[str, Any]:
    """The document; every text in it is safe to print. Bodies are in it as digests only.

    Args:
        masked: texts (values of secrets) that are written as "***" wherever they stand.
    """
    secret = sorted((one for one in masked if len(one) >= 4), key=len, reverse=True)

    def clean(text: str) -> str:
        for one in secret:
            text = text.replace(one, "***")
        return escape_text(text)

    return {
        "kind": KIND,
        "schemaVersion": SCHEMA_VERSION,
        "machine": clean(proof.machine),
        "vm": {escape_text(name): _measured_to_dict(one) for name, one in sorted(proof.measured.items())},
        "targets": [
            {
                "service": escape_text(one.service),
                "target": one.target,
                "outcome": str(one.outcome),
                "reason": clean(one.reason),
                "measured": _measured_to_dict(one.measured),
                "notes": [clean(note) for note in one.notes],
                "requests": [_compared_to_dict(row, clean) for row in one.compared],
            }
            for one in proof.targets
        ],
    }


def _compared_to_dict(row: Compared, clean: Any) -> dict[str, Any]:
    return {
        "method": row.request.method,
        "path": clean(row.request.path),
        "origin": clean(row.request.origin),
        "same": not row.differences and not row.found.problem and not row.expected.problem,
        "tolerated": clean(row.tolerated),
        "expected": _answer_to_dict(row.expected, clean),
        "found": _answer_to_dict(row.found, clean),
        "differences": [
            {"place": clean(one.place), "expected": clean(one.expected), "found": clean(one.found)}
            for one in row.differences
        ],
    }


def _answer_to_dict(answer: Answer, clean: Any) -> dict[str, Any]:
    if answer.problem:
        return {"problem": clean(answer.problem)}
    return {"status": answer.status, "bytes": len(answer.body), "digest": answer.digest}


def _measured_to_dict(measured: Measured) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return {
        "coldSeconds": rounded(measured.cold_seconds),
        "warmSeconds": rounded(measured.warm_seconds),
        "imageBytes": measured.image_bytes,
        "memoryBytes": measured.memory_bytes,
        "how": escape_text(measured.how),
    }


def build_proof_schema() -> dict[str, Any]:
    """The JSON schema of the document (2020-12); keys are added within a version, never renamed."""
    text, number, whole = {"type": "string"}, {"type": ["number", "null"]}, {"type": ["integer", "null"]}

    def record(**keys: Any) -> dict[str, Any]:
        return {"type": "object", "required": sorted(keys), "properties": keys}

    measured = record(coldSeconds=number, warmSeconds=number, imageBytes=whole, memoryBytes=whole, how=text)
    answer = {
        "oneOf": [
            record(problem=text),
            record(status={"type": "integer"}, bytes={"type": "integer"}, digest=text),
        ]
    }
    difference = record(place=text, expected=text, found=text)
    request = record(
        method=text, path=text, origin=text, same={"type": "boolean"}, tolerated=text, expected=answer,
        found=answer, differences={"type": "array", "items": difference},
    )  # fmt: skip
    target = record(
        service=text, target={"enum": ["container", "wasm"]}, outcome={"enum": [str(one) for one in Outcome]},
        reason=text, measured=measured, notes={"type": "array", "items": text},
        requests={"type": "array", "items": request},
    )  # fmt: skip
    document = record(
        kind={"const": KIND}, schemaVersion={"const": SCHEMA_VERSION}, machine=text,
        vm={"type": "object", "additionalProperties": measured}, targets={"type": "array", "items": target},
    )  # fmt: skip
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
