from vmkit.errors import Conflict, DeadlineExceeded, ExitCode, NotFound, Refused
from vmkit.plan.model import ObjectRef, Outcome, Reason, Result, Status, failed

WEB = ObjectRef("VirtualMachine", "shop", "web-1")
DB = ObjectRef("VirtualMachine", "shop", "db-1")


def done(target=WEB, status=Status.CHANGED):
    return Outcome(target, "stop", status, Reason("Stopped", "it is stopped"))


def test_an_error_decides_what_became_of_its_object():
    assert failed(WEB, "stop", NotFound("gone")).status is Status.FAILED
    assert failed(WEB, "stop", Refused("no")).status is Status.REFUSED
    assert failed(WEB, "stop", DeadlineExceeded("late")).status is Status.TIMED_OUT


def test_the_exit_code_is_that_of_the_failures_only_where_all_failed_alike():
    assert Result("stop", (done(), done(DB, Status.UNCHANGED))).exit_code is ExitCode.OK
    assert Result("stop", (failed(WEB, "stop", NotFound("gone")),)).exit_code is ExitCode.CLUSTER
    assert Result("stop", (failed(WEB, "stop", NotFound("gone")), done(DB))).exit_code is ExitCode.SOME_FAILED
    mixed = (failed(WEB, "stop", Conflict("no")), failed(DB, "stop", DeadlineExceeded("late")))
    assert Result("stop", mixed).exit_code is ExitCode.SOME_FAILED
    assert Result("stop").exit_code is ExitCode.OK


def test_a_skip_is_no_failure_and_what_was_not_tried_is():
    assert Result("stop", (done(status=Status.SKIPPED),)).ok
    assert Result("stop", (done(), done(DB, Status.NOT_TRIED))).exit_code is ExitCode.SOME_FAILED


def test_the_envelope():
    result = Result(
        "stop", (done(), failed(DB, "stop", NotFound("gone", hint="look again"))), notices=("mind this",)
    )
    assert result.to_dict() == {
        "apiVersion": "vmkit.io/v1",
        "kind": "Result",
        "command": "stop",
        "status": "partial",
        "exitCode": 1,
        "dryRun": None,
        "items": [
            {
                "kind": "VirtualMachine",
                "namespace": "shop",
                "name": "web-1",
                "verb": "stop",
                "status": "changed",
                "reason": {"code": "Stopped", "text": "it is stopped"},
            },
            {
                "kind": "VirtualMachine",
                "namespace": "shop",
                "name": "db-1",
                "verb": "stop",
                "status": "failed",
                "reason": {"code": "NotFound", "text": "gone"},
                "error": {"code": "NotFound", "message": "gone", "hint": "look again"},
            },
        ],
        "notices": ["mind this"],
        "counts": {"changed": 1, "failed": 1},
    }


def test_references_read_like_paths():
    assert str(WEB) == "VirtualMachine shop/web-1"
    assert str(ObjectRef("Node", "", "n1")) == "Node n1"
