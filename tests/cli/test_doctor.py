"""``vmkit doctor`` as people type it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tests.cli.running import Run
from vmkit.doctor import Examination, Kind, Severity
from vmkit.doctor.show import render_findings


def test_findings_are_shown_with_what_mends_them(vmkit: Run) -> None:
    ran = vmkit("doctor", "--check", "cdi")
    assert ran.code == 0, ran
    assert "cdi.profile-unknown" in ran.out
    assert "kubectl patch storageprofile local-path" in ran.out
    assert "cdi.deployed" not in ran.out
    assert "1 warning" in ran.err


def test_wide_shows_what_is_well_and_why(vmkit: Run) -> None:
    ran = vmkit("doctor", "--check", "cdi", "-o", "wide")
    assert "cdi.deployed" in ran.out
    assert "data volumes that leave the access mode" in ran.out


def test_yaml_that_mends_keeps_its_lines() -> None:
    mend = "spec:\n  ignoreDifferences:\n    - group: kubevirt.io\n"
    kind = Kind("gitops.fight", Severity.WARNING, "It is set back.", why="every stop is undone")
    twice = (kind.found("1 VM of web", mend=mend), kind.found("1 VM of shop", mend=mend))
    text = render_findings(Examination(twice, datetime(2026, 3, 2, tzinfo=UTC)), "table")
    assert text.count("every stop is undone") == 1
    assert "    spec:\n      ignoreDifferences:\n        - group: kubevirt.io\n" in text


def test_json_is_the_envelope(vmkit: Run) -> None:
    ran = vmkit("doctor", "--check", "kubevirt", "--check", "cdi", "-o", "json")
    document = json.loads(ran.out)
    assert document["kind"] == "Doctor"
    assert {item["check"] for item in document["items"]} == {"kubevirt", "cdi"}
    assert set(document["items"][0]) == {"id", "check", "severity", "what", "why", "mend", "target"}


def test_csv_has_every_finding(vmkit: Run) -> None:
    ran = vmkit("doctor", "--check", "cdi", "-o", "csv")
    assert ran.out.splitlines()[0] == "severity,finding,what,why,what_to_do,target"
    assert "cdi.deployed" in ran.out


def test_the_exit_code_follows_the_severity_that_is_asked_for(vmkit: Run) -> None:
    assert vmkit("doctor", "--check", "cdi", "--fail-on", "warning").code == 1
    assert vmkit("doctor", "--check", "cdi", "--fail-on", "never").code == 0


def test_checks_are_listed_without_a_cluster(run: Run) -> None:
    ran = run("doctor", "--list")
    assert ran.code == 0
    assert "permissions" in ran.out


def test_a_check_that_is_not_there_is_named(vmkit: Run) -> None:
    ran = vmkit("doctor", "--check", "moon")
    assert ran.code == 2
    assert "moon" in ran.err
    assert "kubevirt" in ran.err


def test_what_keeps_components_from_running_is_a_table_too(vmkit: Run) -> None:
    ran = vmkit("migrate", "doctor")
    assert ran.code == 0, ran
    assert "RuntimeClass wasmtime-spin-v2 has handler spin-v2" in ran.out
