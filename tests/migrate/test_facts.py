"""The facts document is a contract: its schema is pinned, and what is written is what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.migrate.guests import ELF_X86_64, facts_of, service, unit
from vmkit.errors import EvidenceError
from vmkit.migrate.facts import Facts, Source, build_schema, decode_facts, encode_facts, facts_to_dict

PINNED = Path(__file__).parents[1] / "data" / "migrate" / "facts.schema.json"


def without_descriptions(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: without_descriptions(one)
            for key, one in value.items()
            if key != "description" or not isinstance(one, str)
        }
    return [without_descriptions(one) for one in value] if isinstance(value, list) else value


def test_the_schema_is_the_pinned_one() -> None:
    """When this fails: a key was added (pin the new schema), or renamed or removed (raise SCHEMA_VERSION too)."""
    assert without_descriptions(build_schema()) == json.loads(PINNED.read_text())


def test_what_is_written_follows_the_schema_and_reads_back() -> None:
    facts = facts_of(
        service("app", unit("/srv/app/run --port 80", "StateDirectory=app", "Environment=TOKEN=x")),
        {"/srv/app/run": ELF_X86_64, "/etc/cron.d/x": "* * * * * root /x\n", "/etc/hosts": "10.0.0.1 db\n"},
    )
    document = json.loads(encode_facts(facts))
    jsonschema.validate(document, build_schema())
    assert document["kind"] == "GuestFacts"
    assert document["schemaVersion"] == 1
    assert decode_facts(encode_facts(facts)) == facts
    assert facts_to_dict(facts) == document


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not a facts document"),
        (b"[]", "not a facts document"),
        (b"{}", "not a facts document"),
        (b'{"kind": "GuestFacts", "schemaVersion": 99}', "schema version is 99"),
        (b'{"kind": "GuestFacts", "schemaVersion": 1}', "missing required field `source`"),
        (
            b'{"kind": "GuestFacts", "schemaVersion": 1, "source": {"kind": "disk", "location": 7}}',
            "Expected `str`",
        ),
        (b"[" * 100_000, "not a facts document"),
        (b"\xff\xfe", "not a facts document"),
    ],
)
def test_what_is_no_facts_document_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(EvidenceError, match=says):
        decode_facts(text, where="x.json")


def test_keys_of_later_versions_of_one_schema_are_ignored() -> None:
    document = facts_to_dict(Facts(source=Source(kind="disk", location="x")))
    document["somethingNew"] = [1]
    assert decode_facts(json.dumps(document).encode()).source.location == "x"
