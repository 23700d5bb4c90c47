"""Power and deletion on the command line; what the verbs do to VMs is tested in tests/power."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.power.vms import create, create_running, manifest, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import DATA_VOLUMES, VIRTUAL_MACHINES

pytestmark = pytest.mark.timeout(90)


def _power_of(session: Session, name: str) -> str:
    return str(session.get(VIRTUAL_MACHINES, name)["status"]["printableStatus"])


def test_each_vm_is_one_line_and_asking_again_changes_nothing(
    vmkit: Run, session: Session, namespace: str
) -> None:
    create_running(session, manifest("web-1"), manifest("web-2"))
    first = vmkit("stop", "web-1", "web-2", "--wait")
    assert first.code == 0
    assert sorted(first.out.splitlines()) == [
        f"{namespace}/web-1 stopped: it has stopped",
        f"{namespace}/web-2 stopped: it has stopped",
    ]
    assert first.err == "2 stopped\n"
    again = vmkit("stop", "web-1")
    assert (again.code, again.err) == (0, "")
    assert again.out == f"{namespace}/web-1 unchanged: it is stopped already\n"


def test_without_wait_nothing_is_claimed_that_was_not_seen(vmkit: Run, session: Session, namespace: str) -> None:
    create_running(session, manifest("web-1"))
    assert vmkit("stop", "web-1").out == f"{namespace}/web-1 stop requested; it was running\n"


def test_one_of_several_that_is_missing_is_an_error_line_and_exit_code_1(
    vmkit: Run, session: Session, namespace: str
) -> None:
    wait_until(session, create(session, manifest("web-1")), stopped)
    ran = vmkit("stop", "web-1", "web-9")
    assert ran.code == 1
    assert ran.out == f"{namespace}/web-1 unchanged: it is stopped already\n"
    assert f"error: {namespace}/web-9 not stopped:" in ran.err
    assert ran.err.endswith("1 unchanged, 1 failed\n")
    assert vmkit("stop", "web-9").code == 3


def test_dry_runs_say_what_would_be_done_and_do_nothing(vmkit: Run, session: Session, namespace: str) -> None:
    create_running(session, manifest("web-1"))
    for kind in ("client", "server"):
        ran = vmkit("stop", "web-1", "--dry-run", kind)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"{namespace}/web-1 would be stopped: ")
    assert _power_of(session, "web-1") == "Running"


def test_vms_are_chosen_by_selector_file_and_stdin(
    vmkit: Run, session: Session, namespace: str, tmp_path: Path
) -> None:
    refs = create(session, *[manifest(f"web-{n}", labels={"app": f"a{n}"}) for n in (1, 2, 3, 4)])
    wait_until(session, refs, stopped)
    assert vmkit("stop", "-l", "app in (a1,a2)").out.count("unchanged") == 2
    file = tmp_path / "names"
    file.write_text(f"# two\n{namespace}/web-1\nweb-3\n")
    assert vmkit("stop", "-f", str(file)).out.count("unchanged") == 2
    names = vmkit("get", "-l", "app=a4", "-o", "name").out
    assert vmkit("stop", "-", stdin=names).out == f"{namespace}/web-4 unchanged: it is stopped already\n"
    envelope = vmkit("get", "-o", "json").out
    assert vmkit("stop", "-f", "-", stdin=envelope).out.count("unchanged") == 4
    assert vmkit("stop", "--all").out.count("unchanged") == 4
    assert vmkit("stop", "-l", "app=nobody").err == "warning: no VM matches\n"


def test_json_is_the_envelope_and_nothing_else_on_stdout(vmkit: Run, session: Session) -> None:
    wait_until(session, create(session, manifest("web-1")), stopped)
    ran = vmkit("stop", "web-1", "web-9", "-o", "json")
    document = json.loads(ran.out)
    assert (document["command"], document["status"], document["exitCode"]) == ("stop", "partial", 1)
    assert [item["status"] for item in document["items"]] == ["unchanged", "failed"]
    assert ran.err.startswith("error: ")
    assert vmkit("stop", "web-1", "-o", "name").out == "virtualmachine.kubevirt.io/web-1\n"
    assert vmkit("stop", "web-1", "-o", "table").out.split()[:5] == [
        "NAMESPACE",
        "NAME",
        "VERB",
        "STATUS",
        "REASON",
    ]


def test_a_limit_refuses_the_run_before_its_first_change(vmkit: Run, session: Session) -> None:
    create_running(session, manifest("web-1"), manifest("web-2"))
    ran = vmkit("stop", "--all", "--max-changes", "50%")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith(
        "error: stop would change 2 of 2, and --max-changes allows 1 (50% of 2): nothing done\n"
    )
    assert _power_of(session, "web-1") == "Running"


def test_a_large_selection_asks_and_without_a_terminal_refuses(vmkit: Run, session: Session) -> None:
    wait_until(session, create(session, *[manifest(f"web-{n}") for n in range(11)]), stopped)
    ran = vmkit("start", "--all")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == (
        "error: start of 11 objects needs a yes, and there is no terminal to ask at\n"
        "hint: look at it with --dry-run=client, then give --yes\n"
    )
    assert vmkit("start", *[f"web-{n}" for n in range(11)], "--dry-run", "client").code == 0
    assert vmkit("start", "--all", "--yes").code == 0


def test_deleting_asks_always_and_keeps_disks(vmkit: Run, session: Session, namespace: str) -> None:
    wait_until(session, create(session, manifest("web-1", disk=True)), lambda view: view.power == "Stopped")
    ran = vmkit("delete", "web-1")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith(f"error: delete of {namespace}/web-1 needs a yes")
    assert session.find(VIRTUAL_MACHINES, "web-1") is not None
    done = vmkit("delete", "web-1", "--yes", "--wait")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{namespace}/web-1 deleted: ")
    assert session.find(VIRTUAL_MACHINES, "web-1") is None
    assert session.find(DATA_VOLUMES, "web-1-root") is not None
    assert vmkit("delete", "web-1", "--yes").out == f"{namespace}/web-1 unchanged: there is no such VM\n"


def test_every_verb_reaches_its_vm(vmkit: Run, session: Session, namespace: str) -> None:
    create_running(session, manifest("web-1"))
    for verb, says in (
        ("pause", "paused"),
        ("unpause", "unpaused"),
        ("live-migrate", "migrated"),
        ("restart", "restarted"),
        ("stop", "stopped"),
        ("start", "started"),
    ):
        ran = vmkit(verb, "web-1", "--wait", "--timeout", "1m")
        assert ran.code == 0, ran
        assert ran.out.startswith(f"{namespace}/web-1 {says}: "), ran


def test_what_cannot_be_is_explained(vmkit: Run, session: Session, namespace: str) -> None:
    wait_until(session, create(session, manifest("web-1")), stopped)
    ran = vmkit("restart", "web-1")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        f"error: {namespace}/web-1 not restarted: it cannot be restarted: it is stopped\n"
        "hint: vmkit start starts it\n"
    )


def test_a_timeout_has_its_own_exit_code(vmkit: Run, session: Session, namespace: str) -> None:
    create_running(session, manifest("web-1", grace_seconds=600, ignores_acpi="true"))
    ran = vmkit("stop", "web-1", "--wait", "--timeout", "200ms")
    assert ran.code == 4, ran
    assert ran.err.startswith(f"error: {namespace}/web-1 not stopped in time: ")
    assert vmkit("stop", "web-1", "--force", "--wait").code == 0
