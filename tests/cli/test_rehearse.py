"""``vmkit stop-idle --rehearse`` on a practice cluster with believable VMs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Run
from vmkit.lab import Lab


@pytest.fixture(scope="module")
def fleet() -> Iterator[Lab]:
    with Lab(fleet=6, seed=4, frozen=True) as lab:
        yield lab


@pytest.fixture
def rehearse(run: Run, fleet: Lab) -> Run:
    def invoke(*arguments: str) -> object:
        return run("stop-idle", *arguments, env={"VMKIT_KUBECONFIG": fleet.kubeconfig})

    return invoke


def test_definitions_are_shown_side_by_side_and_nothing_is_changed(rehearse: Run, tmp_path: Path) -> None:
    page, document = tmp_path / "rehearsal.html", tmp_path / "rehearsal.json"
    ran = rehearse(
        "-A", "--rehearse", "2d", "--lookback", "3d", "--compare", "gcp,vmkit",
        "--report", str(page), "--report", str(document),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split()[:4] == ["DEFINITION", "VMS", "STOPS", "HIT"]
    assert [line.split()[:2] for line in lines[1:]] == [["vmkit", "6"], ["gcp", "6"]]
    assert "Stopping idle VMs, rehearsed" in page.read_text(encoding="utf-8")
    found = json.loads(document.read_text(encoding="utf-8"))
    assert (found["kind"], [each["policy"] for each in found["items"]]) == ("Rehearsal", ["vmkit", "gcp"])
    assert rehearse("-A", "--dry-run").code == 0


def test_other_formats_hold_the_same(rehearse: Run) -> None:
    table = rehearse("-A", "--rehearse", "1d", "--lookback", "3d", "-o", "csv").out
    [row] = csv.DictReader(io.StringIO(table))
    ran = rehearse("-A", "--rehearse", "1d", "--lookback", "3d", "-o", "json")
    [item] = json.loads(ran.out)["items"]
    assert (int(row["stops"]), int(row["vms"])) == (item["stops"], item["vms"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rehearse", "5m"], "--rehearse 5m shows nothing"),
        (["--compare", "aws"], "--compare needs something to compare over"),
        (["--rehearse", "2d", "--compare", "aws,ibm"], "there is no preset 'ibm'"),
        (["--rehearse", "2d", "--report", "x.pdf"], "how should it be written"),
        (["--rehearse", "2d", "--report", "/nowhere/at/all.html"], "there is no such folder"),
        (["--rehearse", "2d", "--prometheus", "http://127.0.0.1:1"], "http://127.0.0.1:1 cannot be reached"),
        (["--rehearse", "yesterday"], "yesterday"),
    ],
)
def test_bad_input_is_refused(rehearse: Run, arguments: list[str], message: str) -> None:
    ran = rehearse("-A", *arguments)
    assert ran.code != 0
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_a_vm_that_is_not_there_is_named(rehearse: Run) -> None:
    ran = rehearse("default/nothing", "--rehearse", "1d", "--lookback", "3d")
    assert "default/nothing" in ran.err
