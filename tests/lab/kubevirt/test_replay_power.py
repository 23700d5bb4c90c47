"""Recorded power calls over HTTP, each strategy's in turn: each is answered as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.lab.replay import Replay, load_scenario
from vmkit.lab import Lab

POWER = ("power-always", "power-halted", "power-manual")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(frozen=True, tls=False) as lab:
        yield lab


@pytest.mark.parametrize("scenario", POWER)
def test_power_calls_answer_as_recorded(lab: Lab, scenario: str) -> None:
    run = Replay(lab, load_scenario(scenario))
    wire = run.prepare()
    machine = f"/apis/kubevirt.io/v1/namespaces/{run.scenario.namespace}/virtualmachines/m"
    wrong: list[str] = []
    for step in run.steps:
        if step["step"] == "gone":
            # Between the last calls the recorder deleted the VM and waited for it.
            assert wire.delete(machine).status == 200
            lab.advance(timedelta(seconds=60))
        wrong += [f"{step['step']}: {line}" for line in run.play(step)]
        lab.advance(timedelta(seconds=_pause_of_the_recorder(step)))
    assert wrong == []


def _pause_of_the_recorder(step: Mapping[str, Any]) -> float:
    """After a start until Running and ready and a moment more; after a stop until Stopping, later until gone."""
    request, accepted = step["request"], step["response"]["status"] in (201, 202)
    verb = request["path"].rsplit("/", 1)[1]
    dry = "dryRun" in json.dumps(request.get("body") or {})
    if request["method"] == "POST" and accepted:
        return 5
    if verb in ("start", "restart") and accepted and not dry:
        return 20
    return 30 if step["step"] == "start while stopping" else 0


def test_the_comparison_is_strict(lab: Lab) -> None:
    run = Replay(lab, load_scenario("power-manual"))
    run.prepare()
    create = next(step for step in run.steps if step["step"] == "create")
    body = create["response"]["body"]
    altered = {**body, "spec": {**body["spec"], "runStrategy": "Halted", "other": 1}}
    found = run.play({**create, "response": {**create["response"], "status": 200, "body": altered}})
    assert [line.partition(":")[0] for line in found] == ["status", ".spec.other", ".spec.runStrategy"]
