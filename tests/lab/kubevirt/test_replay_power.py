"""Recorded power calls, each strategy's in turn: each is answered as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.kubevirt.recorded import Object, check, load, make_namespace

POWER = ("power-always", "power-halted", "power-manual")


@pytest.mark.parametrize("scenario", POWER)
def test_power_calls_answer_as_recorded(cluster: Any, scenario: str) -> None:
    recording = load(scenario)
    make_namespace(cluster, recording["namespace"])
    for step in recording["steps"]:
        if step["step"] == "gone":
            # Between the last calls the recorder deleted the VM and waited for it.
            cluster.request(
                "DELETE", f"/apis/kubevirt.io/v1/namespaces/{recording['namespace']}/virtualmachines/m"
            )
            cluster.advance(60)
        check(cluster, step)
        wait_as_the_recorder_did(cluster, step)


def wait_as_the_recorder_did(cluster: Any, step: Object) -> None:
    """After a start until Running and ready and a moment more; after a stop until Stopping, later until gone."""
    request, accepted = step["request"], step["response"]["status"] in (201, 202)
    verb = request["path"].rsplit("/", 1)[1]
    dry = "dryRun" in json.dumps(request.get("body") or {})
    if request["method"] == "POST" and accepted:
        cluster.advance(5)
    elif verb in ("start", "restart") and accepted and not dry:
        cluster.advance(20)
    elif step["step"] == "start while stopping":
        cluster.advance(30)
