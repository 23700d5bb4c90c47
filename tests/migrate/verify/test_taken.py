"""A proof in a verdict: candidates become proven, or differ; nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.migrate.guests import facts_of, service, unit
from vmkit.cli.main import cli
from vmkit.errors import EvidenceError
from vmkit.migrate.facts import encode_facts
from vmkit.migrate.rules.model import Target
from vmkit.migrate.verdict import decide_verdict
from vmkit.migrate.verify.proof import Outcome, Proof, TargetProof, proof_to_dict
from vmkit.migrate.verify.taken import decode_proof, take_proof

APP = service("app", unit("/usr/bin/python3 /srv/app/main.py")) | {
    "/srv/app/main.py": "from wsgiref.simple_server import make_server\ndef app(environ, start_response):\n"
    "    start_response('200 OK', []); return [b'']\nmake_server('0.0.0.0', 8000, app).serve_forever()\n"
}
BOTH = (
    TargetProof("app", "wasm", Outcome.PROVEN, "2 answers, all the same"),
    TargetProof("app", "container", Outcome.DIFFERS, "status"),
    TargetProof("other", "container", Outcome.PROVEN, ""),
)


def written(*targets: TargetProof) -> bytes:
    return json.dumps(proof_to_dict(Proof("here", targets, {}))).encode()


def test_what_was_run_is_said_beside_the_verdict_which_stays() -> None:
    before = decide_verdict(facts_of(APP))
    after = take_proof(before, decode_proof(written(*BOTH), where="proof.json"))
    [app] = after.services
    assert app.target(Target.WASM).proven == "proven"
    assert app.target(Target.CONTAINER).proven == "differs"
    assert (after.fit, app.recommendation) == (before.fit, before.services[0].recommendation)


def test_what_could_not_be_shown_stays_a_candidate() -> None:
    outcomes = decode_proof(written(TargetProof("app", "wasm", Outcome.NOT_PROVEN, "no qemu")), where="p")
    [app] = take_proof(decide_verdict(facts_of(APP)), outcomes).services
    assert app.target(Target.WASM).proven == "candidate"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"kind": "Proof", "schemaVersion": 9}', b'{"kind": "Proof", "schemaVersion": 1}',
             b'{"kind": "Proof", "schemaVersion": 1, "targets": [3]}', b"[" * 5000],
)  # fmt: skip
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode_proof(data, where="proof.json")


def test_assess_shows_what_was_proven(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_bytes(encode_facts(facts_of(APP)))
    (tmp_path / "proof.json").write_bytes(written(*BOTH))
    arguments = ["migrate", "assess", str(tmp_path / "facts.json"), "--proof", str(tmp_path / "proof.json")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "proven)" in done.stdout
    assert "differs)" in done.stdout
    assert CliRunner().invoke(cli, [*arguments, "-A"]).exit_code == 2
    assert CliRunner().invoke(cli, [*arguments[:-1], str(tmp_path / "none")]).exit_code == 6
