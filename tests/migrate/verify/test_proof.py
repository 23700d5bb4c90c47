"""From answers to verdicts, and the document."""

from __future__ import annotations

import json

import jsonschema
import pytest

from vmkit.errors import ExitCode
from vmkit.migrate.verify.exchange import UNKNOWN_PATH, Answer, Request
from vmkit.migrate.verify.proof import (
    Measured,
    Outcome,
    Proof,
    Side,
    TargetProof,
    build_proof_schema,
    decide_proof,
    proof_to_dict,
)
from vmkit.migrate.verify.show import render_proof
from vmkit.migrate.verify.tolerances import Tolerance

GET = [Request("web"), Request("web", path="/a")]
TEXT = (("content-type", "text/plain"),)


def side(*bodies: str, status: int = 200) -> Side:
    return Side(tuple(Answer(status, TEXT, body.encode()) for body in bodies), Measured(0.5, 0.01, 10, 20, "here"))


def judged(vm: Side, other: Side, *, target: str = "wasm", tolerances: tuple[Tolerance, ...] = ()) -> TargetProof:
    return decide_proof("web", target, requests=GET, vm=vm, other=other, tolerances=tolerances)


def test_equal_answers_prove() -> None:
    found = judged(side("a", "b"), side("a", "b"))
    assert (found.outcome, found.reason) == (Outcome.PROVEN, "2 answers, all the same")
    assert found.measured.cold_seconds == 0.5


def test_one_answer_that_differs_is_enough_and_named() -> None:
    found = judged(side("a", "b"), side("a", "c"))
    assert found.outcome is Outcome.DIFFERS
    assert found.reason == "1 of 2 answers differ; GET /a: body: c, the VM said b"
    assert judged(side("a", "b"), side("a", "c"), tolerances=(Tolerance(body=True),)).outcome is Outcome.PROVEN


@pytest.mark.parametrize(
    ("vm", "other", "outcome", "reason"),
    [
        (Side(problem="no qemu"), side("a", "b"), Outcome.NOT_PROVEN, "the VM was not asked: no qemu"),
        (side("a", "b"), Side(problem="no image"), Outcome.NOT_PROVEN, "the component was not asked: no image"),
        (
            Side((Answer(200, TEXT, b"a"), Answer(0, problem="reset"))), side("a", "b"), Outcome.NOT_PROVEN,
            "the VM gave no answer to GET /a: reset",
        ),
        (
            side("a", "b"), Side((Answer(0, problem="reset"), Answer(200, TEXT, b"b"))), Outcome.DIFFERS,
            "no answer to GET /: reset",
        ),
        (
            side("a", "b", status=404), side("a", "b", status=404), Outcome.NOT_PROVEN,
            "the VM answered every request with an error: give better ones with --requests",
        ),
    ],
)  # fmt: skip
def test_what_was_not_seen_is_not_proven(vm: Side, other: Side, outcome: Outcome, reason: str) -> None:
    found = judged(vm, other)
    assert (found.outcome, found.reason) == (outcome, reason)


def test_no_request_proves_nothing() -> None:
    found = decide_proof("web", "container", requests=[], vm=side(), other=side())
    assert found.outcome is Outcome.NOT_PROVEN
    assert "--requests" in found.reason


def test_of_what_is_not_there_only_that_is_compared() -> None:
    missing = [Request("web"), Request("web", path=UNKNOWN_PATH)]

    def page(text: str, status: int = 404) -> Side:
        return Side((Answer(200, TEXT, b"x"), Answer(status, (), text.encode())))

    found = decide_proof("web", "wasm", requests=missing, vm=page("nginx"), other=page("not found"))
    assert found.outcome is Outcome.PROVEN
    assert found.compared[1].tolerated == "the server's own page for what is not there"
    assert (
        decide_proof("web", "wasm", requests=missing, vm=page("a"), other=page("b", 500)).outcome
        is Outcome.DIFFERS
    )
    assert (
        decide_proof("web", "wasm", requests=missing, vm=page("a", 200), other=page("b", 200)).outcome
        is Outcome.DIFFERS
    )
    given = [missing[0], Request("web", path=UNKNOWN_PATH, origin="given")]
    assert decide_proof("web", "wasm", requests=given, vm=page("a"), other=page("b")).outcome is Outcome.DIFFERS


def target(outcome: Outcome) -> TargetProof:
    return TargetProof("web", "wasm", outcome, "")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PROVEN, Outcome.PROVEN], ExitCode.OK),
        ([Outcome.PROVEN, Outcome.NOT_PROVEN], ExitCode.EVIDENCE),
        ([Outcome.NOT_PROVEN, Outcome.DIFFERS], ExitCode.SOME_FAILED),
        ([], ExitCode.EVIDENCE),
    ],
)
def test_the_exit_code_says_the_worst_that_is_known(outcomes: list[Outcome], code: ExitCode) -> None:
    assert Proof("here", tuple(target(one) for one in outcomes), {}).exit_code is code


def test_the_document_fits_its_schema_and_holds_no_body_no_secret_and_no_terminal_code() -> None:
    found = judged(side("a", "the-pass-word and \x1b[31m"), side("a", "other"))
    document = proof_to_dict(Proof("here", (found,), {"web": Measured(25.0)}), masked=["the-pass-word"])
    jsonschema.Draft202012Validator(build_proof_schema()).validate(document)
    text = json.dumps(document)
    assert "the-pass-word" not in text
    assert "***" in text
    assert "\\u001b" not in text
    [shown] = document["targets"]
    assert shown["requests"][0]["expected"] == shown["requests"][0]["found"]
    assert shown["requests"][0]["found"]["digest"].startswith("sha256:")


def test_the_table_says_what_was_shown_what_it_cost_and_where_answers_differ() -> None:
    found = judged(side("a", "b"), side("a", "c"))
    text = render_proof(
        proof_to_dict(Proof("here", (found,), {"web": Measured(25.0, 0.02, 2**30, 2**29, "qemu")}))
    )
    lines = [line.split() for line in text.splitlines() if line]
    assert ["web", "vm", "25.0", "s", "20.0", "ms", "1", "GiB", "512", "MiB", "qemu"] in lines
    assert ["web", "wasm", "0.50", "s", "10.0", "ms", "10", "B", "20", "B", "here"] in lines
    assert "      body: c, the VM said b" in text
