from __future__ import annotations

import json

import pytest

from vmkit.errors import Conflict, DeadlineExceeded, Interrupted, NotFound
from vmkit.plan.model import Change, ObjectRef, Outcome, Reason, Result, Status, failed
from vmkit.report.envelope import render_failure
from vmkit.report.outcomes import (
    describe_change,
    describe_outcome,
    past_of,
    render_result,
    resource_name,
    summarize,
)

VM = ObjectRef("VirtualMachine", "default", "web-1")
SECRET = ObjectRef("Secret", "default", "web-1-cloudinit")


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome(VM, "stop", Status.CHANGED, Reason("Running", "")), "default/web-1 stopped"),
        (
            Outcome(VM, "stop", Status.UNCHANGED, Reason("AlreadyStopped", "it is stopped already")),
            "default/web-1 unchanged: it is stopped already",
        ),
        (
            Outcome(SECRET, "create", Status.PLANNED, Reason("Missing", "there is none")),
            "Secret default/web-1-cloudinit would be created: there is none",
        ),
        (
            Outcome(VM, "pause", Status.SKIPPED, Reason("Vetoed", "a snapshot runs")),
            "default/web-1 skipped: a snapshot runs",
        ),
        (failed(VM, "start", NotFound("there is none")), "default/web-1 not started: there is none"),
        (failed(VM, "start", DeadlineExceeded("after 5m")), "default/web-1 not started in time: after 5m"),
        (failed(VM, "stop", Interrupted("asked for")), "default/web-1 not seen stopped: asked for"),
        (
            Outcome(VM, "delete", Status.NOT_TRIED, Reason("NotTried", "interrupted")),
            "default/web-1 not deleted, not tried: interrupted",
        ),
    ],
)
def test_one_line_says_what_happened_and_why(outcome: Outcome, line: str) -> None:
    assert describe_outcome(outcome) == line


@pytest.mark.parametrize(
    ("verb", "past"),
    [
        ("stop", "stopped"),
        ("live-migrate", "migrated"),
        ("delete", "deleted"),
        ("resize", "resized"),
        ("import", "imported"),
    ],
)
def test_verbs_have_their_past(verb: str, past: str) -> None:
    assert past_of(verb) == past


def test_a_planned_change_is_one_line() -> None:
    assert (
        describe_change(Change("stop", VM, Reason("Running", "it is running")))
        == "stop default/web-1: it is running"
    )


def _result() -> Result:
    return Result(
        "stop",
        (
            Outcome(VM, "stop", Status.CHANGED, Reason("Running", "it is running"), seconds=1.25),
            Outcome(SECRET, "stop", Status.UNCHANGED, Reason("AlreadyStopped", "so already")),
            failed(ObjectRef("VirtualMachine", "default", "db-1"), "stop", Conflict("locked", hint="wait")),
        ),
    )


def test_the_summary_counts_in_the_words_of_the_verb() -> None:
    assert summarize(_result()) == "1 stopped, 1 unchanged, 1 failed"


def test_what_was_only_asked_for_is_not_called_done() -> None:
    asked = Outcome(VM, "stop", Status.CHANGED, Reason("Requested", "stop requested; it was running"))
    assert describe_outcome(asked) == "default/web-1 stop requested; it was running"
    assert summarize(Result("stop", (asked, *_result().outcomes))) == (
        "1 asked to stop, 1 stopped, 1 unchanged, 1 failed"
    )


def test_names_are_those_kubectl_takes_and_only_of_what_succeeded() -> None:
    assert render_result(_result(), "name") == "virtualmachine.kubevirt.io/web-1\nsecret/web-1-cloudinit\n"
    assert resource_name(ObjectRef("DataVolume", "a", "b")) == "datavolume.cdi.kubevirt.io/b"


def test_results_are_tables() -> None:
    assert render_result(_result(), "table") == (
        "NAMESPACE   NAME              VERB   STATUS      REASON\n"
        "default     web-1             stop   changed     it is running\n"
        "default     web-1-cloudinit   stop   unchanged   so already\n"
        "default     db-1              stop   failed      locked\n"
    )
    assert render_result(_result(), "wide").splitlines()[1].endswith("VirtualMachine   Running          1.2")
    assert render_result(_result(), "csv").splitlines()[0] == "namespace,name,verb,status,reason,kind,code,seconds"


def test_json_is_the_envelope() -> None:
    document = json.loads(render_result(_result(), "json"))
    assert document == _result().to_dict()
    assert document["status"] == "partial"


def test_a_failure_before_the_run_has_the_same_envelope() -> None:
    document = json.loads(render_failure("stop", NotFound("no cluster", hint="look"), "json"))
    assert document == {
        "apiVersion": "vmkit.io/v1",
        "kind": "Result",
        "command": "stop",
        "status": "failed",
        "exitCode": 3,
        "items": [],
        "errors": [{"code": "NotFound", "message": "no cluster", "hint": "look"}],
        "notices": [],
    }
